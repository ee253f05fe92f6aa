import { existsSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '@flotilla/daemon'
import { syncFile } from './storage/rebuild.ts'

/** What `kvctl backup` leaves in the copy that it makes. */
function fileOf(directory: string): string {
  return join(directory, 'backup')
}

/** The file that says so, or undefined: what is stored here is no backup, or one that was put to use. */
export function backupMark(directory: string): string | undefined {
  const file = fileOf(directory)
  return existsSync(file) ? file : undefined
}

/** From now on it is the data directory of a member like any other. */
export function removeBackupMark(directory: string, logger: Logger): void {
  const file = backupMark(directory)
  if (file === undefined) return
  try {
    rmSync(file)
    syncFile(directory)
    logger.info('etcdserver: a backup was put to use, mark removed', { file })
  } catch (error) {
    logger.error('etcdserver: a new start will take this for a backup', {
      file,
      reason: String(error),
    })
  }
}
