import t from 'tap'
import type { WireEvent, WireNode } from '../helpers/answers.ts'
import { Random, seedFrom } from '../helpers/random.ts'
import { WatchLog, type Session, type Watch } from './watch-log.ts'
import { checkWatches, matchOf } from './watch-rules.ts'

// The rules of watches are checked on watches that were told everything, and on each way not to be.
// FLOTILLA_WATCH_RULES_SEED replays a failed run.

const seed = seedFrom('FLOTILLA_WATCH_RULES_SEED')
const runs = 200
const EVENTS = 60

function nodeAt(key: string, index: number, value: string | undefined): WireNode {
  const none = { expiration: undefined, nodes: [] }
  return {
    key,
    value,
    dir: value === undefined,
    createdIndex: index,
    modifiedIndex: index,
    ...none,
  }
}

/** Events of a small tree, with gaps in their indexes: some belong to the cluster. */
function drawEvents(random: Random): WireEvent[] {
  let index = 10
  return Array.from({ length: EVENTS }, (_, n) => {
    index += random.int(1, 3)
    const key = random.pick(['/a/k1', '/a/k2', '/a/_h/k', '/b/k1', '/ab/k'])
    if (random.chance(0.1)) {
      const dir = random.pick(['/a', '/b'])
      const prevNode = nodeAt(dir, index - 1, undefined)
      return { action: 'delete', node: nodeAt(dir, index, undefined), prevNode }
    }
    return { action: 'set', node: nodeAt(key, index, `v${n}`), prevNode: undefined }
  })
}

function drawWatch(random: Random): Watch {
  const [path, recursive] = random.pick([
    ['/', true],
    ['/a', true],
    ['/a', false],
    ['/a/k1', false],
    ['/a/_h', true],
    ['/b', true],
  ] as const)
  const stream = random.chance(0.5)
  return { path, recursive, stream, ...(random.chance(0.5) && { waitIndex: random.int(8, 60) }) }
}

interface Heard {
  readonly session: Session
  readonly events: WireEvent[]
}

/** What a faultless server sends to a watch that began when `etcdIndex` was the newest. */
function hear(log: WatchLog, random: Random, events: readonly WireEvent[], name: string): Heard {
  const watch = drawWatch(random)
  const session = log.open(name, 'a', watch)
  session.etcdIndex = random.int(8, 40)
  const from = watch.waitIndex ?? session.etcdIndex + 1
  const all = events.filter((event) => {
    const match = matchOf(watch, event)
    if (event.node.modifiedIndex < from) return false
    return match === 'must' || (match === 'may' && random.chance(0.5))
  })
  return { session, events: watch.stream ? all : all.slice(0, 1) }
}

type Spoil = (heard: Heard, random: Random, events: readonly WireEvent[]) => boolean

/** Runs a server with 12 watchers of which one is told something else; gives the ids of what is found. */
function run(from: number, spoil?: Spoil): { readonly ids: string[]; readonly isSpoilt: boolean } {
  const random = new Random(from)
  const log = new WatchLog()
  const events = drawEvents(random)
  const refresh = nodeAt('/a/k1', 500, 'kept')
  log.acknowledged({ action: 'update', node: refresh, prevNode: refresh }, true)
  const heard = Array.from({ length: 12 }, (_, n) => hear(log, random, events, `w${n}`))
  const isSpoilt = spoil !== undefined && heard.some((one) => spoil(one, random, events))
  for (const event of events) log.acknowledged(event, false)
  for (const one of heard) for (const event of one.events) log.received(one.session, event)
  return { ids: checkWatches(log).map(({ id }) => id), isSpoilt }
}

t.test(`watches that are told everything in order break no rule (seed ${seed})`, (tt) => {
  for (let n = 0; n < runs; n += 1) {
    const { ids } = run(seed + n)
    if (ids.length > 0) tt.same(ids, [], `seed ${seed + n}`)
  }
  tt.pass(`${runs} runs`)
  tt.end()
})

const drop: Spoil = ({ session, events }, random) => {
  const must = events.filter((event) => matchOf(session.watch, event) === 'must')
  if (must.length < 4) return false
  const lost = must[random.int(1, must.length - 2)]
  events.splice(0, events.length, ...events.filter((event) => event !== lost))
  return true
}

const dropFirst: Spoil = ({ session, events }) => {
  const [first] = events
  if (events.length < 2 || first === undefined) return false
  if (matchOf(session.watch, first) !== 'must') return false
  events.shift()
  return true
}

const faults: readonly (readonly [what: string, ids: readonly string[], spoil: Spoil])[] = [
  ['an event left out of a stream', ['W4'], drop],
  ['a first event left out', ['W5', 'W6'], dropFirst],
  [
    'an event told twice',
    ['W2'],
    ({ events }) => {
      const again = events.find(({ action }) => action === 'set')
      if (again !== undefined) events.splice(events.indexOf(again), 0, again)
      return again !== undefined
    },
  ],
  [
    'two events in the wrong order',
    ['W2'],
    ({ events }) => {
      const [first, second] = events
      if (first === undefined || second === undefined) return false
      events.splice(0, 2, second, first)
      return true
    },
  ],
  [
    'an event of another key',
    ['W1'],
    ({ session, events }, _random, all) => {
      const last = events.at(-1)?.node.modifiedIndex ?? 0
      const other = all.find(
        (event) => event.node.modifiedIndex > last && matchOf(session.watch, event) === 'never',
      )
      if (last === 0 || other === undefined) return false
      events.push(other)
      return true
    },
  ],
  [
    'an event from before the start',
    ['W5', 'W6'],
    ({ session, events }, _random, all) => {
      const from = session.watch.waitIndex ?? (session.etcdIndex ?? 0) + 1
      const past = all.findLast(
        (event) => event.node.modifiedIndex < from && matchOf(session.watch, event) === 'must',
      )
      if (past === undefined) return false
      events.unshift(past)
      return true
    },
  ],
  [
    'an event with another value',
    ['W7'],
    ({ events }) => {
      const at = events.findIndex(({ node }) => node.value !== undefined)
      const event = events[at]
      if (event === undefined) return false
      events[at] = { ...event, node: { ...event.node, value: 'other' } }
      return true
    },
  ],
  [
    'a refresh',
    ['W10'],
    ({ session, events }) => {
      if (session.watch.path !== '/') return false
      const node = nodeAt('/a/k1', 500, 'kept')
      events.push({ action: 'update', node, prevNode: node })
      return true
    },
  ],
  [
    'a refusal of what is not too old',
    ['W5'],
    ({ session, events }) => {
      const { waitIndex } = session.watch
      if (waitIndex === undefined) return false
      events.length = 0
      session.refusal = `the requested history has been cleared [${waitIndex}/${waitIndex}]`
      return true
    },
  ],
]

for (const [what, ids, spoil] of faults)
  t.test(`a watch is caught at: ${what}`, (tt) => {
    let spoilt = 0
    for (let n = 0; n < runs; n += 1) {
      const found = run(seed + n, spoil)
      if (!found.isSpoilt) continue
      spoilt += 1
      if (!ids.some((id) => found.ids.includes(id)))
        tt.fail(`seed ${seed + n} shows ${found.ids.join()}, not ${ids.join()}`)
    }
    tt.ok(spoilt > runs / 10, `in ${spoilt} runs`)
    tt.end()
  })

t.test('what a watch must, may and must never be told', (tt) => {
  const set = (key: string): WireEvent => ({
    action: 'set',
    node: nodeAt(key, 5, 'v'),
    prevNode: undefined,
  })
  const removed = (key: string): WireEvent => ({
    action: 'delete',
    node: nodeAt(key, 5, undefined),
    prevNode: nodeAt(key, 4, undefined),
  })
  const live = (path: string, recursive: boolean): Watch => ({ path, recursive, stream: true })
  const past = (path: string, recursive: boolean) => ({ ...live(path, recursive), waitIndex: 3 })
  tt.equal(matchOf(live('/a', false), set('/a')), 'must')
  tt.equal(matchOf(live('/a', false), set('/a/b')), 'never')
  tt.equal(matchOf(live('/a', true), set('/a/b/c')), 'must')
  tt.equal(matchOf(live('/a', true), set('/ab')), 'never')
  tt.equal(matchOf(live('/', true), set('/a')), 'must')
  tt.equal(matchOf(live('/a', true), set('/a/_h/b')), 'never')
  tt.equal(matchOf(past('/a', true), set('/a/_h/b')), 'may')
  tt.equal(matchOf(live('/a/_h', true), set('/a/_h/b')), 'must')
  tt.equal(matchOf(live('/a/b', true), set('/a')), 'never', 'a write above is no event')
  tt.equal(matchOf(live('/a/b', true), removed('/a')), 'may')
  tt.equal(matchOf(live('/ab', true), removed('/a')), 'never')
  tt.equal(matchOf(past('/ab', true), removed('/a')), 'may', 'history compares by letters')
  tt.end()
})

t.test(
  'the end of the watched key itself may come twice in a stream, and not three times',
  (tt) => {
    const told = (times: number, stream: boolean): string[] => {
      const log = new WatchLog()
      const session = log.open('w', 'a', { path: '/a', recursive: false, stream })
      session.etcdIndex = 3
      const prevNode = nodeAt('/a', 4, 'v')
      const event = { action: 'delete', node: nodeAt('/a', 5, undefined), prevNode }
      for (let n = 0; n < times; n += 1) log.received(session, event)
      return checkWatches(log).map(({ id }) => id)
    }
    tt.same(told(2, true), [])
    tt.same(told(3, true), ['W2'])
    tt.same(told(2, false), ['W2'])
    tt.end()
  },
)
