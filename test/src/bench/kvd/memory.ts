import { setTimeout as sleep } from 'node:timers/promises'
import { memoryOf, type Memory } from '../proc.ts'
import { start, type Program, type Server } from '../servers.ts'
import { countKeys, fill } from './fill.ts'

/** Memory of a fresh server, and of the same one holding the keys. */
export interface MemoryReport {
  readonly empty: Memory
  readonly filled: Memory
}

export const memoryKeys = 100_000
export const memoryValueBytes = 100
/** Garbage collectors give memory back with a delay; both servers get the same. */
const settleMs = 10_000
const keysPerDir = 1000

/** Starts a server of its own, so that nothing measured before counts, and fills it. */
export async function measureMemory(what: Program, dir: string): Promise<MemoryReport> {
  const server = await start(what, dir)
  try {
    return await weigh(server)
  } finally {
    await server.stop()
  }
}

/** Fills a fresh server. */
export async function weigh(server: Pick<Server, 'name' | 'port' | 'pid'>): Promise<MemoryReport> {
  await sleep(settleMs)
  const empty = await memoryOf(server.pid)
  await fill(server, keys(), memoryValueBytes)
  await sleep(settleMs)
  const filled = await memoryOf(server.pid)
  // Counted last: a listing of everything is itself a big answer.
  const count = await countKeys(server, '/memory')
  if (count !== memoryKeys) throw new Error(`${server.name} holds ${count} keys of ${memoryKeys}`)
  return { empty, filled }
}

function keys(): string[] {
  return Array.from({ length: memoryKeys }, (_, n) => {
    const dir = Math.floor(n / keysPerDir)
    return `/memory/${String(dir).padStart(3, '0')}/key-${String(n).padStart(6, '0')}`
  })
}
