import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { readBody } from './body.ts'
import { endUnread, refuseUnread } from './client-error.ts'
import { Turns } from './turns.ts'
import { WATCH_PATH } from './watch-message.ts'
import { BODY_BYTES_MAX, type BodyStream, type RawRequest, type Responder } from './message.ts'

/** Go's default limit is 1 MiB; a key as long as this needs no more. */
const HEADER_BYTES_MAX = 128 * 1024
/** A request must be whole after this time. */
const REQUEST_MS_MAX = 300_000

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

/** What all connections have in common. */
interface Shared {
  readonly turns: Turns
  /** Long polls. */
  readonly streams: Set<ServerResponse>
  /** Each answer is the last of its connection. */
  isDraining: boolean
}

/** node:http for the requests that the lean parser leaves alone: any framing, any size, upgrades. */
export function createFullServer(options: FullOptions): FullServer {
  const shared: Shared = { turns: new Turns(), streams: new Set(), isDraining: false }
  const plain = createParser(options, shared)
  // node:http takes a server with this listener to want every upgrade that is offered.
  const upgrading = createParser(options, shared)
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
      shared.isDraining = true
      for (const response of shared.streams) response.end()
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

function createParser(options: FullOptions, shared: Shared): Server {
  const { turns } = shared
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
  server.on('clientError', (error, socket) => {
    if (turns.isBusy(socket)) endUnread(socket, error)
    else refuseUnread(socket, error)
  })
  server.on('request', (request, response) => {
    // What stands behind a request that ends the connection is not carried out.
    if (turns.isLast(request.socket, response)) return
    readBody(request, response, BODY_BYTES_MAX, (bytes) => {
      if (bytes === undefined) turns.endBehind(request.socket)
      const body = bytes?.toString('latin1') ?? ''
      const serve = (): void => {
        const { head, path, query } = splitTarget(request)
        options.route(
          { ...head, path, query, body, isBodyTooLarge: bytes === undefined },
          createResponder(request, response, shared),
        )
      }
      turns.take(response, request.socket, { bytes: body.length, serve })
    })
  })
  return server
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

function setHead(response: ServerResponse, head: string): void {
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(': ')
    if (colon > 0) response.setHeader(line.slice(0, colon), line.slice(colon + 2))
  }
}

function createResponder(
  request: IncomingMessage,
  response: ServerResponse,
  shared: Shared,
): Responder {
  const { socket } = request
  const { streams, turns } = shared
  return {
    reply: (status, head, body) => {
      if (response.destroyed) return
      if (shared.isDraining) response.shouldKeepAlive = false
      if (!response.shouldKeepAlive || head.includes('Connection: close')) turns.end(socket)
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
      // A check of credentials may have taken longer than the client waited.
      if (response.destroyed) return createStream(response)
      streams.add(response)
      // Nobody is left to hear the events, though answers would still be sent.
      const leave = (): void => {
        response.destroy()
      }
      socket.once('end', leave)
      response.once('close', () => {
        streams.delete(response)
        socket.off('end', leave)
      })
      if (socket.readableEnded) leave()
      else turns.streams(socket)
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
