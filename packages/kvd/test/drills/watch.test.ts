import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { ask, parseEvent, type WireEvent } from '../helpers/answers.ts'
import { drain } from '../helpers/history.ts'
import { countFrom, Random, seedFrom } from '../helpers/random.ts'
import { freePorts, isKvd, launch, type StoreProcess } from '../helpers/store-process.ts'
import {
  endKey,
  followByPolls,
  followByWebSocket,
  isAtEnd,
  isFor,
  newWatch,
  type Watch,
} from '../helpers/watchers.ts'
import { newLedger, runWriters } from '../helpers/writers.ts'

// Clients that hang up at random, a store that is stopped and killed at random: whoever resumes by
// index sees every event exactly once, in order. FLOTILLA_WATCH_ROUNDS for a long run,
// FLOTILLA_WATCH_SEED to replay the choices of a failed one.

const rounds = countFrom('FLOTILLA_WATCH_ROUNDS', 5)
const seed = seedFrom('FLOTILLA_WATCH_SEED')
const writers = 6
const writesPerRound = 300
/** Slow clients may fall behind by more than the 1000 events that etcd 2 keeps. */
const flags = isKvd ? ['--event-history', '100000'] : []

/**
 * Long polls watch only where live watches and history agree: etcd shows hidden keys and the end of
 * directories above out of its history, but not live (kvd.md 6.3, 6.4).
 */
const polled: readonly (readonly [key: string, recursive: boolean])[] = [
  ['/w0', true],
  ['/w1', true],
  ['/w2', false],
  ['/shared', true],
  ['/_hidden', true],
]

/** On a resumable watch both are the same, so that these may be anywhere. */
const multiplexed: readonly (readonly [key: string, recursive: boolean])[] = [
  ['/', true],
  ...polled,
  ['/w0/deep', true],
  ['/w0/deep/er/k1', false],
  ['/w3/k1', false],
  ['/shared/queue', true],
]

t.setTimeout(60_000 + rounds * 30_000)
t.test(`each event reaches each client once and in order (seed ${seed})`, async (tt) => {
  const dir = tt.testdir()
  const random = new Random(seed)
  const ports = await freePorts()
  let store: StoreProcess = await launch({ dir, ports, flags })
  tt.teardown(() => store.kill('SIGKILL'))

  let at = await mark(ports.client)
  let breaks = 0
  const end = new AbortController()
  tt.teardown(() => end.abort())
  const client = () => ({
    port: ports.client,
    random: random.fork(),
    onBreak: () => (breaks += 1),
    signal: end.signal,
  })
  const watches: Watch[] = []
  const watch = (list: typeof polled): Watch[] => {
    const made = list.map(([key, recursive]) => newWatch(key, recursive, at))
    watches.push(...made)
    return made
  }
  const clients = watch([...polled, ...polled]).map((one) => followByPolls(one, client()))
  if (isKvd) {
    clients.push(...watch(multiplexed).map((one) => followByWebSocket([one], client())))
    clients.push(followByWebSocket(watch(multiplexed), client()))
  }
  const finished = Promise.all(clients)
  // A client that fails early must not be an unhandled rejection before it is awaited.
  finished.catch(() => undefined)

  const reference: WireEvent[] = []
  for (let round = 1; round <= rounds; round += 1) {
    const isDying = random.chance(0.5)
    await write(store, random.fork(), isDying)
    if (isDying || random.chance(0.5)) {
      await store.kill(isDying ? 'SIGKILL' : 'SIGTERM')
      store = await launch({ dir, ports, flags })
    }
    if (round === rounds) await writeEnds(ports.client, watches)
    const to = await mark(ports.client)
    reference.push(...(await drain(ports.client, at + 1, to)))
    at = to
  }
  const late = new AbortController()
  await Promise.race([finished, stuckAfter(30_000, watches, late.signal)])
  late.abort()

  for (const one of watches) {
    const { key, recursive } = one
    const name = `${key}${recursive ? ' and below' : ''}`
    const expected = reference.filter((event) => isFor(one, event))
    const last = expected.findIndex((event) => isEnd(one, event))
    compare(name, one.received, expected.slice(0, last + 1))
    tt.pass(`${name}: ${one.received.length} events`)
  }
  tt.ok(breaks > watches.length, `the clients hung up ${breaks} times`)
  tt.comment(`${reference.length} events, ${watches.length} watches, ${breaks} hang-ups`)
})

/** Rejects with the watches that still wait for their last event. */
async function stuckAfter(
  ms: number,
  watches: readonly Watch[],
  signal: AbortSignal,
): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined)
  if (signal.aborted) return
  const stuck = watches.filter((watch) => !isAtEnd(watch))
  const list = stuck.map((watch) => `${watch.key} (recursive ${watch.recursive}) at ${watch.after}`)
  throw new Error(`after ${ms} ms some wait still: ${list.join(', ')}`)
}

/** A write that everybody can wait for; gives its index. */
async function mark(port: number): Promise<number> {
  const answer = await ask(port, { method: 'PUT', path: '/v2/keys/_drill/mark' })
  return parseEvent(answer.body).node.modifiedIndex
}

/** Writes until enough is acknowledged; a dying store is killed in the middle of it. */
async function write(store: StoreProcess, random: Random, isDying: boolean): Promise<void> {
  let count = 0
  const isDone = (): boolean => count >= writesPerRound && !isDying
  const onAcknowledged = (): void => {
    count += 1
    if (isDying && count === writesPerRound) void store.kill('SIGKILL')
  }
  const options = { port: store.ports.client, writers, random, ledger: newLedger() }
  await runWriters({ ...options, onAcknowledged, isDone })
}

/** Tells every watch that it has seen everything. A plain watch may stand on a directory. */
async function writeEnds(port: number, watches: readonly Watch[]): Promise<void> {
  for (const key of new Set(watches.map(endKey))) {
    const path = `/v2/keys${key}`
    await ask(port, { method: 'DELETE', path: `${path}?recursive=true` })
    const answer = await ask(port, { method: 'PUT', path, form: { value: 'end' } })
    assert.equal(answer.status, 201, `${key}: ${answer.body}`)
  }
}

function isEnd(watch: Watch, event: WireEvent): boolean {
  return event.node.key === endKey(watch) && event.node.value === 'end'
}

/** Says at which event a client went wrong, rather than show two lists of thousands. */
function compare(
  name: string,
  received: readonly WireEvent[],
  expected: readonly WireEvent[],
): void {
  const length = Math.max(received.length, expected.length)
  for (let n = 0; n < length; n += 1)
    assert.deepEqual(
      received[n],
      expected[n],
      `${name}: event ${n} of ${expected.length}, seed ${seed}`,
    )
}
