import { IncomingMessage, type RequestListener, type Server, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { endUnread, refuseUnread } from '../http/client-error.ts'
import { parseHeaders, parseRequestLine } from '../http/lean-head.ts'

/** One request as it stands in a packet; the target as it is sent on, in latin1. */
export interface OddRequest {
  readonly method: string
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** What node:http stumbles over in the first line of a request, though a member reads it. */
const ODD = new Set(['HPE_INVALID_METHOD', 'HPE_INVALID_URL'])

/**
 * Lets a proxy's server answer what node:http refuses and the original passes on: methods that it does
 * not know, and targets with raw UTF-8. Such a request must be whole in one packet, as small ones are, and
 * is the last of its connection; whatever else cannot be read is refused.
 */
export function answerOddRequests(server: Server, answer: RequestListener): void {
  const answering = new AnswersUnderWay(server)
  const taken = new WeakSet<object>()
  server.on('clientError', (error, socket) => {
    // What comes behind the last request cannot be read either.
    if (taken.has(socket)) return
    if (answering.has(socket) || !(socket instanceof Socket)) {
      endUnread(socket, error)
      return
    }
    const odd = oddRequestOf(error)
    if (odd === undefined) refuseUnread(socket, error)
    else {
      taken.add(socket)
      serve(odd, socket, answer)
    }
  })
}

function serve(odd: OddRequest, socket: Socket, answer: RequestListener): void {
  const incoming = new IncomingMessage(socket)
  incoming.method = odd.method
  incoming.url = odd.target
  incoming.headers = odd.headers
  // Else reading to the end counts as an abort, and ends the connection.
  incoming.complete = true
  incoming.push(odd.body)
  incoming.push(null)
  const outgoing = new ServerResponse(incoming)
  outgoing.shouldKeepAlive = false
  outgoing.assignSocket(socket)
  outgoing.once('finish', () => socket.end())
  answer(incoming, outgoing)
}

/** Which connections wait for an answer: another one on top would be read as a part of it. */
class AnswersUnderWay {
  readonly #counts = new WeakMap<object, number>()

  constructor(server: Server) {
    server.on('request', ({ socket }, outgoing) => {
      this.#add(socket, 1)
      outgoing.once('close', () => this.#add(socket, -1))
    })
  }

  has(socket: object): boolean {
    return (this.#counts.get(socket) ?? 0) > 0
  }

  #add(socket: object, count: number): void {
    this.#counts.set(socket, (this.#counts.get(socket) ?? 0) + count)
  }
}

/** `bytesParsed` and `rawPacket` are what node:http documents of such an error. */
function oddRequestOf(error: Error): OddRequest | undefined {
  if (!('code' in error && 'rawPacket' in error && 'bytesParsed' in error)) return undefined
  const { code, rawPacket, bytesParsed } = error
  if (typeof code !== 'string' || !ODD.has(code)) return undefined
  if (!Buffer.isBuffer(rawPacket) || typeof bytesParsed !== 'number') return undefined
  // A line before: the packet began with another request, or with the rest of one.
  return rawPacket.subarray(0, bytesParsed).includes('\n') ? undefined : readOddRequest(rawPacket)
}

/** Undefined unless the packet is exactly one request of plain shape and known length. */
export function readOddRequest(packet: Buffer): OddRequest | undefined {
  const end = packet.indexOf('\r\n\r\n')
  if (end === -1) return undefined
  const head = packet.toString('latin1', 0, end)
  const lineEnd = head.indexOf('\r\n')
  const line = parseRequestLine(head.slice(0, Math.max(0, lineEnd)))
  const block = head.slice(Math.max(0, lineEnd))
  const body = packet.subarray(end + 4)
  if (line === undefined || parseHeaders(block)?.contentLength !== body.length) return undefined
  const { method, path, query } = line
  const target = query === '' ? path : `${path}?${query}`
  return { method, target, headers: headersIn(block), body }
}

/** Names in lower case; what comes more than once is one list. */
function headersIn(block: string): Record<string, string> {
  const headers = new Map<string, string>()
  for (const line of block.split('\r\n').slice(1)) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const [before, value] = [headers.get(name), line.slice(colon + 1).trim()]
    headers.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  return Object.fromEntries(headers)
}
