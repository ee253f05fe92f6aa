import t from 'tap'
import type { Command } from '../../src/store/command.ts'
import { EventHistory, matchesResumable } from '../../src/store/event-history.ts'
import { isBelow, isHiddenFrom, type StoreEvent } from '../../src/store/event.ts'
import { Store } from '../../src/store/store.ts'
import { WatcherHub, type Watcher } from '../../src/store/watcher-hub.ts'
import {
  applied,
  compareAndDelete,
  create,
  NOW,
  remove,
  set,
  storeOf,
  sync,
  textOf,
  update,
} from '../helpers/commands.ts'
import { randomKey, randomProgram } from '../helpers/programs.ts'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'

const seed = seedFrom('FLOTILLA_WATCH_SEED')
const rounds = countFrom('FLOTILLA_WATCH_PROGRAMS', 200)

/** Adds a watcher; the list fills with what it is told, as `action key @index`. */
function listen(store: Store, watch: Partial<Watcher> & { key: string }): string[] {
  const heard: string[] = []
  store.watchers.add({
    recursive: false,
    mode: 'stream',
    since: store.index + 1,
    deliver: ({ action, key, index }) => heard.push(`${action} ${key} @${index}`),
    lost: () => heard.push('lost'),
    ...watch,
  })
  return heard
}

/** What a watcher hears of `commands`, on a store that holds `before`. */
function heardOf(
  before: readonly Command[],
  watch: Partial<Watcher> & { key: string },
  commands: readonly Command[],
): string[] {
  const store = storeOf(before)
  const heard = listen(store, watch)
  for (const entry of commands) store.apply(entry)
  return heard
}

t.test('a plain watcher hears of its own key alone', async (tt) => {
  const writes = [set('/a/x'), set('/a/x/y'), set('/a/xy'), set('/a'), update('/a/x')]
  tt.same(heardOf([], { key: '/a/x' }, writes), ['set /a/x @1', 'update /a/x @3'])
  tt.same(heardOf([], { key: '/a' }, writes), [], 'writes below it are none of its business')
  tt.same(heardOf([], { key: '/' }, writes), [])
  tt.same(
    heardOf([set('/d', { dir: true })], { key: '/d' }, [update('/d', { expireAt: NOW + 1 })]),
    ['update /d @2'],
    'a directory may be watched',
  )
})

t.test('a recursive watcher hears of all below, not of a key that begins alike', async (tt) => {
  const writes = [set('/a/x/y'), set('/ab'), set('/a/z'), set('/b')]
  tt.same(heardOf([], { key: '/a', recursive: true }, writes), ['set /a/x/y @1', 'set /a/z @3'])
  tt.same(heardOf([], { key: '/', recursive: true }, writes), [
    'set /a/x/y @1',
    'set /ab @2',
    'set /a/z @3',
    'set /b @4',
  ])
})

t.test('hidden keys are not for watchers above them', async (tt) => {
  const writes = [set('/a/_h/x'), set('/_h'), set('/a/x_y'), set('/a/b/_h')]
  const above = ['set /a/x_y @3']
  tt.same(heardOf([], { key: '/', recursive: true }, writes), above)
  tt.same(heardOf([], { key: '/a', recursive: true }, writes), above)
  tt.same(heardOf([], { key: '/a/_h', recursive: true }, writes), ['set /a/_h/x @1'])
  tt.same(heardOf([], { key: '/_h' }, writes), ['set /_h @2'])
  tt.same(heardOf([], { key: '/a/_h/x' }, writes), ['set /a/_h/x @1'])
  const gone = [remove('/_d', { recursive: true })]
  tt.same(
    heardOf([set('/_d/x')], { key: '/_d/x' }, gone),
    ['delete /_d @2'],
    'the end of a hidden directory is for those who watch inside',
  )
  tt.same(heardOf([set('/_d/x')], { key: '/', recursive: true }, gone), [])
})

t.test('the end of a directory is told to watchers of what was in it', async (tt) => {
  const before = [set('/d/x'), set('/d/e/y')]
  const gone = [remove('/d', { recursive: true })]
  for (const mode of ['once', 'stream'] as const) {
    tt.same(heardOf(before, { key: '/d/x', mode }, gone), ['delete /d @3'], mode)
    tt.same(heardOf(before, { key: '/d/e/y', mode }, gone), ['delete /d @3'], mode)
    tt.same(heardOf(before, { key: '/d/e', mode, recursive: true }, gone), ['delete /d @3'], mode)
    tt.same(heardOf(before, { key: '/d/none', mode }, gone), [], `${mode}: it was not there`)
    tt.same(heardOf(before, { key: '/dx', mode }, gone), [], mode)
  }
  const expiring = [set('/d', { dir: true, expireAt: NOW }), set('/d/x')]
  tt.same(heardOf(expiring, { key: '/d/x' }, [sync(NOW)]), ['expire /d @3'])
  for (const key of ['/d/x', '/d/none', '/d/e/f/g'])
    tt.same(
      heardOf(before, { key, mode: 'resumable' }, gone),
      ['delete /d @3'],
      `resumable watchers hear of it, whether there was ${key} or not`,
    )
  tt.same(heardOf(before, { key: '/dx', mode: 'resumable' }, gone), [])
  tt.same(
    heardOf([set('/d')], { key: '/d/x', mode: 'resumable' }, [remove('/d')]),
    [],
    'a file has nothing below it',
  )
})

t.test('a stream hears of the end of its own key twice, as in the original', async (tt) => {
  const twice = (action: string): string[] => [`${action} /k @2`, `${action} /k @2`]
  const file = [set('/k', { value: 'v', expireAt: NOW })]
  tt.same(heardOf(file, { key: '/k' }, [remove('/k')]), twice('delete'))
  tt.same(
    heardOf(file, { key: '/k' }, [compareAndDelete('/k', { prevValue: 'v' })]),
    twice('compareAndDelete'),
  )
  tt.same(heardOf(file, { key: '/k' }, [sync(NOW)]), twice('expire'))
  tt.same(
    heardOf([set('/k', { dir: true })], { key: '/k', recursive: true }, [
      remove('/k', { dir: true }),
    ]),
    twice('delete'),
  )
  tt.same(heardOf(file, { key: '/', recursive: true }, [remove('/k')]), ['delete /k @2'])
  tt.same(heardOf(file, { key: '/k', mode: 'once' }, [remove('/k')]), ['delete /k @2'])
  tt.same(heardOf(file, { key: '/k', mode: 'resumable' }, [remove('/k')]), ['delete /k @2'])
})

t.test('refreshes, refused writes and other trees wake nobody', async (tt) => {
  const silent = [
    set('/k', { refresh: true, expireAt: NOW + 9 }),
    update('/k', { refresh: true, expireAt: NOW + 9 }),
    create('/k'),
    remove('/none'),
    set('/k', { space: 'auth' }),
    remove('/k', { space: 'auth' }),
  ]
  for (const mode of ['once', 'stream', 'resumable'] as const) {
    tt.same(heardOf([set('/k')], { key: '/k', mode }, silent), [], mode)
    tt.same(heardOf([set('/k')], { key: '/', recursive: true, mode }, silent), [], mode)
  }
})

t.test('a long poll hears one event and is gone', async (tt) => {
  const store = new Store({ historySize: 10 })
  const first = listen(store, { key: '/k', mode: 'once' })
  const second = listen(store, { key: '/k', mode: 'once', since: 3 })
  tt.equal(store.watchers.count, 2)
  store.apply(set('/k'))
  tt.equal(store.watchers.count, 1)
  store.apply(set('/k'))
  store.apply(set('/k'))
  tt.same(first, ['set /k @1'])
  tt.same(second, ['set /k @3'], 'events before the index that was asked for are skipped')
  tt.equal(store.watchers.count, 0)
})

t.test('watchers of one key are told in the order in which they came', async (tt) => {
  const store = new Store({ historySize: 10 })
  const order: number[] = []
  for (const number of [1, 2, 3])
    listen(store, { key: '/k', mode: 'once', deliver: () => order.push(number) })
  store.apply(set('/k'))
  tt.same(order, [1, 2, 3])
})

t.test('a watcher may leave at any time, also twice, also while it is told', async (tt) => {
  const hub = new WatcherHub()
  const told: string[] = []
  const make = (name: string, onTold = (): void => undefined): Watcher => ({
    key: '/k',
    lost: () => undefined,
    recursive: false,
    since: 1,
    mode: 'stream',
    deliver: () => {
      told.push(name)
      onTold()
    },
  })
  const last = make('last')
  const leaving: Watcher = make('leaving', () => {
    hub.remove(leaving)
    hub.remove(last)
  })
  hub.add(leaving)
  hub.add(last)
  const [event] = eventsOf(storeOf([set('/k')]))
  if (event === undefined) throw new Error('no event')
  hub.notify(event)
  tt.same(told, ['leaving'])
  tt.equal(hub.count, 0)
  hub.remove(leaving)
  hub.remove(make('never added'))
  tt.equal(hub.count, 0)
  hub.notify(event)
  hub.notifyRemoved(event, '/k')
  tt.same(told, ['leaving'])
})

t.test('who is told of an event finds it in the history', async (tt) => {
  const store = storeOf([set('/d/x'), set('/f', { expireAt: NOW })])
  const found: (number | undefined)[] = []
  const look = (): unknown => found.push(store.history.scan('/', true, store.index)?.index)
  for (const key of ['/d/x', '/d', '/f'])
    store.watchers.add({ key, recursive: true, since: 1, mode: 'once', deliver: look, lost: look })
  store.apply(remove('/d', { recursive: true }))
  store.apply(sync(NOW))
  tt.same(found, [3, 3, 4], 'a client that asks for it at once must not wait for ever')
})

function eventsOf({ history }: Store): StoreEvent[] {
  const indexes = Array.from({ length: history.size }, (_, at) => history.first + at)
  return indexes.flatMap((index) => history.at(index) ?? [])
}

t.test('the history keeps the last events, and no fewer', async (tt) => {
  for (const [writes, first] of [
    [999, 1],
    [1000, 1],
    [1001, 2],
    [2500, 1501],
  ] as const) {
    const store = storeOf(Array.from({ length: writes }, (_, at) => set(`/${at % 7}`)))
    const { history } = store
    tt.same([history.first, history.last], [first, writes], `after ${writes} writes`)
    tt.equal(history.size, Math.min(writes, 1000))
    tt.equal(history.check(first, writes), undefined, 'the oldest one may be asked for')
    tt.equal(history.scan('/', true, first)?.index, first)
    tt.equal(history.at(first - 1), undefined)
    tt.equal(history.at(writes + 1), undefined)
    const older = history.check(first - 1, writes)
    tt.equal(
      textOf(older),
      `401 the requested history has been cleared [${first}/${first - 1}] @${writes}`,
    )
  }
})

t.test('an empty history refuses nothing and has no gaps later', async (tt) => {
  const history = new EventHistory(3)
  tt.same([history.first, history.last, history.size], [0, 0, 0])
  tt.equal(history.check(0, 0), undefined)
  tt.equal(history.check(1, 0), undefined)
  tt.equal(history.scan('/', true, 1), undefined)
  tt.equal(history.at(0), undefined)
  tt.same([...history.replay('/', true, 0)], [])
  const events = eventsOf(storeOf([set('/a'), set('/b'), set('/c')]))
  const [first, second, third] = events
  if (first === undefined || second === undefined || third === undefined) throw new Error('none')
  history.add(second)
  tt.same([history.first, history.last], [2, 2], 'it may begin anywhere')
  tt.throws(() => history.add(second), { message: 'event 2 does not follow 2' })
  tt.throws(() => history.add(first), { message: 'event 1 does not follow 2' })
  history.add(third)
  tt.same([history.first, history.last], [2, 3])
})

t.test('a history of one event', async (tt) => {
  const { history } = storeOf([set('/a'), set('/b'), set('/c')], 1)
  tt.same([history.first, history.last, history.size], [3, 3, 1])
  tt.equal(history.at(3)?.key, '/c')
})

t.test(
  'the history is bounded by length, too, but keeps the newest event in any case',
  async (tt) => {
    const value = 'x'.repeat(300)
    const events = eventsOf(storeOf([1, 2, 3, 4, 5].map((at) => set(`/${at}`, { value }))))
    const history = new EventHistory(1000, 1000)
    for (const event of events) history.add(event)
    tt.same(
      [history.first, history.last, history.size],
      [4, 5, 2],
      'two events of 400 characters fit',
    )
    const tiny = new EventHistory(1000, 10)
    for (const event of events) tiny.add(event)
    tt.same([tiny.first, tiny.last, tiny.size], [5, 5, 1])
  },
)

t.test('a short history of a long life', async (tt) => {
  const { history } = storeOf(
    Array.from({ length: 5000 }, (_, at) => set(`/${at}`)),
    5,
  )
  tt.same([history.first, history.last, history.size], [4996, 5000, 5])
  tt.same(
    [4995, 4996, 5000, 5001].map((index) => history.at(index)?.key),
    [undefined, '/4995', '/4999', undefined],
  )
  tt.same(
    [...history.replay('/', true, 1)].map(({ index }) => index),
    [4996, 4997, 4998, 4999, 5000],
  )
})

/** Index of the event that a long poll gets out of the history, or undefined. */
function scanned(
  commands: readonly Command[],
  key: string,
  recursive: boolean,
  from = 1,
): number | undefined {
  return storeOf(commands).history.scan(key, recursive, from)?.index
}

t.test('a long poll out of the history', async (tt) => {
  const writes = [set('/a/x'), set('/ab'), set('/a/_h')]
  tt.equal(scanned(writes, '/a/x', false), 1)
  tt.equal(scanned(writes, '/a', true), 1)
  tt.equal(scanned(writes, '/a', true, 2), 3, 'hidden keys are found here, unlike live')
  tt.equal(scanned(writes, '/a', false, 2), undefined)
  tt.equal(scanned(writes, '/', true, 2), 2)
  tt.equal(scanned(writes, '/none', true), undefined)
  tt.equal(scanned(writes, '/ab', false, 4), undefined, 'an index to come')
  const own = [set('/d', { dir: true }), set('/x'), update('/d')]
  tt.equal(scanned(own, '/d', true, 2), 3, 'the key itself, recursively (fault of 2.3 mended)')
  const refreshed = [set('/k'), set('/k', { refresh: true, expireAt: NOW + 1 }), set('/k')]
  tt.equal(scanned(refreshed, '/k', false, 2), 3, 'refreshes are skipped')
  const other = [set('/k', { space: 'auth' }), set('/k', { space: 'cluster' }), set('/k')]
  tt.equal(scanned(other, '/k', false), 3, 'other trees are skipped')
})

t.test('the end of a directory out of the history', async (tt) => {
  const ended = [set('/d/x'), remove('/d', { recursive: true })]
  tt.equal(scanned(ended, '/d/x', false, 2), 2)
  tt.equal(scanned(ended, '/d/never', false, 2), 2, 'for keys that never existed, too')
  tt.equal(scanned(ended, '/dx', false, 2), 2, 'and for keys that merely begin alike (kvd.md 6.3)')
  tt.equal(scanned(ended, '/e', false, 2), undefined)
  tt.equal(scanned([set('/f'), remove('/f')], '/fx', false, 2), undefined, 'a file is no directory')
})

t.test('keys below others, and hidden from them', async (tt) => {
  const below: [key: string, dir: string, isBelow: boolean][] = [
    ['/a/b', '/a', true],
    ['/a', '/a', false],
    ['/ab', '/a', false],
    ['/a', '/a/b', false],
    ['/a', '/', true],
    ['/', '/', false],
  ]
  for (const [key, dir, is] of below) tt.equal(isBelow(key, dir), is, `${key} below ${dir}`)
  const hidden: [base: string, key: string, isHidden: boolean][] = [
    ['/', '/_a', true],
    ['/', '/a/_b/c', true],
    ['/', '/a_', false],
    ['/_a', '/_a', false],
    ['/_a', '/_a/b', false],
    ['/_a', '/_a/_b', true],
    ['/a/b', '/a', false],
  ]
  for (const [base, key, is] of hidden)
    tt.equal(isHiddenFrom(base, key), is, `${key} hidden from ${base}`)
})

t.test(`resumable: out of the history as live, each once, in order (seed ${seed})`, async (tt) => {
  let delivered = 0
  for (let round = 0; round < rounds; round += 1) {
    const random = new Random(seed + round)
    const program = randomProgram(random, random.int(20, 150))
    const store = new Store({ historySize: 1000 })
    const live: { watcher: Watcher; heard: StoreEvent[] }[] = []
    for (const step of program) {
      if (step.type === 'command') store.apply(step.command)
      if (step.type !== 'watch') continue
      const { key, recursive } = step.watch
      const heard: StoreEvent[] = []
      const since = store.index + 1
      const watcher: Watcher = {
        key,
        lost: () => undefined,
        recursive,
        since,
        mode: 'resumable',
        deliver: (event) => heard.push(event),
      }
      store.watchers.add(watcher)
      live.push({ watcher, heard })
    }
    for (const { watcher, heard } of live) {
      const { key, recursive, since } = watcher
      const replayed = [...store.history.replay(key, recursive, since)]
      delivered += heard.length
      if (!isSame(heard, replayed))
        tt.same(heard, replayed, `FLOTILLA_WATCH_SEED=${seed + round}: ${key} from ${since}`)
      const resumeAt = random.int(since, store.index + 1)
      const rest = [...store.history.replay(key, recursive, resumeAt)]
      if (
        !isSame(
          rest,
          heard.filter(({ index }) => index >= resumeAt),
        )
      )
        tt.fail(`FLOTILLA_WATCH_SEED=${seed + round}: ${key} resumed at ${resumeAt}`)
    }
    const key = randomKey(random)
    for (const event of eventsOf(store))
      if (event.refresh && matchesResumable(event, key, true))
        tt.fail(`a refresh is told of ${key}`)
  }
  tt.ok(delivered > rounds, `${delivered} events delivered`)
})

/** The same events, each with a larger index than the one before it. */
function isSame(left: readonly StoreEvent[], right: readonly StoreEvent[]): boolean {
  return (
    left.length === right.length &&
    left.every((event, at) => event === right[at] && event.index > (left[at - 1]?.index ?? 0))
  )
}

t.test('a set over a directory that a file became is heard of once per write', async (tt) => {
  const store = new Store({ historySize: 10 })
  const heard = listen(store, { key: '/', recursive: true, mode: 'resumable' })
  applied(store, set('/k'))
  applied(store, set('/k', { dir: true }))
  applied(store, set('/k/x'))
  applied(store, remove('/k', { recursive: true }))
  tt.same(heard, ['set /k @1', 'set /k @2', 'set /k/x @3', 'delete /k @4'])
})
