import { Agent } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { ask, eventOf, fieldsOf, parseEvent, type WireEvent } from './answers.ts'
import type { Random } from './random.ts'

/** What a client watches, and what it was told, in the order in which it came. */
export interface Watch {
  readonly key: string
  readonly recursive: boolean
  readonly received: WireEvent[]
  /** Everything up to here has been delivered. */
  after: number
}

/** A new watch for events after `after`. */
export function newWatch(key: string, recursive: boolean, after: number): Watch {
  return { key, recursive, received: [], after }
}

/** The key whose write with the value `end` tells a watch that nothing more will come. */
export function endKey(watch: Watch): string {
  return watch.recursive ? `${watch.key === '/' ? '' : watch.key}/end` : watch.key
}

/** How a client finds the store, how it misbehaves, and how it counts that. */
export interface ClientOptions {
  readonly port: number
  readonly random: Random
  readonly onBreak: () => void
  /** Ends the client before its time. */
  readonly signal: AbortSignal
}

const patienceMsMax = 30
const messagesMax = 40
const retryMs = 5

/** True once a watch has its last event. */
export function isAtEnd(watch: Watch): boolean {
  const last = watch.received.at(-1)
  return last !== undefined && last.node.key === endKey(watch) && last.node.value === 'end'
}

function note(watch: Watch, event: WireEvent): void {
  // Other watches on the connection go on, and keys go on expiring.
  if (isAtEnd(watch)) return
  watch.received.push(event)
  watch.after = event.node.modifiedIndex
}

/** Follows one watch by HTTP long polls that it often gives up at a random moment. */
export async function followByPolls(watch: Watch, options: ClientOptions): Promise<void> {
  const { port, random, onBreak } = options
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  while (!isAtEnd(watch) && !options.signal.aborted) {
    const query = `wait=true&recursive=${watch.recursive}&waitIndex=${watch.after + 1}`
    const path = `/v2/keys${watch.key}?${query}`
    const breaks = random.chance(0.3)
      ? AbortSignal.timeout(random.int(0, patienceMsMax))
      : undefined
    const asked = { method: 'GET', path, agent, ...(breaks && { signal: breaks }) }
    const answer = await ask(port, asked).catch(() => undefined)
    if (breaks?.aborted === true) onBreak()
    // Nothing came, or half of it: the store stops, or we hung up. Ask again from the same index.
    if (answer === undefined) await delay(retryMs)
    else if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${answer.body}`)
    else if (answer.body.endsWith('\n')) note(watch, parseEvent(answer.body))
  }
  agent.destroy()
}

/** Follows several watches on one WebSocket that it breaks, and opens anew, at random moments. */
export async function followByWebSocket(
  watches: readonly Watch[],
  options: ClientOptions,
): Promise<void> {
  while (!watches.every(isAtEnd) && !options.signal.aborted) {
    await new Connection(
      watches.filter((watch) => !isAtEnd(watch)),
      options,
    ).ended
    await delay(options.random.int(0, retryMs))
  }
}

/** One life of a WebSocket. Resolves `ended` when it is closed; rejects it when the store broke a promise. */
class Connection {
  readonly ended: Promise<void>
  readonly #socket: WebSocket
  readonly #open = new Map<number, Watch>()
  readonly #cancelled = new Set<number>()
  readonly #options: ClientOptions
  #messagesLeft: number
  #nextId = 1

  constructor(watches: readonly Watch[], options: ClientOptions) {
    this.#options = options
    this.#messagesLeft = options.random.int(0, messagesMax)
    this.#socket = new WebSocket(`ws://127.0.0.1:${options.port}/kvd/v1/watch`, 'kvd-watch.1')
    const breaks = setTimeout(() => this.#break(), options.random.int(1, patienceMsMax * 10))
    this.#socket.on('open', () => watches.forEach((watch) => this.#start(watch)))
    this.ended = new Promise((resolve, reject) => {
      this.#socket.on('error', () => undefined) // the store is away; `close` follows
      this.#socket.on('close', () => {
        clearTimeout(breaks)
        resolve()
      })
      this.#socket.on('message', (data, isBinary) => {
        try {
          this.#take(JSON.parse(isBinary ? '' : textOf(data)))
        } catch (error) {
          reject(error)
          this.#socket.terminate()
        }
      })
    })
  }

  #break(): void {
    this.#options.onBreak()
    this.#socket.terminate()
  }

  #start(watch: Watch): void {
    const id = this.#nextId
    this.#nextId += 1
    this.#open.set(id, watch)
    const { key, recursive, after } = watch
    this.#socket.send(JSON.stringify({ op: 'watch', id, key, recursive, after }))
  }

  #take(json: unknown): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return
    const message = fieldsOf(json)
    const id = Number(message['id'])
    const watch = this.#open.get(id)
    if (watch === undefined) throw new Error(`message of no open watch: ${JSON.stringify(json)}`)
    switch (message['type']) {
      case 'started':
        return
      case 'event':
        note(watch, eventOf(message['event'], JSON.stringify(json)))
        break
      case 'progress':
        watch.after = Math.max(watch.after, Number(message['index']))
        return
      case 'overflow':
        watch.after = Number(message['index'])
        this.#open.delete(id)
        this.#start(watch)
        return
      case 'cancelled':
        this.#open.delete(id)
        if (!isAtEnd(watch)) this.#start(watch)
        return
      default:
        throw new Error(`unexpected message: ${JSON.stringify(json)}`)
    }
    this.#messagesLeft -= 1
    if ([...this.#open.values()].every(isAtEnd)) this.#socket.close()
    else if (this.#messagesLeft <= 0) this.#break()
    else if (this.#options.random.chance(0.05) && !this.#cancelled.has(id)) {
      this.#cancelled.add(id)
      this.#socket.send(JSON.stringify({ op: 'cancel', id }))
    }
  }
}

function textOf(data: WebSocket.RawData): string {
  return Array.isArray(data)
    ? Buffer.concat(data).toString()
    : Buffer.from(new Uint8Array(data)).toString()
}

/** The rule of resumable watches (kvd-watch.1), written from the specification of live v2 watches. */
export function isFor(watch: Watch, event: WireEvent): boolean {
  const { key } = event.node
  if (key === watch.key) return true
  const base = watch.key === '/' ? '' : watch.key
  if (key.startsWith(`${base}/`)) return watch.recursive && !key.slice(base.length).includes('/_')
  const removes = ['delete', 'expire'].includes(event.action)
  return removes && event.prevNode?.dir === true && watch.key.startsWith(`${key}/`)
}
