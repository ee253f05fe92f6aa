import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'

/** One HTTP answer as it stood on the wire. */
export interface WireAnswer {
  readonly status: number
  readonly head: string
  readonly body: string
}

const patienceMs = 60_000

/** A bare connection to a store: sends any bytes, keeps all that comes back. */
export class Wire {
  readonly #socket: Socket
  readonly #changed = new EventTarget()
  #text = ''
  #isEnded = false
  #isClosed = false

  private constructor(socket: Socket) {
    this.#socket = socket
    const tell = (): boolean => this.#changed.dispatchEvent(new Event('change'))
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1')
      tell()
    })
    socket.on('end', () => {
      this.#isEnded = true
      tell()
    })
    socket.on('error', () => undefined) // `close` follows
    socket.on('close', () => {
      this.#isClosed = true
      tell()
    })
  }

  /** Connects; the connection stays open on our side when the store ends its own. */
  static async open(port: number): Promise<Wire> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
    const wire = new Wire(socket)
    await once(socket, 'connect')
    return wire
  }

  /** Everything received so far, one character a byte. */
  get text(): string {
    return this.#text
  }

  /** The store has ended its side, or the connection is gone. */
  get isEnded(): boolean {
    return this.#isEnded || this.#isClosed
  }

  /** Resolves when the kernel has the bytes, or when the connection is gone. */
  async send(bytes: string | Uint8Array): Promise<void> {
    if (this.#isClosed) return
    const chunk = typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes
    await new Promise<void>((resolve) => {
      this.#socket.once('close', () => resolve())
      this.#socket.write(chunk, () => resolve())
    })
  }

  /** Sends `bytes` again and again, as fast as the store takes them, until `total` are gone or it hangs up. */
  async pour(bytes: Uint8Array, total: number): Promise<number> {
    let sent = 0
    this.#socket.setMaxListeners(0)
    while (sent < total && !this.isEnded) {
      await this.send(bytes)
      sent += bytes.length
      // Writes that the kernel takes at once never reach the loop, where the end would be noticed.
      await turn()
    }
    return sent
  }

  /** Writes without waiting. */
  push(bytes: string): void {
    this.#socket.write(bytes, 'latin1')
  }

  /** Bytes that the kernel has not taken yet, because the store does not read. */
  get backlog(): number {
    return this.#socket.writableLength
  }

  /** Ends our side only. */
  endOurSide(): void {
    this.#socket.end()
  }

  /** Stops reading: what the store sends piles up. */
  stopReading(): void {
    this.#socket.pause()
  }

  /** Reads again. */
  readOn(): void {
    this.#socket.resume()
  }

  /** Cuts the connection. */
  cut(): void {
    this.#socket.destroy()
  }

  /** Waits until `isDone`, looked at whenever something happens on the connection. */
  async until(isDone: (wire: Wire) => boolean, what: string): Promise<void> {
    const deadline = AbortSignal.timeout(patienceMs)
    while (!isDone(this)) {
      try {
        await once(this.#changed, 'change', { signal: deadline })
      } catch (error) {
        const seen = JSON.stringify(this.#text.slice(0, 300))
        throw new Error(`waited in vain for ${what}; received ${seen}`, { cause: error })
      }
    }
  }

  /** Waits for so many whole answers. A connection that ends before is an error. */
  async answers(count: number): Promise<WireAnswer[]> {
    let found: WireAnswer[] = []
    await this.until(() => {
      found = parseAnswers(this.#text)
      return found.length >= count || this.isEnded
    }, `${count} answers`)
    if (found.length < count)
      throw new Error(
        `${found.length} answers of ${count}, then the connection ended: ${JSON.stringify(this.#text.slice(-300))}`,
      )
    return found
  }

  /** Waits until the store ends the connection; gives the answers that came before. */
  async untilEnd(): Promise<WireAnswer[]> {
    await this.until(() => this.isEnded, 'the end of the connection')
    this.cut()
    return parseAnswers(this.#text)
  }
}

/** Splits what a connection received into whole answers; an unfinished one at the end is left out. */
export function parseAnswers(text: string): WireAnswer[] {
  const answers: WireAnswer[] = []
  for (let at = 0; ;) {
    const headEnd = text.indexOf('\r\n\r\n', at)
    if (headEnd === -1) return answers
    const head = text.slice(at, headEnd)
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1])
    if (Number.isNaN(status))
      throw new Error(`not an answer: ${JSON.stringify(head.slice(0, 200))}`)
    const start = headEnd + 4
    const framed = /\r\nTransfer-Encoding: chunked/i.test(head)
      ? unchunk(text, start)
      : plain(text, start, status, head)
    if (framed === undefined) return answers
    at = framed.end
    // 100 Continue announces an answer and is none.
    if (status !== 100) answers.push({ status, head, body: framed.body })
  }
}

interface Framed {
  readonly body: string
  readonly end: number
}

function plain(text: string, start: number, status: number, head: string): Framed | undefined {
  const length = status === 100 ? 0 : Number(/\r\nContent-Length: (\d+)/i.exec(head)?.[1] ?? 0)
  const end = start + length
  return end > text.length ? undefined : { body: text.slice(start, end), end }
}

function unchunk(text: string, start: number): Framed | undefined {
  let body = ''
  for (let at = start; ;) {
    const lineEnd = text.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(text.slice(at, lineEnd), 16)
    const end = lineEnd + 2 + size + 2
    if (end > text.length) return undefined
    if (size === 0) return { body, end }
    body += text.slice(lineEnd + 2, end - 2)
    at = end
  }
}
