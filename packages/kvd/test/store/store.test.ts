import t from 'tap'
import type { Command } from '../../src/store/command.ts'
import { COUNTERS, type Counter } from '../../src/store/stats.ts'
import { Store, type Read } from '../../src/store/store.ts'
import {
  applied,
  compareAndDelete,
  compareAndSwap,
  create,
  createInOrder,
  NOW,
  remove,
  set,
  storeOf,
  sync,
  textOf,
  update,
} from '../helpers/commands.ts'

/** What is there before: /f = "1" at index 1, directory /d with /d/x = "x" at index 2. */
const BEFORE = [set('/f', { value: '1' }), set('/d/x', { value: 'x' })]
const F = '{"key":"/f","value":"1","modifiedIndex":1,"createdIndex":1}'
const D = '{"key":"/d","dir":true,"modifiedIndex":2,"createdIndex":2}'
const X = '{"key":"/d/x","value":"x","modifiedIndex":2,"createdIndex":2}'
const IN_5_S = NOW + 5000
const SOON = '"expiration":"2016-01-01T00:00:05Z","ttl":5'

t.test('no-op and sync have no event and no index', async (tt) => {
  const store = storeOf(BEFORE)
  tt.equal(textOf(store.apply({ ...sync(NOW), op: 'noop' })), 'nothing')
  tt.equal(textOf(store.apply(sync(NOW))), 'nothing')
  tt.equal(store.index, 2)
})

function read(store: Store, key: string, options: Partial<Read> = {}): string {
  return textOf(
    store.read({
      space: 'keys',
      key,
      recursive: false,
      sorted: false,
      nowMs: NOW,
      ...options,
    }),
  )
}

t.test('a write leaves the indexes of the directories above it', async (tt) => {
  const store = storeOf([...BEFORE, set('/d/x', { value: 'y' }), set('/d/y')])
  tt.equal(
    read(store, '/d', { sorted: true }),
    '{"key":"/d","dir":true,"nodes":[{"key":"/d/x","value":"y","modifiedIndex":3,"createdIndex":3},' +
      '{"key":"/d/y","value":"","modifiedIndex":4,"createdIndex":4}],"modifiedIndex":2,"createdIndex":2}',
  )
})

t.test('the update of a directory moves its TTL but not its own index', async (tt) => {
  const store = storeOf([...BEFORE, update('/d', { expireAt: IN_5_S })])
  const head = '{"key":"/d","dir":true,'
  const tail = `"nodes":[${X}],"modifiedIndex":2,"createdIndex":2}`
  tt.equal(read(store, '/d'), `${head}${SOON},${tail}`)
  store.apply(update('/d'))
  tt.equal(read(store, '/d'), head + tail, 'and takes it away when none is given')
})

t.test('reads', async (tt) => {
  const store = storeOf([
    ...BEFORE,
    set('/d/_h', { value: 'hidden' }),
    set('/_h/y', { value: 'y' }),
    set('/_h/_z', { value: 'z' }),
    set('/d/e', { dir: true }),
    set('/d/a/b', { value: 'b' }),
  ])
  const e = '{"key":"/d/e","dir":true,"modifiedIndex":6,"createdIndex":6}'
  const a = '"key":"/d/a","dir":true'
  const b = '{"key":"/d/a/b","value":"b","modifiedIndex":7,"createdIndex":7}'
  const at7 = '"modifiedIndex":7,"createdIndex":7'
  const cases: [what: string, key: string, options: Partial<Read>, json: string][] = [
    ['a file', '/f', {}, F],
    ['the root has no key and no indexes', '/', {}, `{"dir":true,"nodes":[${F},${D}]}`],
    [
      'a directory: one level',
      '/d',
      {},
      `{"key":"/d","dir":true,"nodes":[${X},${e},{${a},${at7}}],"modifiedIndex":2,"createdIndex":2}`,
    ],
    [
      'recursive and sorted: all levels in order',
      '/d',
      { recursive: true, sorted: true },
      `{"key":"/d","dir":true,"nodes":[{${a},"nodes":[${b}],${at7}},${e},${X}],"modifiedIndex":2,"createdIndex":2}`,
    ],
    ['recursive on a file', '/f', { recursive: true, sorted: true }, F],
    [
      'a hidden file by its own path',
      '/d/_h',
      {},
      '{"key":"/d/_h","value":"hidden","modifiedIndex":3,"createdIndex":3}',
    ],
    [
      'a hidden directory lists its plain children',
      '/_h',
      {},
      '{"key":"/_h","dir":true,"nodes":[{"key":"/_h/y","value":"y","modifiedIndex":4,"createdIndex":4}],"modifiedIndex":4,"createdIndex":4}',
    ],
    ['an empty directory has no nodes', '/d/e', { recursive: true }, e],
    ['nothing: the first component that is missing', '/x/y/z', {}, '100 /x @7'],
    ['nothing, further down', '/d/a/q/r', {}, '100 /d/a/q @7'],
    ['below a file', '/d/a/b/c', {}, '104 /d/a/b @7'],
  ]
  for (const [what, key, options, json] of cases) tt.equal(read(store, key, options), json, what)
  tt.equal(read(new Store({ historySize: 1 }), '/'), '{"dir":true}', 'an empty root')
})

t.test('sorted is by bytes, not by letters or UTF-16', async (tt) => {
  const keys = ['/\u{10000}', '/\uffff', '/b', '/B', '/a-b', '/a', '/é', '/\udc80']
  const store = storeOf(keys.map((key) => set(key)))
  const found = [...read(store, '/', { sorted: true }).matchAll(/"key":"([^"]*)"/g)]
  tt.same(
    found.map(([, key]) => JSON.parse(`"${key}"`)),
    // The byte 0x80 alone sorts before 0xc3 (é), and shows as U+FFFD.
    ['/B', '/a', '/a-b', '/b', '/\ufffd', '/é', '/\uffff', '/\u{10000}'],
  )
})

t.test('expiry', async (tt) => {
  const store = storeOf([
    set('/b', { value: 'v', expireAt: NOW + 2000 }),
    set('/a', { expireAt: NOW + 2000 }),
    set('/dir', { dir: true, expireAt: NOW + 1000 }),
    set('/dir/x', { value: 'x' }),
    set('/dir/y/z'),
    set('/keep'),
  ])
  tt.equal(store.nextExpiry, NOW + 1000)
  store.apply(sync(NOW + 999))
  tt.equal(store.index, 6, 'a millisecond early, nothing expires')
  store.apply(sync(NOW + 1000))
  tt.equal(store.index, 7, 'a directory goes with all below it as one event')
  tt.equal(
    store.history.at(7)?.json,
    '{"action":"expire","node":{"key":"/dir","modifiedIndex":7,"createdIndex":3},"prevNode":{"key":"/dir","dir":true,"expiration":"2016-01-01T00:00:01Z","modifiedIndex":3,"createdIndex":3}}',
    'no ttl when it expired in time; no dir, as in 2.3',
  )
  store.apply(sync(NOW + 3500))
  tt.equal(
    store.history.at(8)?.json,
    '{"action":"expire","node":{"key":"/a","modifiedIndex":8,"createdIndex":2},"prevNode":{"key":"/a","value":"","expiration":"2016-01-01T00:00:02Z","ttl":-1,"modifiedIndex":2,"createdIndex":2}}',
    'those of one moment go by key; ttl counts the seconds it came late',
  )
  tt.equal(store.history.at(9)?.key, '/b')
  tt.equal(store.index, 9)
  tt.equal(store.nextExpiry, undefined)
  tt.match(read(store, '/'), '{"dir":true,"nodes":[{"key":"/keep"')
  tt.equal(store.counter('expireCount'), 3)
})

t.test('a key is found in a directory that went away and came back', async (tt) => {
  const store = storeOf([
    set('/d/x', { value: '1' }),
    set('/d/x', { value: '2' }),
    remove('/d', { recursive: true }),
  ])
  const { index } = store
  tt.equal(textOf(store.apply(update('/d/x'))), `100 /d @${index}`)
  store.apply(set('/d/x', { value: '3' }))
  tt.equal(store.peek('keys', '/d/x'), '3')
  store.apply(set('/d/x', { value: '4', space: 'auth' }))
  tt.equal(store.peek('keys', '/d/x'), '3', 'each space has its own')
  tt.equal(store.peek('keys', '/dx'), undefined)
  tt.equal(textOf(store.apply(set('/d/x/y'))), `104 /d/x @${store.index}`)
  tt.equal(textOf(store.apply(update('/d/x/y'))), `104 /d/x @${store.index}`)
  tt.same(store.peekNames('keys', '/d'), ['x'])
})

t.test('time does not go back behind a sync', async (tt) => {
  const store = storeOf([sync(NOW + 9000), set('/k', { time: NOW + 1000, expireAt: NOW + 3000 })])
  tt.equal(store.syncTime, NOW + 9000)
  tt.match(
    store.history.at(1)?.json,
    '"expiration":"2016-01-01T00:00:11Z","ttl":2',
    'it lives for its two seconds all the same',
  )
  store.apply(sync(NOW + 8000))
  tt.equal(store.syncTime, NOW + 9000)
  store.apply(set('/old', { time: NOW, expireAt: Date.UTC(1999, 1) }))
  tt.equal(store.nextExpiry, NOW + 11_000, 'what is permanent stays so')

  const again = new Store({ historySize: 10 })
  again.load(store.takeChanges().state, store.rows(), [])
  tt.equal(again.syncTime, NOW + 9000, 'a restart changes nothing')
})

t.test('a TTL goes with a set or compareAndSwap without one, and with a new one', async (tt) => {
  for (const again of [
    set('/k'),
    set('/k', { dir: true }),
    compareAndSwap('/k', { prevIndex: '1' }),
    update('/k'),
  ]) {
    const store = storeOf([set('/k', { expireAt: IN_5_S }), again])
    tt.equal(store.nextExpiry, undefined, again.op)
  }
  const store = storeOf([set('/k', { expireAt: IN_5_S }), set('/k', { expireAt: IN_5_S + 1 })])
  tt.equal(store.nextExpiry, IN_5_S + 1)
  store.apply(remove('/k'))
  tt.equal(store.nextExpiry, undefined, 'and with the key')
})

t.test('a time to live, as seconds and as a date', async (tt) => {
  const cases: [expireAt: number, shown: string][] = [
    [NOW + 1, '"expiration":"2016-01-01T00:00:00.001Z","ttl":1,'],
    [NOW + 1000, '"expiration":"2016-01-01T00:00:01Z","ttl":1,'],
    [NOW + 1001, '"expiration":"2016-01-01T00:00:01.001Z","ttl":2,'],
    [NOW + 61_500, '"expiration":"2016-01-01T00:01:01.5Z","ttl":62,'],
    [NOW + 36_000_000, '"expiration":"2016-01-01T10:00:00Z","ttl":36000,'],
    [NOW, '"expiration":"2016-01-01T00:00:00Z",'],
    [NOW - 999, '"expiration":"2015-12-31T23:59:59.001Z",'],
    [NOW - 1000, '"expiration":"2015-12-31T23:59:59Z","ttl":-1,'],
    [NOW - 2999, '"expiration":"2015-12-31T23:59:57.001Z","ttl":-2,'],
  ]
  for (const [expireAt, shown] of cases)
    tt.equal(
      read(storeOf([set('/k', { expireAt })]), '/k'),
      `{"key":"/k","value":"",${shown}"modifiedIndex":1,"createdIndex":1}`,
    )
})

t.test('trees share the index but not the keys', async (tt) => {
  const store = storeOf([set('/k', { value: 'user' }), set('/k', { value: 'own', space: 'auth' })])
  tt.equal(store.peek('keys', '/k'), 'user')
  tt.equal(store.peek('auth', '/k'), 'own')
  tt.equal(store.peek('cluster', '/k'), undefined)
  tt.equal(store.peek('keys', '/'), undefined, 'a directory has no value')
  tt.same(store.peekNames('auth', '/'), ['k'])
  tt.same(store.peekNames('auth', '/k'), [])
  tt.same(store.peekNames('auth', '/none'), [])
  tt.equal(read(store, '/k', { space: 'auth' }).includes('own'), true)
  tt.equal(store.index, 2)
})

t.test(
  'whoever keeps the rules hears of every change of the auth space, and of no other',
  async (tt) => {
    const store = storeOf([set('/k', { space: 'auth' })])
    let changes = 0
    store.onAuthChange(() => (changes += 1))
    store.apply(set('/k'))
    tt.equal(changes, 0)
    store.apply(set('/k', { space: 'auth' }))
    store.apply(remove('/k', { space: 'auth' }))
    store.apply(remove('/k', { space: 'auth' }))
    tt.equal(changes, 2, 'failed writes change nothing')
  },
)

t.test('a tree as deep as a request line is read, listed and deleted', async (tt) => {
  const depth = 4_000
  const store = storeOf([set('/a'.repeat(depth), { value: 'deep' })])
  const json = read(store, '/', { recursive: true, sorted: true })
  tt.equal(json.split('"nodes":[').length, depth + 1)
  tt.match(json, '"value":"deep"')
  tt.equal([...store.rows()].length, depth)
  applied(store, remove('/a', { recursive: true }))
  tt.equal([...store.rows()].length, 0)
})

/** The counters that a command moved, on a store that holds `BEFORE`. */
function counted(entry: Command): Partial<Record<Counter, number>> {
  const store = storeOf(BEFORE)
  const before = COUNTERS.map((name) => store.counter(name))
  store.apply(entry)
  return Object.fromEntries(
    COUNTERS.map((name, at) => [name, store.counter(name) - (before[at] ?? 0)] as const).filter(
      ([, moved]) => moved !== 0,
    ),
  )
}

t.test('statistics count as the original does', async (tt) => {
  const right = { prevValue: '1' }
  const wrong = { prevValue: '9' }
  const cases: [command: Command, moved: Partial<Record<Counter, number>>][] = [
    [set('/n'), { setsSuccess: 1 }],
    [set('/d'), { setsFail: 1 }],
    [set('/'), { setsFail: 1 }],
    [create('/n'), { createSuccess: 1 }],
    [create('/f'), { createFail: 1 }],
    [create('/f/x'), { setsFail: 1, createFail: 1 }],
    [create('/'), { createFail: 1 }],
    [createInOrder('/'), { createSuccess: 1 }],
    [createInOrder('/f'), { setsFail: 1, createFail: 1 }],
    [update('/f'), { updateSuccess: 1 }],
    [update('/n'), { updateFail: 1 }],
    [update('/'), { updateSuccess: 1 }],
    [compareAndSwap('/f', right), { compareAndSwapSuccess: 1 }],
    [compareAndSwap('/f', wrong), { compareAndSwapFail: 1 }],
    [compareAndSwap('/', right), { compareAndSwapSuccess: 1 }],
    [remove('/f'), { deleteSuccess: 1 }],
    [remove('/n'), { deleteFail: 1 }],
    [remove('/'), { deleteSuccess: 1 }],
    [compareAndDelete('/f', right), { compareAndDeleteSuccess: 1 }],
    [compareAndDelete('/f', wrong), { compareAndDeleteSuccess: 1 }],
    [compareAndDelete('/d', right), { compareAndDeleteSuccess: 1 }],
    [compareAndDelete('/n', right), { compareAndDeleteFail: 1 }],
    [sync(NOW), {}],
  ]
  for (const [entry, moved] of cases) tt.same(counted(entry), moved, `${entry.op} ${entry.key}`)
})

t.test('statistics as JSON, reads included', async (tt) => {
  const store = storeOf(BEFORE)
  read(store, '/f')
  read(store, '/f')
  read(store, '/n')
  store.peek('keys', '/f')
  store.watchers.add({
    key: '/',
    recursive: true,
    since: 1,
    mode: 'once',
    deliver: () => undefined,
    lost: () => undefined,
  })
  tt.equal(
    store.statsJson(),
    '{"getsSuccess":2,"getsFail":1,"setsSuccess":2,"setsFail":0,"deleteSuccess":0,"deleteFail":0,' +
      '"updateSuccess":0,"updateFail":0,"createSuccess":0,"createFail":0,' +
      '"compareAndSwapSuccess":0,"compareAndSwapFail":0,"compareAndDeleteSuccess":0,' +
      '"compareAndDeleteFail":0,"expireCount":0,"watchers":1}',
  )
})

t.test('a store cannot be loaded from rows that contradict each other', async (tt) => {
  const { stats } = storeOf([]).takeChanges().state
  const row = (key: string, value?: string) =>
    ({ space: 'keys', key, value, createdIndex: 1, modifiedIndex: 1, expireAt: 0 }) as const
  const load = (count: number, ...rows: ReturnType<typeof row>[]): Store => {
    const store = new Store({ historySize: 1 })
    store.load({ index: 1, count, stats }, rows, [])
    return store
  }
  const cases: [rows: ReturnType<typeof row>[], message: string][] = [
    [[row('/f', '1'), row('/f/x', '2')], 'row /f/x has no place in the tree'],
    [[row('/d/x', '2'), row('/d')], 'row /d/x has no place in the tree'],
    [[row('/f', '1'), row('/f', '2')], 'row /f has no place in the tree'],
    [[row('/d'), row('/d/x', '1')], '2 rows where 3 were written'],
  ]
  for (const [rows, message] of cases) tt.throws(() => load(3, ...rows), { message })
  tt.equal(load(3, row('/d'), row('/d/x', '1'), row('/e')).peek('keys', '/d/x'), '1')
})

t.test('changes for the disk: what is there as written, what is gone as removed', async (tt) => {
  const store = storeOf([set('/a/b'), set('/f'), set('/g', { space: 'auth' })])
  const take = (): [string[], string[]] => {
    const { tree } = store.takeChanges()
    return [
      tree.written.map(({ space, key }) => `${space}:${key}`).toSorted(),
      tree.removed.map(({ space, key }) => `${space}:${key}`).toSorted(),
    ]
  }
  tt.same(take(), [['auth:/g', 'keys:/a', 'keys:/a/b', 'keys:/f'], []])
  tt.same(take(), [[], []], 'only what changed since the last time')
  tt.equal(store.dirtyCount, 0)
  store.apply(set('/f'))
  store.apply(set('/f'))
  store.apply(set('/n'))
  store.apply(remove('/n'))
  tt.same(take(), [['keys:/f'], []], 'what came and went is nothing to the disk')
  store.apply(set('/n'))
  take()
  for (const value of ['1', '2']) {
    store.apply(remove('/n'))
    store.apply(set('/n', { value }))
  }
  store.apply(remove('/n'))
  tt.same(take(), [[], ['keys:/n']], 'nothing twice')
  tt.equal(store.dirtyLength, 0)
  store.apply(set('/f', { value: 'small' }))
  store.apply(set('/f', { value: 'x'.repeat(5000) }))
  tt.ok(store.dirtyLength >= 5000, 'a value that grew counts as it is')
  take()
  store.apply(remove('/a', { recursive: true }))
  store.apply(set('/a'))
  tt.same(take(), [['keys:/a'], ['keys:/a/b']], 'a key that is back is written, not removed')
  store.apply(update('/f', { expireAt: IN_5_S }))
  store.apply(sync(IN_5_S))
  tt.same(take(), [[], ['keys:/f']])
  store.apply(update('/a', { value: '' }))
  tt.same(take(), [['keys:/a'], []])
})

t.test('changes come in pieces, the oldest first', async (tt) => {
  const store = storeOf([set('/a'), set('/b'), set('/c', { value: 'x'.repeat(100) }), set('/d')])
  const take = (nodes: number, length = Infinity): [string[], string[]] => {
    const { tree } = store.takeChanges({ nodes, length })
    return [tree.written.map(({ key }) => key), tree.removed.map(({ key }) => key)]
  }
  tt.same(take(1), [['/a'], []])
  store.apply(set('/b'))
  store.apply(set('/a'))
  tt.equal(store.dirtyCount, 4)
  tt.same(take(Infinity, 8), [['/b', '/c'], []], 'the last one may be longer than the rest')
  tt.ok(store.dirtyLength >= 4 && store.dirtyLength < 100, 'at the least what is left')
  tt.same(take(9, 1), [['/d'], []])
  tt.same([take(9), store.dirtyCount, store.dirtyLength], [[['/a'], []], 0, 0])
  store.apply(remove('/a'))
  store.apply(set('/b'))
  store.apply(set('/a'))
  tt.same(take(1), [[], []], 'a key that is back')
  store.apply(remove('/a'))
  tt.same(take(1), [['/b'], []])
  tt.same(take(1), [[], ['/a']], 'and gone again is not forgotten')
  store.apply(set('/d/x', { dir: true }))
  store.apply(set('/d', { dir: true }))
  store.apply(set('/d/x'))
  store.apply(remove('/d', { recursive: true }))
  tt.same(take(9), [[], ['/d']])
  tt.equal(store.dirtyCount, 0)
})
