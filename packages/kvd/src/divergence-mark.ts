import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '@flotilla/daemon'
import type { Divergence } from './replica/divergence.ts'
import { syncFile } from './storage/rebuild.ts'

/** What an earlier life of the member has found: it holds something else than the others. */
export interface DivergenceMark {
  readonly file: string
  /** Of the entry at which it was found; undefined when the file does not say. */
  readonly index: number | undefined
}

function fileOf(directory: string): string {
  return join(directory, 'diverged')
}

/** Undefined: nothing is held against what is stored here. A file that cannot be read is a mark all the same. */
export function readMark(directory: string): DivergenceMark | undefined {
  const file = fileOf(directory)
  try {
    return { file, index: indexIn(readFileSync(file, 'utf8')) }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    return { file, index: undefined }
  }
}

function indexIn(text: string): number | undefined {
  const found: unknown = JSON.parse(text)
  if (typeof found !== 'object' || found === null || !('index' in found)) return undefined
  return typeof found.index === 'number' ? found.index : undefined
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

/** What is stored here is right from now on, since the operator goes on with this copy alone. */
export function removeMark(directory: string, logger: Logger): void {
  const mark = readMark(directory)
  if (mark === undefined) return
  const { file, index } = mark
  try {
    rmSync(file)
    syncFile(directory)
    logger.warn('etcdserver: what diverged from the others is right from now on, mark removed', {
      file,
      index,
    })
  } catch (error) {
    const reason = String(error)
    logger.error('etcdserver: a new start will not serve this copy', { file, index, reason })
  }
}
