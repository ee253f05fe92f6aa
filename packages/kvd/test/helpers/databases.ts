import { Buffer } from 'node:buffer'
import Sqlite from 'better-sqlite3'
import type { Test } from 'tap'
import type { HighWater } from '../../src/storage/high-water.ts'
import { LogDatabase } from '../../src/storage/log-database.ts'
import type { DiskOptions, FromDisk, Loaded } from '../../src/storage/messages.ts'
import { unpackEvents } from '../../src/storage/records.ts'
import { nodeRowOf, unpackRows } from '../../src/storage/rows.ts'
import { decodeCommand } from '../../src/store/command.ts'
import { entriesOf } from './fake-disk.ts'

/** What a database hands out at a start. */
export interface Found {
  readonly loaded: Loaded
  readonly keys: readonly string[]
  readonly nodes: readonly string[]
  readonly events: readonly number[]
  /** `index@term key` */
  readonly entries: readonly string[]
}

/** Everything that a database hands out at a start. */
export function load(
  database: LogDatabase,
  source: DiskOptions['source'] = 'image',
  mark?: HighWater,
  mayBeDamaged = false,
): Found {
  const messages: FromDisk[] = []
  const loaded = database.load(source, mark, (message) => messages.push(message), mayBeDamaged)
  const rows = messages.flatMap((message) =>
    message.type === 'rows'
      ? [...unpackRows(Buffer.from(message.pack))].flatMap(({ node }) =>
          node === undefined ? [] : [nodeRowOf(node)],
        )
      : [],
  )
  return {
    loaded,
    keys: rows.map(({ key }) => key),
    nodes: rows.map((node) => JSON.stringify(node)),
    events: messages
      .flatMap((message) => (message.type === 'events' ? unpackEvents(message.body) : []))
      .map(({ index }) => index),
    entries: messages
      .flatMap((message) => (message.type === 'entries' ? [message] : []))
      .flatMap(entriesOf)
      .map(({ index, term, data }) => `${index}@${term} ${decodeCommand(Buffer.from(data)).key}`),
  }
}

/** A database, and the connection below it for a look from the side. */
export interface Opened {
  readonly db: Sqlite.Database
  readonly database: LogDatabase
}

export function open(tt: Test, file: string, mergeRows?: number): Opened {
  const db = new Sqlite(file, { timeout: 0 })
  tt.teardown(() => db.close())
  return { db, database: new LogDatabase(db, file, mergeRows) }
}
