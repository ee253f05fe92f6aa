import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import { messageOf, refusal, type Refusal } from '../store/errors.ts'
import type { StoreEvent } from '../store/event.ts'
import type { Watcher } from '../store/watcher-hub.ts'
import type { HttpContext, Verdict } from './context.ts'
import { cleanKey } from './escape.ts'
import { DIVERGED_HEAD, type RawRequest } from './message.ts'
import { unservedCause } from './unserved.ts'
import { parseWatchMessage, WATCH_PATH, type WatchMessage } from './watch-message.ts'

const WATCH_PROTOCOL = 'kvd-watch.1'

const FRAME_BYTES_MAX = 1 << 20
const WATCHES_MAX = 10_000
const PROGRESS_MS = 10_000
const GOODBYE_MS = 1_000

/** What a client asks for, as far as it is checked. */
interface WatchWanted {
  readonly id: number
  readonly key: string
  /** The key as it was sent, with the final slash that it may have: what rights are about. */
  readonly path: string
  readonly recursive: boolean
  readonly after: number | undefined
}

/** One watch of a connection. */
interface OpenWatch {
  readonly watcher: Watcher
  /** Everything that matches up to here was sent. */
  sentIndex: number
  /** Ends the guard over its rights. */
  unguard: () => void
}

/**
 * Serves kvd-watch.1: any number of watches over one WebSocket, each resumable by index, each event
 * exactly once and in order (docs/watch-protocol.md). One timer serves all connections.
 */
export class WatchSockets {
  readonly #context: HttpContext
  readonly #server: WebSocketServer
  readonly #connections = new Set<WatchConnection>()
  readonly #timer: NodeJS.Timeout

  constructor(context: HttpContext) {
    this.#context = context
    this.#server = new WebSocketServer({
      noServer: true,
      perMessageDeflate: false,
      maxPayload: FRAME_BYTES_MAX,
      handleProtocols: (offered) => (offered.has(WATCH_PROTOCOL) ? WATCH_PROTOCOL : false),
    })
    this.#timer = setInterval(() => {
      for (const connection of this.#connections) connection.progress()
    }, PROGRESS_MS)
    this.#timer.unref()
  }

  /** Takes over an upgrade request of node:http; anything but the watch path is refused. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy())
    if (unservedCause(this.#context.replica) !== undefined) {
      socket.end(
        `HTTP/1.1 503 Service Unavailable\r\n${DIVERGED_HEAD}Connection: close\r\nContent-Length: 0\r\n\r\n`,
      )
      return
    }
    const [path] = (request.url ?? '').split('?')
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/\s*,\s*/)
    if (path !== WATCH_PATH || !offered.includes(WATCH_PROTOCOL)) {
      const status = path === WATCH_PATH ? '400 Bad Request' : '404 Not Found'
      const text =
        path === WATCH_PATH ? `the subprotocol must be ${WATCH_PROTOCOL}\n` : '404 page not found\n'
      socket.end(
        `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${text.length}\r\n\r\n${text}`,
      )
      return
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      const connection = new WatchConnection(this.#context, webSocket, request)
      this.#connections.add(connection)
      webSocket.on('close', () => this.#connections.delete(connection))
    })
  }

  /** Ends all connections that there are. */
  hangUp(): void {
    for (const connection of this.#connections) connection.close()
  }

  /** Tells every client to resume elsewhere. */
  close(): void {
    clearInterval(this.#timer)
    this.hangUp()
    this.#server.close()
  }
}

class WatchConnection {
  readonly #context: HttpContext
  readonly #socket: WebSocket
  readonly #request: RawRequest
  readonly #watches = new Map<number, OpenWatch>()
  /** Watches that wait for their credentials to be checked. */
  readonly #unchecked = new Map<number, WatchWanted>()

  constructor(context: HttpContext, socket: WebSocket, request: IncomingMessage) {
    this.#context = context
    this.#socket = socket
    this.#request = asRawRequest(request)
    socket.on('message', (data, isBinary) => {
      if (isBinary || !Buffer.isBuffer(data)) socket.close(1008, 'text frames only')
      else this.#take(parseWatchMessage(data.toString('utf8')))
    })
    socket.on('close', () => this.#removeAll())
    socket.on('error', () => socket.terminate())
  }

  close(): void {
    this.#socket.close(1001, 'the server stops')
    // A client that does not answer the goodbye is not waited for.
    setTimeout(() => this.#socket.terminate(), GOODBYE_MS).unref()
  }

  /** Tells quiet watches how far they are, so that a reconnect resumes inside the history. */
  progress(): void {
    const { index } = this.#context.store
    for (const [id, watch] of this.#watches) {
      if (watch.sentIndex >= index) continue
      watch.sentIndex = index
      this.#send({ id, type: 'progress', index })
    }
  }

  #take(message: WatchMessage): void {
    switch (message.op) {
      case 'watch':
        this.#watch(message)
        break
      case 'cancel':
        this.#unchecked.delete(message.id)
        this.#remove(message.id)
        this.#send({ id: message.id, type: 'cancelled' })
        break
      case 'invalid':
        this.#refuse(message.id, refusal(209, message.problem, 0))
        break
    }
  }

  #watch(message: Extract<WatchMessage, { op: 'watch' }>): void {
    const { id, recursive, after } = message
    const count = this.#watches.size + this.#unchecked.size
    if (this.#watches.has(id) || this.#unchecked.has(id))
      this.#refuse(id, refusal(209, `watch ${id} is open already`, 0))
    else if (count >= WATCHES_MAX)
      this.#refuse(id, refusal(209, `more than ${WATCHES_MAX} watches on one connection`, 0))
    else {
      const key = cleanKey(message.key)
      const path = key !== '/' && message.key.endsWith('/') ? `${key}/` : key
      this.#check({ id, key, path, recursive, after })
    }
  }

  #check(wanted: WatchWanted): void {
    const gate = this.#context.gate()
    const access = { write: false, recursive: wanted.recursive }
    const verdict = gate?.mayAccess(this.#request, wanted.path, access) ?? 'allowed'
    if (typeof verdict === 'string') {
      this.#decide(wanted, verdict)
      return
    }
    this.#unchecked.set(wanted.id, wanted)
    void this.#decideLate(wanted, verdict)
  }

  async #decideLate(wanted: WatchWanted, verdict: Promise<Verdict>): Promise<void> {
    const late = await verdict
    // Unless it was cancelled meanwhile, or the client is gone.
    if (this.#unchecked.get(wanted.id) === wanted) this.#decide(wanted, late)
  }

  #decide(wanted: WatchWanted, verdict: Verdict): void {
    this.#unchecked.delete(wanted.id)
    if (verdict === 'allowed') this.#start(wanted)
    else if (verdict === 'refused')
      this.#refuse(wanted.id, refusal(110, 'Insufficient credentials', 0))
    else this.#refuse(wanted.id, refusal(300, 'etcdserver: too many requests', 0))
  }

  #start({ id, key, path, recursive, after }: WatchWanted): void {
    const { store } = this.#context
    const from = (after ?? store.index) + 1
    const gap = from > store.index ? undefined : store.history.check(from, store.index)
    const oldest = store.history.first
    if (gap !== undefined) {
      const { code: errorCode, cause, index } = gap
      const text = { errorCode, message: messageOf(errorCode), cause, index, oldest }
      this.#send({ id, type: 'gone', ...text })
      return
    }
    this.#send({ id, type: 'started', index: store.index, oldest })
    const watch: OpenWatch = {
      sentIndex: from - 1,
      unguard: this.#context.guardWatch({
        request: this.#request,
        path,
        recursive,
        end: () => {
          this.#remove(id)
          this.#refuse(id, refusal(110, 'Insufficient credentials', 0))
        },
      }),
      watcher: {
        key,
        recursive,
        since: Math.max(from, store.index + 1),
        mode: 'resumable',
        deliver: (event) => this.#deliver(id, watch, event),
        lost: () => this.#overflow(id, watch),
      },
    }
    this.#watches.set(id, watch)
    store.watchers.add(watch.watcher)
    for (const event of store.history.replay(key, recursive, from)) {
      if (!this.#watches.has(id)) return
      this.#deliver(id, watch, event)
    }
  }

  #deliver(id: number, watch: OpenWatch, event: StoreEvent): void {
    this.#write(`{"id":${id},"type":"event","event":${event.json}}`)
    watch.sentIndex = event.index
    if (this.#socket.bufferedAmount <= this.#context.watchBytesMax) return
    this.#overflow(id, watch)
  }

  #overflow(id: number, watch: OpenWatch): void {
    this.#remove(id)
    this.#send({ id, type: 'overflow', index: watch.sentIndex })
  }

  #refuse(id: number, problem: Refusal): void {
    const { code: errorCode, cause } = problem
    this.#send({ id, type: 'error', errorCode, message: messageOf(errorCode), cause })
  }

  #send(message: object): void {
    this.#write(JSON.stringify(message))
  }

  /** A client that does not read what it is told is not heard either. */
  #write(text: string): void {
    this.#socket.send(text, this.#written)
    if (this.#socket.bufferedAmount > this.#context.watchBytesMax) this.#socket.pause()
  }

  readonly #written = (): void => {
    if (this.#socket.isPaused && this.#socket.bufferedAmount <= this.#context.watchBytesMax / 2)
      this.#socket.resume()
  }

  #remove(id: number): void {
    const watch = this.#watches.get(id)
    if (watch === undefined) return
    this.#watches.delete(id)
    this.#context.store.watchers.remove(watch.watcher)
    watch.unguard()
  }

  #removeAll(): void {
    this.#unchecked.clear()
    for (const id of this.#watches.keys()) this.#remove(id)
  }
}

function asRawRequest(request: IncomingMessage): RawRequest {
  return {
    method: 'GET',
    path: WATCH_PATH,
    query: '',
    host: request.headers.host,
    contentType: undefined,
    authorization: request.headers.authorization,
    origin: request.headers.origin,
    body: '',
    isBodyTooLarge: false,
  }
}
