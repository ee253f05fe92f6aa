import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import type { MemberId, Message } from '../raft/types.ts'
import { DATA_BYTES_MAX } from '../storage/entry-codec.ts'
import { CodecError } from '../store/byte-reader.ts'
import {
  judgeGreeting,
  readGreeting,
  type Greeting,
  type GreetingRefusal,
  type Host,
} from './handshake.ts'
import { PROTOCOL } from './link.ts'
import { readMessages } from './message-codec.ts'

const PATH = /^\/kvd\/raft\/v1\/(ctl|bulk)$/
/** A frame that was all but full, and the longest entry behind it: an entry is never cut. */
const FRAME_BYTES_MAX = DATA_BYTES_MAX + 2 * 1024 * 1024
/** A peer pings every 1.6 s: silence for so long means that it is gone (rafthttp ConnReadTimeout). */
const DEAD_MS = 5_000
/** In that time: a sender must hear of what arrives long before it gives up. */
const SWEEPS = 4

/** An open connection. */
interface Way {
  readonly from: MemberId
  /** Of it, whatever came. */
  readonly bytesRead: () => number
  /** As the last sweep has found it. */
  sweptBytes: number
  /** When a sweep has last found more. */
  heardMs: number
  pingedMs: number
}

export interface AcceptorOptions {
  readonly host: Host
  /** Messages of one frame, in order. */
  readonly received: (messages: readonly Message[]) => void
  /** A member has started anew since it was last heard of. */
  restarted(id: MemberId, incarnation: number): void
  /** The way of a member's urgent messages has ended. */
  gone(id: MemberId): void
  refused(greeting: Greeting | undefined, refusal: GreetingRefusal): void
  /** What came from a member was nothing that a member sends. */
  readonly broken: (id: MemberId, problem: string) => void
  /** Milliseconds of silence; 5,000 unless a test says otherwise. */
  readonly deadMs?: number
}

/** The receiving end of other members' ways to this one. */
export class Acceptor {
  readonly #options: AcceptorOptions
  readonly #server = new WebSocketServer({
    noServer: true,
    maxPayload: FRAME_BYTES_MAX,
    perMessageDeflate: false,
    handleProtocols: () => PROTOCOL,
  })
  readonly #incarnations = new Map<MemberId, number>()
  readonly #sockets = new Map<WebSocket, Way>()
  /** Of each member, the way that its urgent messages come. */
  readonly #urgent = new Map<MemberId, WebSocket>()
  readonly #timer: NodeJS.Timeout
  #sweptMs = performance.now()

  constructor(options: AcceptorOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#sweep(), this.#deadMs / SWEEPS)
  }

  get #deadMs(): number {
    return this.#options.deadMs ?? DEAD_MS
  }

  incarnationOf(id: MemberId): number {
    return this.#incarnations.get(id) ?? 0
  }

  /** Takes an upgrade request of the peer port; false when the path is none of ours. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    const [, kind] = PATH.exec(request.url ?? '') ?? []
    if (kind === undefined) return false
    socket.on('error', () => socket.destroy())
    const greeting = readGreeting(request.headers)
    const refusal = judgeGreeting(greeting, this.#options.host)
    if (refusal !== undefined || greeting === undefined) {
      this.#refuse(socket, greeting, refusal ?? { status: 400, text: 'no greeting' })
      return true
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) =>
      this.#accept(webSocket, { greeting, request, isUrgent: kind === 'ctl' }),
    )
    return true
  }

  #refuse(socket: Duplex, greeting: Greeting | undefined, refusal: GreetingRefusal): void {
    this.#options.refused(greeting, refusal)
    const { status, text } = refusal
    const body = `${text}\n`
    // The server leaves our half open for answers: without this a stranger would keep it for ever.
    socket.once('finish', () => socket.destroy())
    socket.end(
      `HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    )
  }

  #accept(
    socket: WebSocket,
    {
      greeting,
      request,
      isUrgent,
    }: { greeting: Greeting; request: IncomingMessage; isUrgent: boolean },
  ): void {
    const { from, incarnation } = greeting
    if (incarnation > this.incarnationOf(from)) {
      this.#incarnations.set(from, incarnation)
      this.#options.restarted(from, incarnation)
    }
    const bytesRead = (): number => request.socket.bytesRead
    const nowMs = performance.now()
    const way = { from, bytesRead, sweptBytes: bytesRead(), heardMs: nowMs, pingedMs: nowMs }
    this.#sockets.set(socket, way)
    socket.on('ping', () => {
      way.pingedMs = performance.now()
    })
    socket.on('message', (data, isBinary) => {
      if (!isBinary || !Buffer.isBuffer(data)) socket.close(1003, 'binary frames only')
      // An older life of the member may not have noticed yet that it is over.
      else if (incarnation < this.incarnationOf(from)) socket.close(1008, 'stale incarnation')
      else this.#take(socket, from, data)
    })
    socket.on('error', (error) => {
      this.#options.broken(from, error.message)
      socket.terminate()
    })
    socket.on('close', () => {
      this.#sockets.delete(socket)
      // One that dialled anew is still there.
      if (isUrgent && this.#urgent.get(from) === socket) {
        this.#urgent.delete(from)
        this.#options.gone(from)
      }
    })
    if (isUrgent) this.#urgent.set(from, socket)
  }

  #take(socket: WebSocket, from: MemberId, data: Buffer): void {
    const { host, received, broken } = this.#options
    let messages: readonly Message[]
    try {
      messages = readMessages(data)
    } catch (error) {
      if (!(error instanceof CodecError)) throw error
      broken(from, error.message)
      socket.close(1002, 'bad frame')
      return
    }
    if (messages.some((message) => message.from !== from || message.to !== host.id)) {
      broken(from, 'a message in the name of another member')
      socket.close(1002, 'bad frame')
      return
    }
    received(messages)
  }

  /**
   * A frame may take longer than silence may, where the network is slow, and the sender's pings wait behind
   * what it has sent: it is told that something arrives, or it would end the way and begin anew.
   */
  #sweep(): void {
    const nowMs = performance.now()
    for (const [socket, way] of this.#sockets) {
      const bytes = way.bytesRead()
      if (bytes > way.sweptBytes) {
        way.heardMs = nowMs
        if (way.pingedMs < this.#sweptMs) socket.pong()
      } else if (way.heardMs < nowMs - this.#deadMs) socket.terminate()
      way.sweptBytes = bytes
    }
    this.#sweptMs = nowMs
  }

  /** Members were removed: they find out when they are not let in again. */
  follow(): void {
    const { host } = this.#options
    for (const [socket, { from }] of this.#sockets)
      if (host.isRemoved(from)) socket.close(1008, 'removed member')
  }

  close(): void {
    clearInterval(this.#timer)
    for (const socket of this.#sockets.keys()) socket.terminate()
    this.#server.close()
  }
}
