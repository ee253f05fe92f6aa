import { closeSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type Sqlite from 'better-sqlite3'

/**
 * Copies a database into a new file and puts that in its place. After a failed fsync the system may
 * call pages clean that never reached the disk; a fresh file is written and synced anew (raft.md 5.7).
 * Call it only while nobody has the database open.
 */
export function rebuildDatabase(open: (file: string) => Sqlite.Database, file: string): void {
  const fresh = `${file}.new`
  rmSync(fresh, { force: true })
  const old = open(file)
  try {
    // Nothing may stay in the WAL: it would be read into the new file after a crash in between.
    old.pragma('wal_checkpoint(TRUNCATE)')
    old.prepare('VACUUM INTO ?').run(fresh)
  } finally {
    old.close()
  }
  syncFile(fresh)
  renameSync(fresh, file)
  syncFile(dirname(file))
}

/** Makes a file or directory durable. */
export function syncFile(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
