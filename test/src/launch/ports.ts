import { once } from 'node:events'
import { createServer } from 'node:net'

const HOST = '127.0.0.1'

/**
 * Chooses a free port of the loopback address for each wish: the wished one where it is free, else
 * any other. No two are the same. They are free when this returns, not reserved.
 */
export async function choosePorts(wishes: readonly number[]): Promise<number[]> {
  const servers = []
  const ports: number[] = []
  try {
    for (const wish of wishes) {
      const server = (await listen(wish)) ?? (await listen(0))
      if (server === undefined) throw new Error(`no port of ${HOST} is free`)
      servers.push(server)
      const address = server.address()
      if (address === null || typeof address === 'string') throw new Error('not a TCP port')
      ports.push(address.port)
    }
  } finally {
    for (const server of servers) server.close()
  }
  return ports
}

/** Undefined when the port is taken. */
async function listen(port: number): Promise<ReturnType<typeof createServer> | undefined> {
  const server = createServer()
  server.listen(port, HOST)
  try {
    await once(server, 'listening')
    return server
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return undefined
    throw error
  }
}
