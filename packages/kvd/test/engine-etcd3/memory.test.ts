import t from 'tap'
import { KeyCache } from '../../src/engine-etcd3/key-cache.ts'
import { Layout } from '../../src/engine-etcd3/layout.ts'
import type { KeyValue } from '../../src/engine-etcd3/messages.ts'
import { RecentEvents } from '../../src/engine-etcd3/recent-events.ts'
import { Turns } from '../../src/engine-etcd3/turns.ts'
import { keysOf, scopeOf } from '../../src/engine-etcd3/view.ts'
import { StoreEvent } from '../../src/store/event.ts'
import { createInOrder, remove, set } from '../helpers/commands.ts'

const layout = new Layout('/p')

function kv(key: string, modRevision: number, value = ''): KeyValue {
  return { key, value, createRevision: 1, modRevision, lease: 0n }
}

t.test('a cache knows a scope when it knows every key of it', async (tt) => {
  const cache = new KeyCache()
  const scope = scopeOf(layout, set('/d/k'))
  const keys = keysOf(scope)
  cache.learn(new Map(keys.slice(1).map((key) => [key, undefined])), 5)
  tt.equal(cache.view(scope, 5), undefined)
  cache.learn(new Map([[keys[0] ?? '', kv(keys[0] ?? '', 3)]]), 5)
  tt.equal(cache.view(scope, 5)?.keys.get(keys[0] ?? '')?.modRevision, 3)
  tt.equal(cache.view(scopeOf(layout, remove('/d', { dir: true })), 5), undefined, 'nor a child')
})

t.test('older news change nothing, and no view is older than what is in it', async (tt) => {
  const cache = new KeyCache()
  const scope = scopeOf(layout, createInOrder('/'))
  const [order = ''] = keysOf(scope)
  cache.learn(new Map([[order, kv(order, 7)]]), 7)
  cache.learn(new Map([[order, kv(order, 4)]]), 5)
  cache.learnChange(order, undefined, 6)
  tt.equal(cache.view(scope, 3)?.keys.get(order)?.modRevision, 7)
  tt.equal(cache.view(scope, 3)?.revision, 7)
  tt.equal(cache.view(scope, 9)?.revision, 9)
  cache.learnChange(order, undefined, 8)
  tt.equal(cache.view(scope, 3)?.keys.get(order), undefined)
})

t.test(
  '10,000 keys are kept, those longest not seen go first, and long values not at all',
  async (tt) => {
    const cache = new KeyCache()
    for (let at = 0; at < 10_000; at += 1) cache.learn(new Map([[`${at}`, undefined]]), 1)
    tt.equal(cache.size, 10_000)
    cache.learn(new Map([['0', undefined]]), 2)
    cache.learn(new Map([['new', undefined]]), 2)
    tt.equal(cache.size, 10_000)
    cache.learnChange('0', undefined, 3)
    cache.learnChange('1', undefined, 3)
    tt.equal(cache.size, 10_000, '1 is gone and is not learned of again')
    cache.learn(new Map([['0', kv('0', 4, 'x'.repeat(16 * 1024))]]), 4)
    tt.equal(cache.size, 10_000)
    cache.learn(new Map([['0', kv('0', 5, 'x'.repeat(16 * 1024 + 1))]]), 5)
    tt.equal(cache.size, 9_999)
  },
)

function event(index: number, key = '/k'): StoreEvent {
  const rest = { removedDir: false, refresh: false, isNew: false }
  return new StoreEvent({ index, action: 'set', space: 'keys', key, ...rest }, '')
}

t.test('recent events are found by index, which may have gaps', async (tt) => {
  const recent = new RecentEvents(3, 5)
  tt.equal(recent.first, 5)
  for (const index of [6, 9, 12]) recent.add(event(index))
  tt.equal(recent.scan('/k', false, 7)?.index, 9)
  tt.equal(recent.scan('/k', false, 13), undefined)
  tt.equal(recent.scan('/', true, 1)?.index, 6)
  tt.equal(recent.scan('/', false, 1), undefined)
})

t.test(
  'between the capacity and twice of it are kept, and nothing is missing from `first` on',
  async (tt) => {
    const recent = new RecentEvents(3, 1)
    for (let index = 1; index <= 6; index += 1) recent.add(event(index))
    tt.same([recent.first, recent.size], [1, 6])
    recent.add(event(7))
    tt.same([recent.first, recent.size], [5, 3])
    recent.reset(20)
    tt.same([recent.first, recent.size], [20, 0])
  },
)

t.test('two events of one index are forgotten together', async (tt) => {
  const recent = new RecentEvents(2, 1)
  for (const index of [1, 2, 3, 3, 4]) recent.add(event(index))
  tt.same([recent.first, recent.size], [3, 3], 'or kept together')
  recent.add(event(5))
  recent.add(event(6))
  tt.same([recent.first, recent.size], [5, 2])
})

t.test('what lies before the window is cleared, as far as that is known', async (tt) => {
  const recent = new RecentEvents(3, 5)
  recent.add(event(6))
  recent.add(event(9))
  tt.equal(recent.oldestIfCleared(1), undefined, 'who knows how many there were before')
  recent.add(event(12))
  tt.equal(recent.oldestIfCleared(4), 6)
  tt.equal(recent.oldestIfCleared(5), undefined, 'nothing was missed')
  recent.add(event(13))
  tt.same(
    [6, 7].map((from) => recent.oldestIfCleared(from)),
    [9, undefined],
  )
  for (const index of [14, 15, 16]) recent.add(event(index))
  tt.equal(recent.size, 3, 'the others were forgotten')
  tt.same(
    [13, 14].map((from) => recent.oldestIfCleared(from)),
    [14, undefined],
  )
  recent.reset(20)
  tt.equal(recent.oldestIfCleared(1), undefined)
})

t.test('the window moves over all events of an index at once', async (tt) => {
  const recent = new RecentEvents(2, 1)
  for (const index of [1, 2, 2, 3]) recent.add(event(index))
  tt.same(
    [1, 2].map((from) => recent.oldestIfCleared(from)),
    [2, undefined],
  )
})

t.test('work on one key comes one by one, and a failure stops nobody', async (tt) => {
  const turns = new Turns()
  const log: string[] = []
  let release: () => void = () => undefined
  const first = turns.take('/k', async () => {
    log.push('first')
    await new Promise<void>((resolve) => {
      release = resolve
    })
    throw new Error('broken')
  })
  const second = turns.take('/k', async () => log.push('second'))
  await turns.take('/other', async () => log.push('other'))
  tt.same(log, ['first', 'other'])
  release()
  await tt.rejects(first, /broken/)
  await second
  tt.same(log, ['first', 'other', 'second'])
})
