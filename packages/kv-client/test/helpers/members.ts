import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import type { Server as TcpServer, Socket } from 'node:net'
import type { Test } from 'tap'
import { createClient } from '../../src/index.ts'
import type { ClientOptions, KvClient } from '../../src/index.ts'

/** A request as a member saw it. */
export interface Seen {
  readonly line: string
  readonly body: string
  readonly headers: IncomingMessage['headers']
}

/** A small server that stands for a member of the cluster. */
export interface Member {
  readonly url: string
  readonly seen: Seen[]
  readonly server: Server | TcpServer
}

/** An answer of the keys API. */
export const EVENT =
  '{"action":"get","node":{"key":"/a","value":"v","modifiedIndex":4,"createdIndex":4}}\n'
const inOrder = (): number => 0

/** Listens on a free port of the loopback until the test is over. */
export function listen(t: Test, server: Server | TcpServer, scheme = 'http'): Promise<string> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
  })
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      const port = typeof address === 'object' ? address?.port : 0
      resolve(`${scheme}://127.0.0.1:${port}`)
    })
  })
}

/** A member that answers as told. */
export async function member(
  t: Test,
  answer: (response: ServerResponse, seen: Seen, request: IncomingMessage) => void,
): Promise<Member> {
  const seen: Seen[] = []
  const listener: RequestListener = (request, response) => {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      const one = { line: `${request.method} ${request.url}`, body, headers: request.headers }
      seen.push(one)
      answer(response, one, request)
    })
  }
  const server = createServer(listener)
  return { url: await listen(t, server), seen, server }
}

export const good = (t: Test) => member(t, (response) => response.end(EVENT))
export const answering = (t: Test, status: number, body = '') =>
  member(t, (response) => response.writeHead(status).end(body))
export const resetting = (t: Test) => member(t, (response) => response.destroy())
export const mute = (t: Test) => member(t, () => undefined)

/** A URL where nothing listens. */
export async function refusing(t: Test): Promise<string> {
  const server = createTcpServer()
  const url = await listen(t, server)
  await new Promise((resolve) => server.close(resolve))
  return url
}

/** A client that asks the endpoints in the order given. */
export function client(
  t: Test,
  endpoints: readonly string[],
  options: Partial<ClientOptions> = {},
): KvClient {
  const kv = createClient({ endpoints, random: inOrder, ...options })
  t.teardown(() => kv.close())
  return kv
}
