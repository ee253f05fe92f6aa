import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { headToLength, statusLine } from './answer-head.ts'
import { writeDirectly } from './direct-write.ts'
import type { BodyStream, RawRequest, Responder } from './message.ts'
import { parseHeaders, parseRequestLine, type LeanHeaders } from './lean-head.ts'

/** Heads and bodies beyond these go to node:http. */
const HEAD_BYTES_MAX = 16 * 1024
const BODY_BYTES_LEAN = 64 * 1024
/** What no request begins with, such as a TLS handshake, need not be waited for. */
const NO_REQUEST = /^[^A-Z]/
/** Bytes read ahead while an answer is being made, before the socket is paused. */
const AHEAD_BYTES_MAX = 256 * 1024
/** Answers that gather before they are written in any case. */
const OUTPUT_LENGTH_MAX = 256 * 1024

export interface LeanHost {
  route(request: RawRequest, responder: Responder): void
  /** Gives the socket to node:http; `rest` are the bytes not yet taken. */
  handOver(socket: Socket, rest: Buffer): void
  /** The Date header's line, refreshed twice a second. */
  dateLine(): string
  nowMs(): number
  /** Calls `flush` when this turn of the event loop has read all that came in. */
  flushSoon(connection: LeanConnection): void
  closed(connection: LeanConnection): void
}

/**
 * One client connection on the hot path: requests of plain shape are parsed here, answers that are
 * made in one turn leave in one write, and every unusual request takes the connection to node:http
 * for good. States:
 *
 *   reading -> answering (one request at a time) -> reading ...
 *           -> streaming (a long poll)           -> reading
 *           -> handed over | closed
 */
export class LeanConnection implements Responder {
  readonly #socket: Socket
  readonly #isSecure: boolean
  readonly #push: Socket['push']
  readonly #host: LeanHost
  #input = ''
  #output = ''
  #isAnswering = false
  #isReading = false
  #keepsAlive = true
  #isEnded = false
  #isHead = false
  #stream: LeanStream | undefined
  #block = ''
  #headers: LeanHeaders | undefined
  #isLatin1 = true
  #isFlushing = false
  /** When the first byte of an unfinished request came; 0 when none is waiting. */
  waitingSince = 0

  constructor(socket: Socket, host: LeanHost) {
    this.#socket = socket
    this.#isSecure = socket instanceof TLSSocket
    this.#push = socket.push.bind(socket)
    this.#host = host
    // What comes in need not go through the stream's buffer: that would cost as much as reading it.
    socket.push = this.#onPush
    socket.on('data', this.#onData)
    socket.on('end', this.#onEnd)
    socket.on('error', this.#onError)
    socket.on('drain', this.#onDrain)
    socket.on('close', this.#onClose)
  }

  get isIdle(): boolean {
    return !this.#isAnswering && this.#input === ''
  }

  /** Reads what the client sends; before that a socket that was accepted paused does not. */
  begin(): void {
    this.#socket.resume()
  }

  /** Answers what is under way, then closes; streams end at once. */
  drain(): void {
    this.#keepsAlive = false
    this.#stream?.end()
    if (this.isIdle) this.#finish()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** The socket's `push`: a chunk comes here straight when nothing waits before it. */
  readonly #onPush: Socket['push'] = (chunk: unknown, encoding) => {
    const { readableFlowing, readableLength } = this.#socket
    if (!(chunk instanceof Buffer) || readableFlowing !== true || readableLength > 0)
      return this.#push(chunk, encoding)
    this.#onData(chunk)
    return true
  }

  readonly #onData = (chunk: Buffer): void => {
    const text = chunk.toString('latin1')
    this.#input = this.#input === '' ? text : this.#input + text
    this.#read()
    if (this.#input.length <= AHEAD_BYTES_MAX) return
    // A paused socket does not tell when its client is gone, and a long poll may wait for ever.
    if (this.#stream === undefined) this.#socket.pause()
    else this.#socket.destroy()
  }

  /** The client sends no more: what it did send is answered all the same. */
  readonly #onEnd = (): void => {
    this.#isEnded = true
    if (this.#stream !== undefined) this.#socket.destroy()
    else if (!this.#isAnswering && !this.#isHeldUp) this.#finish()
  }

  readonly #onError = (): void => {
    this.#socket.destroy()
  }

  readonly #onDrain = (): void => {
    if (!this.#isAnswering) this.#goOn()
  }

  readonly #onClose = (): void => {
    this.#stream?.closed()
    this.#stream = undefined
    this.#host.closed(this)
  }

  /** Takes requests from the input until one has to wait. Answers of this turn leave together. */
  #read(): void {
    if (this.#isReading) return
    this.#isReading = true
    while (!this.#isAnswering && this.#keepsAlive && this.#mayAnswer() && this.#takeRequest());
    this.#isReading = false
    if (this.#isEnded && !this.#isAnswering && !this.#isHeldUp) {
      this.#finish()
      return
    }
    this.#flushSoon()
    const isWaiting = !this.#isAnswering && !this.#socket.writableNeedDrain && this.#input !== ''
    this.waitingSince = isWaiting ? this.waitingSince || this.#host.nowMs() : 0
  }

  /** Something is still to be read: the client has not taken what it was answered before. */
  get #isHeldUp(): boolean {
    return this.#input !== '' && this.#socket.writableNeedDrain
  }

  /** False while the client does not take what it was answered. */
  #mayAnswer(): boolean {
    if (this.#output.length > OUTPUT_LENGTH_MAX) this.flush()
    return !this.#socket.writableNeedDrain
  }

  /** True when a request was taken and another one may follow. */
  #takeRequest(): boolean {
    const end = this.#input.indexOf('\r\n\r\n')
    if (end === -1) {
      if (this.#input.length > HEAD_BYTES_MAX || NO_REQUEST.test(this.#input)) this.#handOver()
      return false
    }
    const lineEnd = this.#input.indexOf('\r\n')
    const line = parseRequestLine(this.#input.slice(0, lineEnd))
    const headers = end > HEAD_BYTES_MAX ? undefined : this.#readHeaders(lineEnd, end)
    if (line === undefined || headers === undefined || headers.contentLength > BODY_BYTES_LEAN) {
      this.#handOver()
      return false
    }
    const bodyEnd = end + 4 + headers.contentLength
    if (this.#input.length < bodyEnd) return false
    const body = headers.contentLength === 0 ? '' : this.#input.slice(end + 4, bodyEnd)
    this.#input = this.#input.length === bodyEnd ? '' : this.#input.slice(bodyEnd)
    if (!headers.keepsAlive) this.#keepsAlive = false
    this.#isHead = line.method === 'HEAD'
    this.#isAnswering = true
    this.#host.route(
      {
        method: line.method,
        path: line.path,
        query: line.query,
        host: headers.host,
        contentType: headers.contentType,
        authorization: headers.authorization,
        origin: headers.origin,
        body,
        isBodyTooLarge: false,
      },
      this,
    )
    return true
  }

  /** Clients send the same headers again and again: a block like the last one is not read again. */
  #readHeaders(start: number, end: number): LeanHeaders | undefined {
    const size = end - start
    if (size === this.#block.length && this.#input.startsWith(this.#block, start))
      return this.#headers
    // A slice would keep the whole chunk in memory for as long as the connection lasts.
    this.#block = Buffer.from(this.#input.slice(start, end), 'latin1').toString('latin1')
    this.#headers = parseHeaders(this.#block)
    return this.#headers
  }

  #handOver(): void {
    this.flush()
    const rest = Buffer.from(this.#input, 'latin1')
    this.#input = ''
    this.#isEnded = false
    for (const [event, listener] of [
      ['data', this.#onData],
      ['end', this.#onEnd],
      ['error', this.#onError],
      ['drain', this.#onDrain],
      ['close', this.#onClose],
    ] as const)
      this.#socket.off(event, listener)
    this.#socket.push = this.#push
    this.#host.closed(this)
    this.#host.handOver(this.#socket, rest)
  }

  reply(status: number, head: string, body: string, isAscii = false): void {
    if (head.includes('Connection: close')) this.#keepsAlive = false
    const connection = this.#keepsAlive ? '' : closeLine(head)
    if (status === 204 || status === 304) {
      this.#output += `${statusLine(status)}${head}${this.#host.dateLine()}${connection}\r\n`
    } else {
      // To count the bytes a text of many parts is put together, and for the socket once more.
      const bytes = isAscii ? body.length : Buffer.byteLength(body)
      if (bytes !== body.length) this.#isLatin1 = false
      const shown = this.#isHead ? '' : body
      const start = headToLength(status, head + connection, this.#host.dateLine())
      this.#output += `${start}${bytes}\r\n\r\n${shown}`
    }
    this.#answered()
  }

  stream(status: number, head: string): BodyStream {
    const connection = this.#keepsAlive ? '' : 'Connection: close\r\n'
    this.#output += `${statusLine(status)}${head}${this.#host.dateLine()}${connection}Transfer-Encoding: chunked\r\n\r\n`
    this.flush()
    const stream = new LeanStream(this.#socket, this.#onStreamEnd)
    this.#stream = stream
    // A check of credentials may have taken longer than the client waited.
    if (this.#socket.destroyed) stream.closed()
    // It is paused, or will be, and would not tell when its client is gone.
    else if (this.#isEnded || this.#input.length > AHEAD_BYTES_MAX) this.#socket.destroy()
    return stream
  }

  readonly #onStreamEnd = (): void => {
    this.#stream = undefined
    this.#answered()
  }

  #answered(): void {
    this.#isAnswering = false
    if (!this.#keepsAlive) {
      this.#finish()
      return
    }
    if (this.#isReading) return
    this.#flushSoon()
    this.#goOn()
  }

  /** Takes up what came in while an answer was made or the client did not read. */
  #goOn(): void {
    if (this.#input !== '' || this.#isEnded) this.#read()
    if (this.#input.length <= AHEAD_BYTES_MAX && this.#socket.isPaused()) this.#socket.resume()
  }

  /** Closes our side behind everything that was answered. */
  #finish(): void {
    this.flush()
    this.#socket.end()
  }

  /**
   * Answers of one turn leave after all of its requests were read: a client that is woken by the
   * first write would otherwise be asleep again before the next one, and waking it is what costs.
   */
  #flushSoon(): void {
    if (this.#output === '' || this.#isFlushing) return
    this.#isFlushing = true
    this.#host.flushSoon(this)
  }

  /** Writes what is waiting. */
  flush(): void {
    this.#isFlushing = false
    if (this.#output === '') return
    const text = this.#output
    const isLatin1 = this.#isLatin1
    this.#output = ''
    this.#isLatin1 = true
    if (!this.#socket.writable) return
    // One-byte text without UTF-8 in it is written as latin1, which is copied once less.
    if (isLatin1 && !this.#isSecure) writeDirectly(this.#socket, text)
    else this.#socket.write(text, isLatin1 ? 'latin1' : 'utf8')
  }
}

function closeLine(head: string): string {
  return head.includes('Connection:') ? '' : 'Connection: close\r\n'
}

const END = Buffer.from('0\r\n\r\n')

interface Encoded {
  readonly text: string
  readonly chunk: Buffer
  /** The chunk and the end of the body. */
  readonly lastChunk: Buffer
}

/** Longer ones are not kept behind their delivery. */
const TEXT_LENGTH_KEPT = 1024 * 1024
let encoded: Encoded | undefined

/** A text as a chunk. Many bodies get the same text one after the other: it is encoded once. */
function encode(text: string): Encoded {
  if (encoded?.text === text) return encoded
  const size = Buffer.byteLength(text).toString(16)
  const lastChunk = Buffer.from(`${size}\r\n${text}\r\n0\r\n\r\n`)
  const chunk = lastChunk.subarray(0, lastChunk.length - END.length)
  const made = { text, chunk, lastChunk }
  if (text.length <= TEXT_LENGTH_KEPT) encoded = made
  return made
}

/** A chunked body on a lean connection. */
class LeanStream implements BodyStream {
  readonly #socket: Socket
  readonly #ended: () => void
  #onClose: (() => void) | undefined
  #isOpen = true

  constructor(socket: Socket, ended: () => void) {
    this.#socket = socket
    this.#ended = ended
  }

  write(text: string): number {
    if (!this.#isOpen || !this.#socket.writable) return 0
    this.#socket.write(encode(text).chunk)
    return this.#socket.writableLength
  }

  end(text = ''): void {
    if (!this.#isOpen) return
    if (this.#socket.writable) this.#socket.write(text === '' ? END : encode(text).lastChunk)
    this.closed()
    this.#ended()
  }

  onClose(listener: () => void): void {
    if (this.#isOpen) this.#onClose = listener
    else listener()
  }

  /** The connection is gone or the body has ended. */
  closed(): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    this.#onClose?.()
  }
}
