import type { IncomingMessage } from 'node:http'
import { WebSocket } from 'ws'
import type { DialOptions } from '../tls/tls-identity.ts'

export const PROTOCOL = 'kvd-raft.1'
const PATH = '/kvd/raft/v1/'
/** etcd 2.3 waits 100 ms between two tries to connect. */
const RETRY_MS_MIN = 100
const RETRY_MS_MAX = 1_000
/** Nobody has answered for so long: the connection is dead (rafthttp ConnReadTimeout). */
const DEAD_MS = 5_000
/** Of that time. */
const PING_SHARE = 0.32
/** Of what a refusal says no more is read: it may come from anybody. */
const REFUSAL_LENGTH_MAX = 200

/**
 * A mask of zeros, with which neither side touches the payload. Masks keep scripts in a browser from
 * choosing the bytes that a proxy sees (RFC 6455 10.3); no browser runs between members.
 */
function generateMask(mask: Buffer): void {
  mask.fill(0)
}

export interface LinkOptions {
  /** `ctl` carries what is small and urgent, `bulk` entries and proposals. */
  readonly kind: LinkKind
  /** Read anew for each try. */
  urls(): readonly string[]
  readonly headers: () => Record<string, string>
  /** For https URLs; asked anew for each try. Without it, Node's own CAs count. */
  readonly tls?: (() => DialOptions) | undefined
  readonly dialMs: number
  /** Milliseconds without an answer after which a connection is dead; 5,000 unless a test says otherwise. */
  readonly deadMs?: number | undefined
  /** At least 0, less than 1: members that lost each other do not all call at the same time. */
  readonly random: () => number
  opened(): void
  closed(): void
  /** The member answers, but does not let us in. */
  refused(status: number, text: string): void
  /** Why the last try to connect, or the connection, came to its end. */
  failed?(error: Error): void
}

export type LinkKind = 'ctl' | 'bulk'

/** One way to one member: dials, and dials again, until it is closed. Carries frames one way. */
export class Link {
  readonly #options: LinkOptions
  #socket: WebSocket | undefined
  #timer: NodeJS.Timeout | undefined
  #pings: NodeJS.Timeout | undefined
  #heardMs = 0
  #tries = 0
  #isClosed = false

  constructor(options: LinkOptions) {
    this.#options = options
    this.#dial()
  }

  get isOpen(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN
  }

  /** Bytes that are not yet with the system. */
  get backlog(): number {
    return this.#socket?.bufferedAmount ?? 0
  }

  /** False when there is no connection: the frame is gone. */
  send(frame: Uint8Array): boolean {
    if (!this.isOpen) return false
    this.#socket?.send(frame)
    return true
  }

  close(): void {
    this.#isClosed = true
    clearTimeout(this.#timer)
    clearInterval(this.#pings)
    this.#socket?.terminate()
  }

  #dial(): void {
    const urls = this.#options.urls()
    const url = urls[this.#tries % Math.max(1, urls.length)]
    if (url === undefined) {
      this.#retry()
      return
    }
    const socket = this.#connect(url)
    if (socket === undefined) {
      this.#retry()
      return
    }
    this.#socket = socket
    socket.on('open', () => this.#open(socket))
    socket.on('pong', () => {
      this.#heardMs = performance.now()
    })
    socket.on('unexpected-response', (_request, response) => {
      void this.#refuse(socket, response)
    })
    // `close` always follows. What a refusal was is known already.
    socket.on('error', (error) => {
      if (this.#socket === socket) this.#options.failed?.(error)
    })
    socket.on('close', () => this.#close(socket))
  }

  /** Undefined when it is no URL that can be dialled: nobody may bring a cluster down with one. */
  #connect(url: string): WebSocket | undefined {
    const { kind, headers, tls, dialMs } = this.#options
    try {
      return new WebSocket(`${url.replace(/^http/, 'ws')}${PATH}${kind}`, PROTOCOL, {
        ...tls?.(),
        headers: headers(),
        handshakeTimeout: dialMs,
        perMessageDeflate: false,
        maxPayload: 1024,
        generateMask,
      })
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error
      this.#options.failed?.(error)
      return undefined
    }
  }

  #open(socket: WebSocket): void {
    this.#tries = 0
    this.#heardMs = performance.now()
    const deadMs = this.#options.deadMs ?? DEAD_MS
    this.#pings = setInterval(() => {
      if (performance.now() - this.#heardMs > deadMs) socket.terminate()
      else socket.ping()
    }, deadMs * PING_SHARE)
    this.#options.opened()
  }

  async #refuse(socket: WebSocket, response: IncomingMessage): Promise<void> {
    const text = await beginningOf(response, this.#options.dialMs)
    if (!this.#isClosed) this.#options.refused(response.statusCode ?? 0, text)
    socket.terminate()
    if (this.#socket === socket) this.#close(socket)
  }

  #close(socket: WebSocket): void {
    if (this.#socket !== socket) return
    this.#socket = undefined
    clearInterval(this.#pings)
    this.#options.closed()
    this.#retry()
  }

  #retry(): void {
    if (this.#isClosed) return
    const delay = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(this.#tries, 8))
    this.#tries += 1
    this.#timer = setTimeout(() => this.#dial(), delay * (0.5 + this.#options.random() / 2))
  }
}

/** What it says first, as far as it comes in time. */
async function beginningOf(response: IncomingMessage, ms: number): Promise<string> {
  const timer = setTimeout(() => response.destroy(), ms)
  let text = ''
  try {
    for await (const chunk of response.setEncoding('utf8')) {
      text += String(chunk)
      if (text.length >= REFUSAL_LENGTH_MAX) break
    }
  } catch {
    // The status says enough.
  } finally {
    clearTimeout(timer)
  }
  return text.slice(0, REFUSAL_LENGTH_MAX).trim()
}
