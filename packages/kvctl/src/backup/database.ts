import { constants } from 'node:fs'
import { access, copyFile, mkdir, open, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

// kvd keeps its log and its store in one SQLite database in WAL mode, and a running kvd holds its
// lock. Plain copies of the files are a whole database all the same, if the log was not begun anew
// while they were made: pages that a checkpoint moved into the database file in the meantime are
// still in the copy of the log, which counts. A log that is begun anew has another header; when there is
// none, before and after, the database file must not have changed.

const DATABASE = 'kvd.db'
const LOG = 'kvd.db-wal'
/** How far the disk had acknowledged: may lag behind the database, never lead it, so it comes first. */
const MARK = 'hwm'
/** Left by a member that holds something else than the others: no start serves what it holds. */
const DIVERGED = 'diverged'
/** Tells a member that it has this from a copy: of several, it must not speak as who knows all that it has promised. */
const BACKUP = 'backup'
const LOG_HEADER_BYTES = 32
const TRIES_MAX = 20

/**
 * Copies kvd's storage directory into one that holds none yet. Rejects when the server begins its
 * log anew again and again while the copy is made, and when the data are known to be wrong.
 * Half a copy is removed, whatever was in its way.
 */
export async function copyDatabase(from: string, to: string): Promise<void> {
  await refuseDiverged(from)
  await mkdir(to, { recursive: true, mode: 0o700 })
  if (await isThere(join(to, DATABASE))) throw new Error(`${to} already holds a ${DATABASE}`)
  try {
    await mark(join(to, BACKUP), from)
    await copyWhole(from, to)
    // It may have been found out in the meantime.
    await refuseDiverged(from)
  } catch (error) {
    // What cannot be removed is no better reason than the one there is.
    const removals = [DATABASE, LOG, MARK, BACKUP].map((name) =>
      rm(join(to, name), { force: true }),
    )
    await Promise.allSettled(removals)
    throw error
  }
}

async function mark(file: string, from: string): Promise<void> {
  const handle = await open(file, 'w', 0o600)
  try {
    await handle.writeFile(`${from}\n`)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** A copy without the mark would be served, and one with it is good for nothing. */
async function refuseDiverged(directory: string): Promise<void> {
  const file = join(directory, DIVERGED)
  if (await isThere(file))
    throw new Error(
      `${file}: this member holds something else than the others: take the backup of another member, or delete this file to take it all the same`,
    )
}

async function copyWhole(from: string, to: string): Promise<void> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    if (await copyOnce(from, to)) return
  }
  throw new Error(`${join(from, DATABASE)} changes too fast to be copied`)
}

async function copyOnce(from: string, to: string): Promise<boolean> {
  const before = await stateOf(from)
  for (const name of [MARK, DATABASE, LOG]) await copy(join(from, name), join(to, name))
  const after = await stateOf(from)
  const isSame =
    before.header === after.header && before.header === (await readHeader(join(to, LOG)))
  // A log that is empty says nothing: it may have been begun and emptied again in the meantime.
  return isSame && (before.header !== '' || before.database === after.database)
}

async function stateOf(directory: string): Promise<{ header: string; database: string }> {
  const { mtimeNs, size } = await stat(join(directory, DATABASE), { bigint: true })
  return { header: await readHeader(join(directory, LOG)), database: `${mtimeNs} ${size}` }
}

/** What tells one log from the next; '' for an empty one or none. */
async function readHeader(file: string): Promise<string> {
  if (!(await isThere(file))) return ''
  const handle = await open(file)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(LOG_HEADER_BYTES), 0)
    return buffer.toString('hex', 0, bytesRead)
  } finally {
    await handle.close()
  }
}

/** Copies a file and waits until it is on the disk; where there is none, there is none afterwards. */
async function copy(from: string, to: string): Promise<void> {
  if (!(await isThere(from))) return rm(to, { force: true })
  await copyFile(from, to, constants.COPYFILE_FICLONE)
  const handle = await open(to, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function isThere(file: string): Promise<boolean> {
  try {
    await access(file)
    return true
  } catch {
    return false
  }
}
