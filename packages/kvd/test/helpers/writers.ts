import { Agent } from 'node:http'
import { ask, parseEvent, type Answer, type WireEvent } from './answers.ts'
import type { Random } from './random.ts'

/** What is known of the writes of one life of a store. */
export interface Ledger {
  /** Answers of writes that succeeded, by the index that the store gave them. */
  readonly acknowledged: Map<number, WireEvent>
  /** Acknowledged refreshes, which no watcher is told of. */
  readonly refreshed: Map<number, WireEvent>
  /** Keys with a refresh under way when the store died: done or not, nobody can tell. */
  readonly unsureRefreshes: Set<string>
}

/** A new, empty ledger. */
export function newLedger(): Ledger {
  return { acknowledged: new Map(), refreshed: new Map(), unsureRefreshes: new Set() }
}

/** How writers behave. `onAcknowledged` is called after each success. */
export interface WriterOptions {
  readonly port: number
  readonly writers: number
  readonly random: Random
  readonly ledger: Ledger
  readonly onAcknowledged: (count: number) => void
  /** Writers stop by themselves when this says so; otherwise when the connection breaks. */
  readonly isDone?: () => boolean
}

/** A request that writes; `refreshes` is the key when it is a refresh, of which no watcher hears. */
export interface Write {
  readonly method: string
  readonly path: string
  readonly form?: Readonly<Record<string, string>>
  readonly refreshes?: string
}

const keysPerWriter = 8
const valueCharsMax = 6000
const refusals = new Set([400, 403, 404, 412])

/**
 * Runs writers until the store is gone or they are done. Every writer has one request under way, so
 * at most one write each is in doubt at the end. @throws Error on an answer that no write may get
 */
export async function runWriters(options: WriterOptions): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: options.writers })
  const writers = Array.from({ length: options.writers }, (_, number) =>
    runWriter(number, agent, { ...options, random: options.random.fork() }),
  )
  await Promise.all(writers)
  agent.destroy()
}

async function runWriter(number: number, agent: Agent, options: WriterOptions): Promise<void> {
  const { ledger, random } = options
  const known = new Map<string, number>()
  while (options.isDone?.() !== true) {
    const write = chooseWrite(number, random, known)
    const answer = await ask(options.port, { ...write, agent }).catch(() => undefined)
    if (answer === undefined) {
      if (write.refreshes !== undefined) ledger.unsureRefreshes.add(write.refreshes)
      return
    }
    if (refusals.has(answer.status)) continue
    const event = successOf(answer, write)
    known.set(event.node.key, event.node.modifiedIndex)
    const into = write.refreshes === undefined ? ledger.acknowledged : ledger.refreshed
    into.set(event.node.modifiedIndex, event)
    options.onAcknowledged(ledger.acknowledged.size + ledger.refreshed.size)
  }
}

function successOf(answer: Answer, write: Write): WireEvent {
  if (answer.status !== 200 && answer.status !== 201)
    throw new Error(`${write.method} ${write.path}: ${answer.status} ${answer.body}`)
  const event = parseEvent(answer.body)
  if (answer.index < event.node.modifiedIndex)
    throw new Error(`X-Etcd-Index ${answer.index} is below the write's own: ${answer.body}`)
  return event
}

/**
 * A write of any kind the API has: on the writer's own keys, on shared ones, on hidden ones. `known`
 * has the indexes that the writer saw.
 */
export function chooseWrite(
  number: number,
  random: Random,
  known: ReadonlyMap<string, number>,
): Write {
  const dir = random.pick([`/w${number}`, `/w${number}/deep/er`, '/shared', '/_hidden'])
  const key = `${dir}/k${random.int(1, keysPerWriter)}`
  const path = `/v2/keys${key}`
  const value = valueOf(random)
  const prevIndex = String(random.chance(0.8) ? (known.get(key) ?? 1) : random.int(1, 50))
  const choices: readonly (readonly [weight: number, make: () => Write])[] = [
    [8, () => ({ method: 'PUT', path, form: { value } })],
    [3, () => ({ method: 'PUT', path, form: { value, prevExist: 'false' } })],
    [2, () => ({ method: 'PUT', path, form: { value, prevExist: 'true' } })],
    [3, () => ({ method: 'PUT', path, form: { value, prevIndex } })],
    [2, () => ({ method: 'PUT', path, form: { value, ttl: String(random.int(1, 3)) } })],
    [2, () => ({ method: 'DELETE', path })],
    [1, () => ({ method: 'DELETE', path: `${path}?prevIndex=${prevIndex}` })],
    [2, () => ({ method: 'POST', path: `/v2/keys${dir}/queue`, form: { value } })],
    [1, () => ({ method: 'PUT', path: `${path}-dir`, form: { dir: 'true', ttl: '2' } })],
    [1, () => ({ method: 'PUT', path: `${path}-dir`, form: { dir: 'true', prevExist: 'true' } })],
    [1, () => ({ method: 'PUT', path: `${path}-dir/child`, form: { value } })],
    [1, () => refresh(`/w${number}/k${random.int(1, keysPerWriter)}`, random)],
    [0.2, () => ({ method: 'DELETE', path: `/v2/keys/w${number}?recursive=true` })],
    [0.1, () => ({ method: 'DELETE', path: `/v2/keys${dir}?recursive=true` })],
  ]
  return weighted(choices, random)()
}

/** Of a key that nobody else writes: see `settleRefreshes` of the crash drill. */
function refresh(key: string, random: Random): Write {
  const form = { refresh: 'true', ttl: String(random.int(30, 60)), prevExist: 'true' }
  return { method: 'PUT', path: `/v2/keys${key}`, form, refreshes: key }
}

function weighted<T>(choices: readonly (readonly [number, T])[], random: Random): T {
  const total = choices.reduce((sum, [weight]) => sum + weight, 0)
  let at = random.next() * total
  for (const [weight, choice] of choices) {
    at -= weight
    if (at < 0) return choice
  }
  return random.pick(choices)[1]
}

/** Mostly short, sometimes longer than a page of the database; with text that JSON must escape. */
function valueOf(random: Random): string {
  const text = random.pick(['v', 'ü', '"<&>"', '\u2028', '𝄞', '{}\\n'])
  const chars = random.chance(0.1) ? random.int(1, valueCharsMax) : random.int(0, 40)
  return `${random.int(0, 1e9)}${text.repeat(Math.ceil(chars / text.length))}`
}
