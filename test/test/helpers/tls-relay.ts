import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { connect } from 'node:tls'
import type { Test } from 'tap'
import type { TlsFiles } from './tls-files.ts'

/**
 * A plain port in front of an https URL, for clients that know http only: every byte goes through
 * as it is, over TLS with the certificate shown. Gives its URL; it is gone with the test.
 */
export async function relayToTls(
  t: Test,
  url: string,
  { ca, cert, key }: TlsFiles,
): Promise<string> {
  const { hostname: host, port } = new URL(url)
  const shown = { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) }
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (plain) => {
    const secure = connect({ host, port: Number(port), ...shown })
    secure.setNoDelay(true)
    plain.pipe(secure).pipe(plain)
    for (const [socket, other] of [
      [plain, secure],
      [secure, plain],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      // What has come through already is still handed over.
      socket.once('close', () => {
        sockets.delete(socket)
        other.destroySoon()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('not a TCP port')
  return `http://127.0.0.1:${address.port}`
}
