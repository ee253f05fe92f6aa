import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '@flotilla/daemon'
import type { Divergence } from './replica/divergence.ts'
import { syncFile } from './storage/rebuild.ts'

function fileOf(directory: string): string {
  return join(directory, 'diverged')
}

/** Whether an earlier life of the member has found that it holds something else than the others. */
export function hasDiverged(directory: string): boolean {
  return existsSync(fileOf(directory))
}

/** What is on the disk stays wrong: a new start must not serve it. A disk that refuses this changes nothing else. */
export function markDiverged(directory: string, divergence: Divergence, logger: Logger): void {
  const file = fileOf(directory)
  try {
    writeFileSync(file, `${JSON.stringify(divergence)}\n`, { mode: 0o600 })
    syncFile(file)
    syncFile(directory)
  } catch (error) {
    logger.error('etcdserver: a new start will not know of it', { file, reason: String(error) })
  }
}
