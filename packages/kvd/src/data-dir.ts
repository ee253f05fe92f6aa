import { accessSync, constants, existsSync, mkdirSync, readdirSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { syncFile } from './storage/rebuild.ts'

/** The data directory cannot be used. */
export class DataDirError extends Error {
  override readonly name = 'DataDirError'
  readonly code = 'DATA_DIR'
}

const KNOWN = new Set(['member', 'proxy', 'fixtures'])

export interface DataDir {
  /** Entries that do not belong there. */
  readonly unknown: readonly string[]
}

/** What an earlier start made of a data directory. @throws DataDirError when it was two things */
export function roleOf(dataDir: string): 'member' | 'proxy' | 'none' {
  const isMember = existsSync(join(dataDir, 'member'))
  const isProxy = existsSync(join(dataDir, 'proxy'))
  if (isMember && isProxy)
    throw new DataDirError('invalid datadir. Both member and proxy directories exist.')
  if (isMember) return 'member'
  return isProxy ? 'proxy' : 'none'
}

/** True when a member has begun its log there. */
export function hasLog(storageDir: string): boolean {
  return existsSync(join(storageDir, 'kvd.db'))
}

/**
 * Makes the directories, private to this user, and refuses what cannot be written or is etcd's own.
 * @throws DataDirError naming the directory
 */
export function prepareDataDir(dataDir: string, storageDir: string): DataDir {
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    mkdirSync(storageDir, { recursive: true, mode: 0o700 })
    // Wherever its log is: the next start finds out by it what this directory is.
    if (storageDir !== dataDir) mkdirSync(join(dataDir, 'member'), { recursive: true, mode: 0o700 })
    accessSync(storageDir, constants.W_OK)
    for (const made of [storageDir, dataDir, dirname(resolve(dataDir))]) syncFile(made)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new DataDirError(`cannot write the data directory ${dataDir}: ${reason}`, {
      cause: error,
    })
  }
  const member = join(dataDir, 'member')
  if (existsSync(join(member, 'wal')) || existsSync(join(member, 'snap')))
    throw new DataDirError(
      `the data directory ${dataDir} belongs to etcd (it holds member/wal): kvd keeps its log in another ` +
        'format. Start kvd with an empty --data-dir and copy the keys over with kvctl',
    )
  return { unknown: readdirSync(dataDir).filter((entry) => !KNOWN.has(entry)) }
}
