import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WATCH_PATH } from './watch-message.ts'
import { BODY_BYTES_MAX, type BodyStream, type RawRequest, type Responder } from './message.ts'

/** Go's default limit is 1 MiB; a key as long as this needs no more. */
const HEADER_BYTES_MAX = 128 * 1024
/** A request must be whole after this time. */
const REQUEST_MS_MAX = 300_000
/** How long a refused body is read on, so that the answer is not lost (net/http rstAvoidanceDelay). */
const LINGER_MS = 500

export interface FullServer {
  /** Connections taken over and still open. */
  readonly count: number
  /** Takes a connection over. `rest` was read from it and is put back by the caller. */
  adopt(socket: Duplex, rest: Buffer): void
  /** Ends long polls and idle connections; what is under way is answered. */
  drain(): void
  /** Ends every connection. */
  close(): void
}

export interface FullOptions {
  route(request: RawRequest, responder: Responder): void
  /** Takes over a request for the watch path that asks for an upgrade. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void
}

/** Where an upgrade is wanted. Elsewhere the wish is ignored and the request answered, as by Go. */
const UPGRADES = new RegExp(`^GET ${WATCH_PATH}[? ]`)

/** node:http for the requests that the lean parser leaves alone: any framing, any size, upgrades. */
export function createFullServer(options: FullOptions): FullServer {
  const streams = new Set<ServerResponse>()
  const turns = new Turns()
  const plain = createParser(options, turns, streams)
  // node:http takes a server with this listener to want every upgrade that is offered.
  const upgrading = createParser(options, turns, streams)
  upgrading.on('upgrade', (request, socket, head) => options.upgrade(request, socket, head))
  const sockets = new Set<Duplex>()
  return {
    get count() {
      return sockets.size
    },
    adopt: (socket, rest) => {
      const wants = UPGRADES.test(rest.toString('latin1', 0, 64))
      const server = wants ? upgrading : plain
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      server.emit('connection', socket)
    },
    drain: () => {
      for (const response of streams) response.end()
      plain.closeIdleConnections()
      upgrading.closeIdleConnections()
    },
    close: () => {
      for (const socket of sockets) socket.destroy()
      plain.close()
      upgrading.close()
    },
  }
}

function createParser(options: FullOptions, turns: Turns, streams: Set<ServerResponse>): Server {
  const server = createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    keepAliveTimeout: 0,
    requestTimeout: REQUEST_MS_MAX,
    headersTimeout: 30_000,
    connectionsCheckingInterval: 10_000,
  })
  // A client that sends no more still gets its answers, as from Go.
  Object.assign(server, { httpAllowHalfOpen: true })
  // It never listens itself, yet watches over its connections only from then on.
  server.emit('listening')
  server.on('request', (request, response) => {
    // What stands behind a request that ends the connection is not carried out.
    if (turns.isLast(request.socket, response)) return
    readBody(request, response, (body, isBodyTooLarge) => {
      turns.take(request.socket, response, () => {
        const { head, path, query } = splitTarget(request)
        options.route(
          { ...head, path, query, body, isBodyTooLarge },
          createResponder(request, response, { streams, turns }),
        )
      })
    })
  })
  return server
}

/**
 * One request of a connection at a time: node:http hands out pipelined requests all at once, and a
 * read behind a write would then overtake it.
 */
class Turns {
  readonly #waiting = new WeakMap<Socket, (() => void)[]>()
  readonly #ending = new WeakSet<Socket>()
  readonly #ended = new WeakSet<Socket>()

  /** True when an earlier request of the connection was its last; remembers that this one is. */
  isLast(socket: Socket, response: ServerResponse): boolean {
    if (this.#ending.has(socket)) return true
    if (!response.shouldKeepAlive) this.#ending.add(socket)
    return false
  }

  /** An answer ends the connection: what waits behind it is dropped. */
  end(socket: Socket): void {
    this.#ended.add(socket)
    this.#waiting.get(socket)?.splice(0)
  }

  take(socket: Socket, response: ServerResponse, serve: () => void): void {
    if (this.#ended.has(socket)) return
    const queue = this.#waiting.get(socket)
    response.once('close', () => this.#next(socket))
    if (queue !== undefined) {
      queue.push(serve)
      return
    }
    this.#waiting.set(socket, [])
    serve()
  }

  #next(socket: Socket): void {
    const serve = this.#waiting.get(socket)?.shift()
    if (serve === undefined) this.#waiting.delete(socket)
    else serve()
  }
}

function splitTarget(request: IncomingMessage): {
  head: Pick<RawRequest, 'method' | 'host' | 'contentType' | 'authorization' | 'origin'>
  path: string
  query: string
} {
  const target = (request.url ?? '/').replace(/^https?:\/\/[^/?#]*/i, '').replace(/#.*$/, '')
  const mark = target.indexOf('?')
  const path = mark === -1 ? target : target.slice(0, mark)
  const { headers } = request
  return {
    head: {
      method: request.method ?? 'GET',
      host: headers.host,
      contentType: headers['content-type'],
      authorization: headers.authorization,
      origin: headers.origin,
    },
    path: path === '' ? '/' : path,
    query: mark === -1 ? '' : target.slice(mark + 1),
  }
}

/** Reads at most `BODY_BYTES_MAX`; of more, nothing is kept and the connection ends with the answer. */
function readBody(
  request: IncomingMessage,
  response: ServerResponse,
  done: (body: string, isTooLarge: boolean) => void,
): void {
  const parts: string[] = []
  let size = 0
  let isDone = false
  const finish = (isTooLarge: boolean): void => {
    if (isDone) return
    isDone = true
    if (isTooLarge) response.once('finish', () => linger(request))
    done(isTooLarge ? '' : parts.join(''), isTooLarge)
    parts.length = 0
  }
  request.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (!isDone && size <= BODY_BYTES_MAX) parts.push(chunk.toString('latin1'))
    else finish(true)
  })
  request.on('end', () => finish(false))
}

/** Closes our side, and drops what still comes for a moment: a reset would take the answer with it. */
function linger(request: IncomingMessage): void {
  const { socket } = request
  request.resume()
  socket.end()
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
}

function setHead(response: ServerResponse, head: string): void {
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(': ')
    if (colon > 0) response.setHeader(line.slice(0, colon), line.slice(colon + 2))
  }
}

function createResponder(
  request: IncomingMessage,
  response: ServerResponse,
  { streams, turns }: { readonly streams: Set<ServerResponse>; readonly turns: Turns },
): Responder {
  return {
    reply: (status, head, body) => {
      if (response.destroyed) return
      if (head.includes('Connection: close')) turns.end(request.socket)
      setHead(response, head)
      response.statusCode = status
      if (status !== 204 && status !== 304)
        response.setHeader('Content-Length', Buffer.byteLength(body))
      response.end(request.method === 'HEAD' ? '' : body)
    },
    stream: (status, head) => {
      setHead(response, head)
      response.statusCode = status
      response.flushHeaders()
      streams.add(response)
      // Nobody is left to hear the events, though answers would still be sent.
      request.socket.once('end', () => response.destroy())
      response.once('close', () => streams.delete(response))
      return createStream(response)
    },
  }
}

function createStream(response: ServerResponse): BodyStream {
  return {
    write: (text) => {
      if (!response.destroyed && !response.writableEnded) response.write(text)
      return response.writableLength
    },
    end: (text) => {
      if (!response.destroyed && !response.writableEnded) response.end(text)
    },
    onClose: (listener) => {
      if (response.destroyed) listener()
      else response.once('close', listener)
    },
  }
}
