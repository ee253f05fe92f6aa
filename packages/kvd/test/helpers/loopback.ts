import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { createServer as createSecureServer, type ServerOptions } from 'node:https'
import type { Test } from 'tap'

/**
 * A server on a free port of this machine that answers so until the test ends. Gives its URL.
 * @param tls makes it one of https
 */
export async function openServer(
  tt: Test,
  answer: RequestListener,
  tls?: ServerOptions,
): Promise<string> {
  const server = tls === undefined ? createServer(answer) : createSecureServer(tls, answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  tt.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('a server without a port')
  return `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${address.port}`
}

/** How to dial https where nobody speaks it. @throws Error */
export function dialNobody(): never {
  throw new Error('no test server speaks TLS')
}
