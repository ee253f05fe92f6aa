import type { WebSocket } from 'ws'
import { errorCode, TransportError } from '../errors.ts'
import { asError, tlsAgentOptions } from '../http.ts'
import type { TlsOptions } from '../types.ts'
import { cancelFrame, parseFrame, watchFrame } from './frames.ts'
import type { Frame } from './frames.ts'
import { Mailbox } from './mailbox.ts'
import type { Session, SessionItem, Target } from './session.ts'

export interface SocketOptions {
  readonly tls: TlsOptions
  readonly authorization: string | undefined
  readonly handshakeTimeoutMs: number
  readonly frameBytesMax: number
  /** Between two pings; a server that was silent from one to the next is taken as gone. */
  readonly pingMs: number
}

/** What may wait for a slow reader; beyond it the watch is ended and asked for again later. */
const WAITING_MAX = 1000
const WAITING_BYTES_MAX = 16 * 1024 * 1024
const PROTOCOL = 'kvd-watch.1'

type Delivery = Frame | { readonly type: 'closed'; readonly error: Error }
type Reader = Mailbox<Delivery>

/** All watches of a client on one server, over one connection, which closes with the last of them. */
export class WatchConnection {
  readonly #socket: WebSocket
  readonly #readers = new Map<number, Reader>()
  readonly #pinger: NodeJS.Timeout
  #lastId = 0
  #isAlive = true
  #isLost = false

  constructor(socket: WebSocket, pingMs: number) {
    this.#socket = socket
    // Anything but a text frame is malformed, as the empty text is.
    socket.on('message', (data, isBinary) =>
      this.#read(Buffer.isBuffer(data) && !isBinary ? data.toString() : ''),
    )
    socket.on('pong', () => (this.#isAlive = true))
    socket.on('error', (error) => this.#lose(error))
    socket.on('close', (code) => this.#lose(new Error(`client: the watch was closed (${code})`)))
    this.#pinger = setInterval(() => this.#ping(), pingMs)
  }

  get isOpen(): boolean {
    return this.#socket.readyState === this.#socket.OPEN
  }

  /** The server or the network ended it, with watches still on it. */
  get isLost(): boolean {
    return this.#isLost
  }

  close(): void {
    this.#lose(new Error('client: closed'))
    this.#socket.terminate()
  }

  /** Ends the connection unless there is a watch on it. */
  closeUnused(): void {
    if (this.#readers.size > 0) return
    clearInterval(this.#pinger)
    this.#socket.close(1000)
  }

  /** One watch. Ends or throws with the connection; throws the KvError of a refusal. */
  async *session(target: Target, signal: AbortSignal): Session {
    signal.throwIfAborted()
    const id = ++this.#lastId
    const reader: Reader = new Mailbox()
    const onAbort = (): void => reader.push({ type: 'closed', error: asError(signal.reason) })
    signal.addEventListener('abort', onAbort)
    this.#readers.set(id, reader)
    this.#socket.send(watchFrame(id, target))
    try {
      for (;;) {
        const delivery = await reader.next()
        if (signal.aborted) throw asError(signal.reason)
        if (delivery.type === 'refused' || delivery.type === 'closed') throw delivery.error
        const item = itemOf(delivery, target)
        if (item !== undefined) yield item
        if (delivery.type === 'overflow' || delivery.type === 'cancelled') return
      }
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#remove(id, true)
    }
  }

  #read(data: string): void {
    this.#isAlive = true
    let frame: Frame | undefined
    try {
      frame = parseFrame(data)
    } catch (error) {
      this.#lose(asError(error))
      this.#socket.terminate()
      return
    }
    const reader = frame === undefined ? undefined : this.#readers.get(frame.id)
    if (frame === undefined || reader === undefined) return
    reader.push(frame, data.length)
    if (ENDINGS.has(frame.type)) this.#remove(frame.id, false)
    else if (reader.count >= WAITING_MAX || reader.bytes >= WAITING_BYTES_MAX) {
      // The reader takes what is here and then asks again from where it is.
      reader.push({ type: 'cancelled', id: frame.id })
      this.#remove(frame.id, true)
    }
  }

  #remove(id: number, tell: boolean): void {
    if (!this.#readers.delete(id)) return
    if (tell && this.isOpen) this.#socket.send(cancelFrame(id))
    this.closeUnused()
  }

  #ping(): void {
    if (!this.#isAlive) this.#socket.terminate()
    this.#isAlive = false
    if (this.isOpen) this.#socket.ping()
  }

  #lose(error: Error): void {
    clearInterval(this.#pinger)
    const readers = [...this.#readers.values()]
    if (readers.length > 0) this.#isLost = true
    this.#readers.clear()
    for (const reader of readers) reader.push({ type: 'closed', error })
  }
}

/** Frames after which the server knows the watch no more. */
const ENDINGS: ReadonlySet<Frame['type']> = new Set(['refused', 'overflow', 'cancelled'])

function itemOf(frame: Frame, target: Target): SessionItem | undefined {
  switch (frame.type) {
    case 'event':
      return { type: 'event', response: frame.response }
    case 'progress':
    case 'overflow':
      return { type: 'progress', index: frame.index }
    case 'started':
      // With `after` the events up to this index are still to come.
      return target.after === undefined ? { type: 'progress', index: frame.index } : undefined
    case 'refused':
    case 'cancelled':
      return undefined
  }
}

/**
 * Connects to a member; undefined when it answers but knows no such watch (a real etcd: 404).
 * Rejects with a TransportError when it cannot be reached or answers 5xx.
 */
export async function connectWatch(
  endpoint: string,
  options: SocketOptions,
): Promise<WatchConnection | undefined> {
  const { WebSocket: Socket } = await import('ws')
  const url = `${endpoint.replace(/^http/, 'ws').replace(/\/$/, '')}/kvd/v1/watch`
  return new Promise((resolve, reject) => {
    const socket = new Socket(url, PROTOCOL, {
      ...tlsAgentOptions(options.tls),
      headers: options.authorization === undefined ? {} : { Authorization: options.authorization },
      handshakeTimeout: options.handshakeTimeoutMs,
      maxPayload: options.frameBytesMax,
      perMessageDeflate: false,
    })
    const fail = (error: Error): void =>
      reject(new TransportError(error.message, errorCode(error), true, error))
    socket.on('error', fail)
    socket.once('unexpected-response', (request, answer) => {
      answer.resume()
      request.destroy()
      const { statusCode: status = 0 } = answer
      if (status < 500) resolve(undefined)
      else fail(new Error(`client: ${url} answered ${status}`))
    })
    socket.once('open', () => resolve(new WatchConnection(socket, options.pingMs)))
  })
}
