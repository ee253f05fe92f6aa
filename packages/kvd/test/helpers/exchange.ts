import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as turn } from 'node:timers/promises'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'

/** An answer as it stood on the wire; header names in lower case, the body as latin1. */
export interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** What to send: a request's text, and whether its answer has a body (HEAD has none). */
export interface Sent {
  readonly text: string
  readonly isHead?: boolean
}

/** Builds a request. A body gets its length, unless the headers say how it is framed. */
export function requestText(
  method: string,
  target: string,
  headers: readonly string[] = [],
  body = '',
): string {
  const isFramed = headers.some((line) => /^(content-length|transfer-encoding):/i.test(line))
  const length = body === '' || isFramed ? [] : [`Content-Length: ${body.length}`]
  return [`${method} ${target} HTTP/1.1`, 'Host: kvd', ...headers, ...length, '', body].join('\r\n')
}

/** The type of a form. */
export const FORM = 'Content-Type: application/x-www-form-urlencoded'
/** Makes a request unusual without changing what it asks for: node:http takes the connection. */
export const UNUSUAL = 'Connection: keep-alive, x-none'

export function get(target: string, ...headers: string[]): Sent {
  return { text: requestText('GET', target, headers) }
}

/** A PUT with a form. */
export function put(target: string, body: string, ...headers: string[]): Sent {
  return { text: requestText('PUT', target, [FORM, ...headers], body) }
}

/** The first value in an answer. */
export function valueOf(reply: Reply | undefined): string | undefined {
  return /"value":"([^"]*)"/.exec(reply?.body ?? '')?.[1]
}

/** What a client can tell two answers apart by; the date and who closes are left out. */
export function visible({ status, headers, body }: Reply): object {
  const { date, connection, 'keep-alive': keepAlive, ...rest } = headers
  assert.ok(date === undefined || /^\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT$/.test(date), date)
  assert.ok(keepAlive === undefined || connection !== 'close')
  return { status, headers: rest, body }
}

/** Where to connect on this machine: a port, or one with TLS and what its client shows and trusts. */
export type Place = number | { readonly port: number; readonly tls: ConnectionOptions }

/** A connection that keeps all it receives. */
export class Exchange {
  readonly socket: Socket
  #text = ''
  #isOver = false
  readonly #changed = new EventTarget()

  private constructor(socket: Socket) {
    this.socket = socket
    const tell = (): boolean => this.#changed.dispatchEvent(new Event('change'))
    socket.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('latin1')
      tell()
    })
    const over = (): void => {
      this.#isOver = true
      tell()
    }
    socket.on('end', over)
    socket.on('close', over)
    socket.on('error', () => undefined) // `close` follows
  }

  static async open(place: Place): Promise<Exchange> {
    const isTls = typeof place === 'object'
    const port = isTls ? place.port : place
    const options = { port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true }
    const socket = isTls ? connectTls({ ...options, ...place.tls }) : connect(options)
    const opened = new Exchange(socket)
    await once(socket, isTls ? 'secureConnect' : 'connect')
    return opened
  }

  get text(): string {
    return this.#text
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Writes the text, cut at these places, each piece in a turn of its own. */
  async send(text: string, cuts: readonly number[] = []): Promise<void> {
    let from = 0
    for (const at of [...cuts.toSorted((left, right) => left - right), text.length]) {
      if (at > from) this.socket.write(text.slice(from, at), 'latin1')
      from = Math.max(from, at)
      await turn()
    }
  }

  /** Waits for a condition; tap's timeout ends a wait in vain. */
  async until(isDone: () => boolean): Promise<void> {
    while (!isDone()) await once(this.#changed, 'change')
  }

  /** The answers to these requests, in order: all of them, or fewer when the connection ends. */
  async replies(sent: readonly Sent[]): Promise<Reply[]> {
    let found = parseReplies(this.#text, sent)
    await this.until(() => {
      found = parseReplies(this.#text, sent)
      return found.length >= sent.length || this.#isOver
    })
    return found
  }

  async untilOver(): Promise<string> {
    await this.until(() => this.#isOver)
    this.socket.destroy()
    return this.#text
  }
}

/** Sends the requests and gives their answers; the connection is closed then. */
export async function exchange(
  place: Place,
  sent: readonly Sent[],
  cuts: readonly number[] = [],
): Promise<Reply[]> {
  const connection = await Exchange.open(place)
  await connection.send(sent.map(({ text }) => text).join(''), cuts)
  const replies = await connection.replies(sent)
  connection.socket.destroy()
  return replies
}

function parseReplies(text: string, sent: readonly Sent[]): Reply[] {
  const replies: Reply[] = []
  let at = 0
  for (const { isHead = false } of sent) {
    const found = parseReply(text, at, isHead)
    if (found === undefined) break
    replies.push(found.reply)
    at = found.end
  }
  return replies
}

function parseReply(
  text: string,
  start: number,
  isHead: boolean,
): { reply: Reply; end: number } | undefined {
  const headEnd = text.indexOf('\r\n\r\n', start)
  if (headEnd === -1) return undefined
  const [first = '', ...lines] = text.slice(start, headEnd).split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1])
  if (Number.isNaN(status)) throw new Error(`no answer: ${JSON.stringify(text.slice(start))}`)
  // 100 Continue announces an answer and is none.
  if (status === 100) return parseReply(text, headEnd + 4, isHead)
  const headers = Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  )
  const from = headEnd + 4
  const framed =
    isHead || status === 204
      ? { body: '', end: from }
      : headers['transfer-encoding'] === 'chunked'
        ? unchunk(text, from)
        : plainBody(text, from, Number(headers['content-length'] ?? 0))
  return framed && { reply: { status, headers, body: framed.body }, end: framed.end }
}

interface Framed {
  readonly body: string
  readonly end: number
}

function plainBody(text: string, from: number, length: number): Framed | undefined {
  const end = from + length
  return end > text.length ? undefined : { body: text.slice(from, end), end }
}

function unchunk(text: string, from: number): Framed | undefined {
  let body = ''
  for (let at = from; ;) {
    const lineEnd = text.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(text.slice(at, lineEnd), 16)
    const end = lineEnd + 4 + size
    if (end > text.length) return undefined
    if (size === 0) return { body, end }
    body += text.slice(lineEnd + 2, end - 2)
    at = end
  }
}
