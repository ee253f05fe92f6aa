import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Logger } from '@flotilla/daemon'
import type { CrashReport } from './replica/crash-report.ts'

/** A member that breaks at each start must not fill the disk: the first reports are kept, and the newest. */
const FILES_MAX = 10

/** Leaves a report as `crash-<seq>.json`, numbered from 1; a disk that refuses it changes nothing else. */
export function leaveCrashFile(directory: string, report: CrashReport, logger: Logger): void {
  try {
    const file = write(directory, `${JSON.stringify(report)}\n`)
    logger.error('raft: what led to this is kept', { file })
  } catch (error) {
    logger.error('raft: what led to this could not be kept', { directory, reason: String(error) })
  }
}

function write(directory: string, text: string): string {
  const fileOf = (seq: number): string => join(directory, `crash-${seq}.json`)
  for (let seq = 1; seq < FILES_MAX; seq += 1) {
    try {
      writeFileSync(fileOf(seq), text, { flag: 'wx', mode: 0o600 })
      return fileOf(seq)
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    }
  }
  writeFileSync(fileOf(FILES_MAX), text, { mode: 0o600 })
  return fileOf(FILES_MAX)
}
