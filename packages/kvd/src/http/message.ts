/** A request as it came in, whichever parser read it. Texts are latin1: one character a byte. */
export interface RawRequest {
  readonly method: string
  /** The target before `?`, still escaped. */
  readonly path: string
  /** The target after `?`, still escaped; empty when there is none. */
  readonly query: string
  /** The server's name as the client knows it; undefined in HTTP/1.0. */
  readonly host: string | undefined
  readonly contentType: string | undefined
  readonly authorization: string | undefined
  readonly origin: string | undefined
  readonly body: string
  /** The body was larger than `BODY_BYTES_MAX` and was not kept. */
  readonly isBodyTooLarge: boolean
}

/** Go reads at most this much of a form (net/http, 10 MiB). */
export const BODY_BYTES_MAX = 10 * 1024 * 1024

/** An answer that goes on: a long poll. */
export interface BodyStream {
  /** Sends text at once. Returns the bytes that the client has not taken yet. */
  write(text: string): number
  /** Ends the answer, with a last text or without. */
  end(text?: string): void
  /** Called once when the client hangs up or the body ended. */
  onClose(listener: () => void): void
}

/** Where an answer goes. `head` is header lines, each ended by CRLF, without length and date. */
export interface Responder {
  /** @param isAscii the body is known to have as many bytes as characters */
  reply(status: number, head: string, body: string, isAscii?: boolean): void
  stream(status: number, head: string): BodyStream
}

export const JSON_TYPE = 'Content-Type: application/json\r\n'
/** The member serves nobody: it holds something else than the others. Nothing of the request was carried out. */
export const DIVERGED_HEAD = 'X-Kvd-Diverged: true\r\n'
export const TEXT_TYPE = 'Content-Type: text/plain; charset=utf-8\r\n'
const NO_SNIFF = 'X-Content-Type-Options: nosniff\r\n'

/** Go's http.Error: plain text and a newline. */
export function plainError(responder: Responder, status: number, text: string, head = ''): void {
  responder.reply(status, `${head}${TEXT_TYPE}${NO_SNIFF}`, `${text}\n`)
}

export function notFound(responder: Responder): void {
  plainError(responder, 404, '404 page not found')
}

/** 405 with the allowed methods; true when the method is one of them. */
export function allowMethods(
  request: RawRequest,
  responder: Responder,
  methods: readonly string[],
  head = '',
): boolean {
  if (methods.includes(request.method)) return true
  plainError(responder, 405, 'Method Not Allowed', `${head}Allow: ${methods.join(',')}\r\n`)
  return false
}
