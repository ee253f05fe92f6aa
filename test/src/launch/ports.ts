import { once } from 'node:events'
import { createServer, type Server } from 'node:net'

const HOST = '127.0.0.1'
/** Those that the kernel gives to outgoing connections begin at 32768 unless somebody changed it. */
const LOWEST = 10_000
const COUNT = 10_000
const TRIES_MAX = 1_000

/** Whoever got them may not listen yet, or be down for a moment. */
const given = new Set<number>()

/**
 * Chooses a free port of the loopback address for each wish: the wished one where it is free, else
 * any other. They are free when this returns, not reserved; but no outgoing connection takes one of the
 * others, nor does this process choose it again.
 */
export async function choosePorts(wishes: readonly number[]): Promise<number[]> {
  const servers: Server[] = []
  const ports: number[] = []
  try {
    for (const wish of wishes) {
      const server = (wish === 0 ? undefined : await listen(wish)) ?? (await listenAnywhere())
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

async function listenAnywhere(): Promise<Server> {
  for (let tries = 0; tries < TRIES_MAX; tries += 1) {
    const port = LOWEST + Math.floor(Math.random() * COUNT)
    if (given.has(port)) continue
    given.add(port)
    const server = await listen(port)
    if (server !== undefined) return server
  }
  throw new Error(`no port of ${HOST} is free`)
}

/** Undefined when the port is taken. */
async function listen(port: number): Promise<Server | undefined> {
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
