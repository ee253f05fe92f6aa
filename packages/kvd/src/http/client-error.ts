import type { Duplex } from 'node:stream'

const BAD_REQUEST = '400 Bad Request'
const TIMEOUT = 'ERR_HTTP_REQUEST_TIMEOUT'
/** As node:http answers by itself while nobody listens. */
const REFUSALS = new Map([
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large'],
  ['HPE_CHUNK_EXTENSIONS_OVERFLOW', '413 Payload Too Large'],
  [TIMEOUT, '408 Request Timeout'],
])

/** Ends a connection from which something came that is no request, or not in time. */
export function refuseUnread(socket: Duplex, error: Error): void {
  if (socket.writable)
    socket.write(
      `HTTP/1.1 ${REFUSALS.get(codeOf(error)) ?? BAD_REQUEST}\r\nConnection: close\r\n\r\n`,
    )
  socket.destroy()
}

/**
 * The same on a connection on which a request is being answered: a refusal would be read as its answer. And while
 * one is, it may be this side that does not read the next one: its time does not count.
 */
export function endUnread(socket: Duplex, error: Error): void {
  if (codeOf(error) !== TIMEOUT) socket.destroy()
}

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : ''
}
