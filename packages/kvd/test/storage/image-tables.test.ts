import { join } from 'node:path'
import t from 'tap'
import { LogDatabase } from '../../src/storage/log-database.ts'
import type { EventRow } from '../../src/storage/messages.ts'
import { packEvents, textChecksum } from '../../src/storage/records.ts'
import type { Command } from '../../src/store/command.ts'
import { Store } from '../../src/store/store.ts'
import { Batches, imageOf } from '../helpers/batches.ts'
import { NOW, remove, set, storeOf, sync } from '../helpers/commands.ts'
import { load, open } from '../helpers/databases.ts'

t.test('rows are merged bit by bit, and a start at any moment finds the same', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const { db, database } = open(tt, file, 60)
  load(database)
  const store = new Store({ historySize: 4 })
  const log = new Batches()
  const expected = (): string[] => [...store.rows()].map((row) => JSON.stringify(row)).toSorted()
  const count = (table: string): number =>
    Number(db.prepare(`SELECT count(*) FROM ${table}`).pluck().get())
  let merges = 0
  for (let index = 1; index <= 400; index += 1) {
    const name = `/${index % 7}/${index % 23}`
    const entry = index % 11 === 0 ? remove(name) : set(name, { value: `${index}` })
    store.apply(entry)
    const rows = index % 5 === 0 ? imageOf(store, index) : {}
    const before = count('node')
    database.write(log.of([entry], rows))
    if (count('node') !== before) merges += 1
    if (index % 5 !== 0) continue
    // A second reader of the same file: what a start would find now.
    tt.same(load(new LogDatabase(db, file)).nodes, expected(), `entry ${index}`)
  }
  tt.ok(merges > 3, `${merges} batches changed table node`)
  tt.ok(count('pack') < 40, `${count('pack')} packs are left`)
})

t.test('a batch that brings a whole image does not merge all of it', async (tt) => {
  const { db, database } = open(tt, join(tt.testdir(), 'kvd.db'), 3_000)
  load(database)
  const commands = Array.from({ length: 9_000 }, (_, at) => set(`/${at}`))
  const log = new Batches()
  const merged = (): number => Number(db.prepare('SELECT count(*) FROM node').pluck().get())
  database.write(log.of([], imageOf(storeOf(commands), 9_000)))
  const first = merged()
  tt.ok(first > 0 && first < 2_500, `${first} rows`)
  for (let batch = 0; batch < 40; batch += 1)
    database.write(log.of(Array.from({ length: 100 }, () => sync(NOW))))
  tt.equal(merged(), 9_000, 'those behind it do')
})

t.test('nor does one whose image is far more than a merge begins with', async (tt) => {
  const { db, database } = open(tt, join(tt.testdir(), 'kvd.db'), 1_000)
  load(database)
  const commands = Array.from({ length: 20_000 }, (_, at) => set(`/${at}`))
  database.write(new Batches().of([], imageOf(storeOf(commands), 20_000)))
  const merged = Number(db.prepare('SELECT count(*) FROM node').pluck().get())
  tt.ok(merged > 0 && merged < 2_500, `${merged} rows`)
})

t.test('rows of deep keys do not pile up', async (tt) => {
  const { db, database } = open(tt, join(tt.testdir(), 'kvd.db'), 1_000)
  load(database)
  const store = new Store({ historySize: 1 })
  const log = new Batches()
  let longest = 0
  let index = 0
  for (let round = 0; round < 20; round += 1) {
    // Each entry changes a hundred nodes, so that a batch brings far more rows than it has entries.
    const commands = Array.from({ length: 30 }, (_, at) => at).flatMap((at) => [
      set(`/${round}/${at}${'/d'.repeat(98)}`),
      ...(round < 3 ? [] : [remove(`/${round - 3}/${at}`, { recursive: true })]),
    ])
    for (const entry of commands) store.apply(entry)
    index += commands.length
    database.write(log.of(commands, imageOf(store, index)))
    const rows = Number(db.prepare('SELECT sum(rows) FROM pack').pluck().get())
    longest = Math.max(longest, rows)
  }
  tt.ok(longest < 25_000, `${longest} rows wait`)
})

t.test('a merge that finds no room begins anew', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const { db, database } = open(tt, file, 500)
  load(database)
  const commands = Array.from({ length: 600 }, (_, at) => set(`/${at}`, { value: 'x'.repeat(500) }))
  const store = storeOf(commands)
  const { packs, image } = imageOf(store, 600)
  const log = new Batches()
  database.write(log.of(commands, { packs }))
  database.write(log.of([], { image }))
  const rows = [...store.rows()].map((row) => JSON.stringify(row)).toSorted()
  const pages = Number(db.pragma('page_count', { simple: true }))
  let refused = 0
  for (let index = 601; index < 700; index += 1) {
    const isFull = index < 610 || index === 630
    db.pragma(`max_page_count = ${isFull ? pages : 1_000_000}`)
    try {
      database.write(log.of([sync(NOW)], { firstIndex: database.last.index + 1 }))
    } catch (error) {
      tt.match(error, { code: 'SQLITE_FULL' })
      refused += 1
    }
    tt.same(load(new LogDatabase(db, file)).nodes, rows, `entry ${index}`)
  }
  tt.ok(refused > 5, `${refused} batches found no room`)
  tt.equal(db.prepare('SELECT count(*) FROM node').pluck().get(), 600, 'in the end all are there')
})

t.test('events ahead of an image wait for it, and do not outlive the process', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const { db, database } = open(tt, file)
  load(database)
  const log = new Batches()
  const store = new Store({ historySize: 9 })
  const apply = (key: string): Command => {
    const entry = set(key)
    store.apply(entry)
    return entry
  }
  const rowOf = (...indexes: readonly number[]): EventRow => ({
    last: indexes.at(-1) ?? 0,
    body: packEvents(indexes.flatMap((index) => store.history.at(index) ?? [])),
  })
  const found = (): readonly number[] => load(new LogDatabase(db, file)).events
  database.write(log.of([apply('/a'), apply('/b')], { events: [rowOf(1, 2)] }))
  tt.same(found(), [], 'no image at all')
  database.write(log.of([apply('/c')], { ...imageOf(store, 3), events: [rowOf(3)] }))
  tt.same(found(), [1, 2, 3])
  database.write(log.of([apply('/d'), apply('/e')], { events: [rowOf(4), rowOf(5)] }))
  tt.same(found(), [1, 2, 3], 'the image has no more')
  const snapshot = database.openSnapshot()
  tt.same(
    snapshot?.source.events.map(({ last }) => last),
    [2, 3],
    'nor does another member get more of it',
  )
  snapshot?.source.close()
  const restarted = new LogDatabase(db, file)
  load(restarted)
  restarted.write(log.of([apply('/f')], { events: [rowOf(4, 5, 6)] }))
  restarted.write(log.of([], { ...imageOf(store, 6), events: [] }))
  tt.same(found(), [1, 2, 3, 4, 5, 6], 'each once, however they were cut before')
})

t.test('a pack of another life under a number of the image is noticed', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const { db, database } = open(tt, file)
  load(database)
  const store = new Store({ historySize: 4 })
  const apply = (key: string): Command => {
    const entry = set(key)
    store.apply(entry)
    return entry
  }
  const log = new Batches()
  database.write(log.of([apply('/a')], imageOf(store, 1)))
  const { packs } = imageOf(storeOf([set('/b')]), 1)
  database.write(log.of([sync(NOW)], { packs }))
  const left = db.prepare<[], { seq: number }>('SELECT * FROM pack WHERE seq = 2').get()
  const restarted = new LogDatabase(db, file)
  load(restarted)
  restarted.write(log.of([apply('/c')], imageOf(store, 3)))
  tt.same(load(new LogDatabase(db, file)).keys, ['/a', '/c'])
  // As if the page had never been written over.
  db.prepare('REPLACE INTO pack (seq, rows, body, crc) VALUES ($seq, $rows, $body, $crc)').run(left)
  tt.throws(() => load(new LogDatabase(db, file)), {
    code: 'DAMAGED',
    message: /the image is of other packs or events/,
  })
})

t.test('a merge may end while events wait for the next image', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const { db, database } = open(tt, file, 500)
  load(database)
  const log = new Batches()
  const store = storeOf(Array.from({ length: 3_000 }, (_, at) => set(`/${at}`)))
  database.write(log.of([], imageOf(store, 1)))
  const merged = (): unknown => db.prepare('SELECT merged FROM state').pluck().get()
  const before = merged()
  const entry = set('/a')
  store.apply(entry)
  const body = packEvents([store.history.at(3_001) ?? []].flat())
  database.write(log.of([entry], { events: [{ last: 3_001, body }] }))
  tt.equal(merged(), before, 'it goes on')
  const some = Array.from({ length: 100 }, () => sync(NOW))
  for (let batch = 0; batch < 20; batch += 1) database.write(log.of(some))
  tt.not(merged(), before)
  const { keys, events } = load(new LogDatabase(db, file))
  tt.equal(keys.length, 3_000)
  tt.equal(events.at(-1), 3_000)
})

t.test('a database of the format before is taken over', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const { db, database } = open(tt, file)
  load(database)
  const log = new Batches()
  const store = storeOf([set('/a', { value: 'v' })])
  database.write(log.of([set('/a', { value: 'v' })], imageOf(store, 1)))
  interface Columns {
    readonly [column: string]: number | string
    readonly applied: number
  }
  const row = db.prepare<[], Columns>('SELECT * FROM state').get()
  const columns = ['store_index', 'nodes', 'merged', 'packs', 'stats'].map((name) => row?.[name])
  const crc = textChecksum(row?.applied ?? 0, columns.join(' '))
  db.exec(`DELETE FROM meta WHERE k = 'sum'`)
  db.prepare('UPDATE state SET crc = ?').run(crc)
  db.exec(`UPDATE meta SET v = 4 WHERE k = 'format'`)
  const format = (): unknown => db.prepare(`SELECT v FROM meta WHERE k = 'format'`).pluck().get()
  const upgraded = new LogDatabase(db, file)
  tt.same(load(upgraded).keys, ['/a'])
  tt.equal(format(), 4, 'a start leaves the format')
  const entry = set('/b')
  store.apply(entry)
  upgraded.write(log.of([entry], imageOf(store, 2)))
  tt.same(load(new LogDatabase(db, file)).keys, ['/a', '/b'])
  tt.equal(format(), 5)
  db.exec('DELETE FROM event WHERE last = 1')
  tt.throws(
    () => load(new LogDatabase(db, file)),
    { message: /other packs or events/ },
    'and summed',
  )
})
