import { access, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { copyDatabase } from '../backup/database.ts'
import { copyEtcdLog } from '../backup/etcd.ts'
import { EXIT, ExitError } from '../context.ts'
import type { Run } from '../context.ts'
import { logLine } from '../log-line.ts'

/** Copies a data directory, also that of a server that runs. Prints nothing. */
export const backup: Run = async ({ options }) => {
  const memberDir = join(options.text('data-dir'), 'member')
  const backupMemberDir = join(options.text('backup-dir'), 'member')
  const logDir = options.text('wal-dir')
  const backupLogDir = options.text('backup-wal-dir')
  try {
    await mkdir(backupMemberDir, { recursive: true, mode: 0o700 })
    const storage = logDir || memberDir
    if (await exists(join(storage, 'kvd.db'))) {
      await copyDatabase(storage, backupLogDir || backupMemberDir)
    } else {
      await copyEtcdLog(
        { snap: join(memberDir, 'snap'), wal: logDir || join(memberDir, 'wal') },
        { snap: join(backupMemberDir, 'snap'), wal: backupLogDir || join(backupMemberDir, 'wal') },
      )
    }
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    throw new ExitError(EXIT.badArgs, logLine(text))
  }
  return EXIT.success
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file)
    return true
  } catch {
    return false
  }
}
