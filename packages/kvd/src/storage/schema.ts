import type { Database } from 'better-sqlite3'

/** Changes when a kvd of before could not read what one of today writes. */
export const FORMAT = 5
/** Has no sum of the image in table `meta`: the first image or merge brings that, and the format. */
export const FORMAT_BEFORE = 4

const TABLES = `
CREATE TABLE IF NOT EXISTS meta (k TEXT PRIMARY KEY, v ANY) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS hard (
  one INTEGER PRIMARY KEY CHECK (one = 1), term INTEGER, vote TEXT, damaged INTEGER, crc INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS told (one INTEGER PRIMARY KEY CHECK (one = 1), committed INTEGER, crc INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS identity (
  one INTEGER PRIMARY KEY CHECK (one = 1), member TEXT, cluster TEXT, incarnation INTEGER, crc INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS entry (idx INTEGER PRIMARY KEY, body BLOB) STRICT;
CREATE TABLE IF NOT EXISTS base (
  one INTEGER PRIMARY KEY CHECK (one = 1), idx INTEGER, term INTEGER, chain INTEGER, crc INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS state (
  one INTEGER PRIMARY KEY CHECK (one = 1), applied INTEGER, store_index INTEGER, nodes INTEGER, stats TEXT,
  merged INTEGER, packs INTEGER, crc INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS pack (seq INTEGER PRIMARY KEY, rows INTEGER, body BLOB, crc INTEGER) STRICT;
CREATE TABLE IF NOT EXISTS node (
  path BLOB PRIMARY KEY, value BLOB, created INTEGER, modified INTEGER, expire_ms INTEGER, crc INTEGER)
  STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event (
  last INTEGER PRIMARY KEY, body TEXT, crc INTEGER) STRICT;
`

/**
 * Pragmas of the one writer, in this order (raft.md 5.3). With `synchronous = NORMAL` SQLite syncs around
 * checkpoints alone: whoever commits calls fdatasync, as this build of SQLite knows fsync only.
 */
export function preparePragmas(db: Database): void {
  db.pragma('page_size = 4096')
  db.pragma('locking_mode = EXCLUSIVE')
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = NORMAL')
  db.pragma('wal_autocheckpoint = 0')
  db.pragma('journal_size_limit = 67108864')
  db.pragma('cell_size_check = ON')
  db.pragma('mmap_size = 0')
  db.pragma('trusted_schema = OFF')
  db.pragma('temp_store = MEMORY')
  db.pragma('fullfsync = ON')
  db.pragma('cache_size = -8192')
  if (db.pragma('synchronous', { simple: true }) !== 1)
    throw new Error('SQLite does not keep synchronous=NORMAL')
}

/** Makes the tables of a new database; does nothing on one that has them. */
export function createTables(db: Database): void {
  db.exec(TABLES)
  db.prepare('INSERT OR IGNORE INTO meta (k, v) VALUES (?, ?)').run('format', FORMAT)
}

/** Whether this kvd reads what has such a format. */
export function isReadable(format: unknown): boolean {
  return format === FORMAT || format === FORMAT_BEFORE
}

/** The format of a database that has one. */
export function readFormat(db: Database): unknown {
  return db.prepare<[], { v: unknown }>(`SELECT v FROM meta WHERE k = 'format'`).get()?.v
}
