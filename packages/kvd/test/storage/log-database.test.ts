import { Buffer } from 'node:buffer'
import { join } from 'node:path'
import Sqlite from 'better-sqlite3'
import t, { type Test } from 'tap'
import { frameEnd } from '../../src/storage/entry-codec.ts'
import { LogDatabase } from '../../src/storage/log-database.ts'
import { Store } from '../../src/store/store.ts'
import { Batches, imageOf } from '../helpers/batches.ts'
import { NOW, remove, set, storeOf, sync } from '../helpers/commands.ts'
import { load, open, type Found } from '../helpers/databases.ts'

t.test('a new database is empty and durable', async (tt) => {
  const { db, database } = open(tt, join(tt.testdir(), 'kvd.db'))
  const { loaded, keys, events, entries } = load(database)
  tt.same(loaded, {
    identity: undefined,
    incarnation: 1,
    hard: { term: 0, vote: '0', isDamaged: false },
    commit: 0,
    applied: 0,
    storeIndex: 0,
    count: 0,
    stats: undefined,
    base: { index: 0, term: 0, chain: 0 },
    firstIndex: 0,
    lastIndex: 0,
  })
  tt.same([keys, events, entries], [[], [], []])
  const pragmas = Object.fromEntries(
    ['page_size', 'locking_mode', 'journal_mode', 'synchronous', 'wal_autocheckpoint'].map(
      (name) => [name, db.pragma(name, { simple: true })],
    ),
  )
  tt.same(pragmas, {
    page_size: 4096,
    locking_mode: 'exclusive',
    journal_mode: 'wal',
    synchronous: 1,
    wal_autocheckpoint: 0,
  })
})

t.test('entries, hard state and image come back after a restart', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const commands = [set('/a/b', { value: 'v' }), set('/c', { expireAt: NOW + 5 }), remove('/c')]
  const first = open(tt, file)
  load(first.database)
  const log = new Batches()
  first.database.write(
    log.of(commands, { term: 4, hard: { term: 4, vote: 'ab', isDamaged: false } }),
  )
  tt.match(first.database.last, { index: 3, term: 4 })
  const store = storeOf(commands)
  const image = imageOf(store, 3)
  first.database.write(log.of([set('/d')], { term: 5, hard: undefined, ...image }))
  first.database.checkpoint(true)
  first.database.close()

  const second = open(tt, file)
  const { loaded, keys, events, entries } = load(second.database)
  tt.match(loaded, {
    hard: { term: 4, vote: 'ab', isDamaged: false },
    commit: 3,
    applied: 3,
    storeIndex: 3,
    stats: { setsSuccess: 2, deleteSuccess: 1 },
    firstIndex: 1,
    lastIndex: 4,
  })
  tt.same(keys, ['/a', '/a/b'], 'parents come first')
  tt.same(events, [1, 2, 3])
  const all = ['1@4 /a/b', '2@4 /c', '3@4 /c', '4@5 /d']
  tt.same(entries, all, 'some that the image holds already too: others may be behind')
  second.database.close()
  tt.same(load(open(tt, file).database, 'log').entries, all)
})

t.test('an image writes what changed and forgets what is gone', async (tt) => {
  const { database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const store = new Store({ historySize: 2 })
  const log = new Batches()
  const step = (index: number, entry: Parameters<Store['apply']>[0]): readonly string[] => {
    store.apply(entry)
    database.write(log.of([entry]))
    database.write(log.of([], imageOf(store, index)))
    const { nodes, loaded, events } = load(database)
    tt.same(nodes, [...store.rows()].map((row) => JSON.stringify(row)).toSorted(), 'rows')
    tt.equal(loaded.applied, index)
    tt.ok(events.includes(index) && events.length <= 4, `events ${events.join()}`)
    return nodes
  }
  step(1, set('/a', { value: '1' }))
  step(2, set('/a', { value: '2' }))
  step(3, set('/b', { dir: true, expireAt: NOW + 1 }))
  step(4, set('/b/c\udcff', { value: '\udc80' }))
  tt.equal(step(5, sync(NOW + 1)).length, 1)
})

t.test('rows count once an image came, and are dropped when a process ends before', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const first = open(tt, file)
  load(first.database)
  const store = new Store({ historySize: 9 })
  store.apply(set('/old', { value: '1' }))
  const log = new Batches()
  first.database.write(log.of([set('/old', { value: '1' })], imageOf(store, 1)))
  store.apply(set('/old', { value: '2' }))
  const { packs } = imageOf(store, 2)
  first.database.write(log.of([set('/old', { value: '2' })], { packs }))
  tt.match(load(first.database).nodes, [/"value":"1"/], 'no image yet')
  first.database.close()

  const second = open(tt, file)
  const { nodes, loaded } = load(second.database)
  tt.match(nodes, [/"value":"1"/])
  tt.same([loaded.applied, loaded.lastIndex], [1, 2])
  store.apply(set('/new'))
  const { image } = imageOf(store, 1)
  if (image === undefined) throw new Error('no image')
  // The rows of that other process are none of this image.
  second.database.write(log.of([], { image: { ...image, count: 1, applied: 1 } }))
  tt.match(load(second.database).nodes, [/"value":"1"/])
  tt.equal(second.db.prepare('SELECT count(*) FROM pack').pluck().get(), 1)
})

t.test('a batch for which there is no room leaves nothing behind', async (tt) => {
  const { db, database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const log = new Batches()
  database.write(log.of([set('/a')]))
  const pages = Number(db.pragma('page_count', { simple: true }))
  db.pragma(`max_page_count = ${pages + 4}`)
  const big = log.of([set('/b'), set('/c', { value: 'x'.repeat(100_000) })], {
    hard: { term: 9, vote: '0', isDamaged: false },
  })
  tt.throws(() => database.write(big), { code: 'SQLITE_FULL' })
  tt.equal(database.last.index, 1)
  const { entries, loaded } = load(database)
  tt.same([entries, loaded.hard.term], [['1@1 /a'], 1])
  db.pragma('max_page_count = 1000000')
  database.write(big)
  tt.same(load(database).entries, ['1@1 /a', '2@1 /b', '3@1 /c'], 'with room, it goes through')
})

/** What `sql` below may call: of the nth entry of a row a bit or a number is another one, or only the first ones stay. */
function addDamages(db: Sqlite.Database): void {
  const startOf = (body: Buffer, nth: number): number => {
    let at = 0
    for (let before = 0; before < nth; before += 1) at = frameEnd(body, at) ?? body.length
    return at
  }
  const change = (body: Buffer, nth: number, edit: (entry: Buffer) => void): Buffer => {
    const copy = Buffer.from(body)
    edit(copy.subarray(startOf(copy, nth) + 4))
    return copy
  }
  db.function('flip', (body: Buffer, nth: number, at: number) =>
    change(body, nth, (entry) => {
      entry[at] = (entry[at] ?? 0) ^ 1
    }),
  )
  db.function('whole', (body: Buffer, nth: number, at: number, value: number) =>
    change(body, nth, (entry) => entry.writeDoubleLE(value, at)),
  )
  db.function('length_of', (body: Buffer, nth: number, by: number) => {
    const copy = Buffer.from(body)
    const at = startOf(copy, nth)
    copy.writeUInt32LE(copy.readUInt32LE(at) + by, at)
    return copy
  })
  db.function('firsts', (body: Buffer, count: number) => body.subarray(0, startOf(body, count)))
}

/**
 * A database with entries 1 to 5, the first three in one row, an image of 1 to 3 with its events, changed by `sql`. The image is
 * in table `node` when that is what `sql` changes, else in packs; entries 1 and 2 are dropped when it
 * is about `base`.
 */
function damaged(tt: Test, file: string, sql: string): () => Found {
  const commands = [set('/a/b', { value: 'v' }), set('/c'), set('/d/e'), set('/f'), set('/g')]
  const { db, database } = open(tt, file, sql.includes(' node') ? 1 : undefined)
  load(database)
  addDamages(db)
  const log = new Batches()
  database.write(log.of(commands.slice(0, 3)))
  const image = imageOf(storeOf(commands.slice(0, 3)), 3)
  const compactTo = sql.includes(' base') ? 2 : 0
  database.write(log.of(commands.slice(3, 4), { term: 2, compactTo, ...image }))
  database.write(log.of(commands.slice(4), { term: 2 }))
  tt.equal(db.prepare(sql).run().changes >= 1, true, sql)
  database.close()
  return () => {
    const again = new Sqlite(file)
    try {
      return load(new LogDatabase(again, file))
    } finally {
      again.close()
    }
  }
}

t.test('whatever fails its checksum is named', async (tt) => {
  const flipped = (column: string): string =>
    `CAST(substr(${column}, 1, 5) || char(unicode(substr(${column}, 6, 1)) + 1) || substr(${column}, 7) AS BLOB)`
  const cases: [sql: string, message: RegExp][] = [
    // An entry is index f64, term f64, chain u32, kind, id behind its length, data behind its length.
    ['UPDATE entry SET body = flip(body, 0, 0) WHERE idx = 4', /log entry 4 fails its checksum/],
    [
      'UPDATE entry SET body = whole(body, 0, 0, 5) WHERE idx = 4',
      /log entry 4 fails its checksum/,
    ],
    [
      'UPDATE entry SET body = whole(body, 0, 8, 1) WHERE idx = 5',
      /log entry 5 fails its checksum/,
    ],
    ['UPDATE entry SET body = flip(body, 0, 16) WHERE idx = 1', /log entry 1 fails its checksum/],
    ['UPDATE entry SET body = flip(body, 0, 20) WHERE idx = 5', /log entry 5 fails its checksum/],
    ['UPDATE entry SET body = flip(body, 0, 21) WHERE idx = 5', /log entry 5 fails its checksum/],
    ['UPDATE entry SET body = flip(body, 0, 22) WHERE idx = 5', /log entry 5 fails its checksum/],
    ['UPDATE entry SET body = flip(body, 0, 25) WHERE idx = 5', /log entry 5 fails its checksum/],
    ['UPDATE entry SET body = flip(body, 0, 60) WHERE idx = 4', /log entry 4 fails its checksum/],
    ["UPDATE entry SET body = CAST(body || 'x' AS BLOB) WHERE idx = 5", /log entry 6 fails its/],
    ['UPDATE entry SET body = zeroblob(length(body)) WHERE idx = 1', /log entry 1 fails its/],
    ['UPDATE entry SET body = flip(body, 1, 60) WHERE idx = 1', /log entry 2 fails its checksum/],
    ['UPDATE entry SET body = whole(body, 2, 0, 4) WHERE idx = 1', /log entry 3 fails its/],
    ['UPDATE entry SET body = length_of(body, 1, 1) WHERE idx = 1', /log entry 2 fails its/],
    ['UPDATE entry SET body = length_of(body, 1, -1) WHERE idx = 1', /log entry 2 fails its/],
    ['UPDATE entry SET body = length_of(body, 2, 1000) WHERE idx = 1', /log entry 3 fails its/],
    ['UPDATE entry SET body = firsts(body, 2) WHERE idx = 1', /log entry 4 follows 2/],
    ['UPDATE entry SET body = firsts(body, 0) WHERE idx = 4', /log entry 5 follows 3/],
    ['UPDATE entry SET idx = 9 WHERE idx = 5', /log entry 9 fails its checksum/],
    [
      'UPDATE entry SET idx = 9, body = whole(body, 0, 0, 9) WHERE idx = 5',
      /log entry 9 follows 4/,
    ],
    ['DELETE FROM entry WHERE idx = 4', /log entry 5 follows 3/],
    ['DELETE FROM entry WHERE idx <= 4', /log entry 5 follows 0/],
    ['DELETE FROM entry', /the log holds 1 to 0, the store stands at 3/],
    ['DELETE FROM base', /log entry 3 follows 0/],
    ['UPDATE base SET idx = 3', /table base fails its checksum/],
    ['UPDATE base SET term = 2', /table base fails its checksum/],
    ['UPDATE base SET chain = chain + 1', /table base fails its checksum/],
    ['UPDATE base SET term = NULL', /table base fails its checksum/],
    [`UPDATE pack SET body = ${flipped('body')} WHERE seq = 1`, /table pack, row 1, fails its/],
    ['UPDATE pack SET rows = rows + 1 WHERE seq = 2', /table pack, row 2, fails its checksum/],
    ['UPDATE pack SET body = NULL WHERE seq = 1', /table pack, row 1, fails its checksum/],
    ['DELETE FROM pack WHERE seq = 1', /table pack, row 1, is missing/],
    ['UPDATE pack SET seq = 9 WHERE seq = 2', /table pack, row 2, is missing/],
    ['UPDATE state SET packs = 1', /table state fails its checksum/],
    ['UPDATE state SET merged = 1', /table state fails its checksum/],
    ['DELETE FROM node', /the store has 0 nodes, 5 were written/],
    [
      "UPDATE node SET value = CAST('w' AS BLOB) WHERE value = CAST('v' AS BLOB)",
      /table node, key "\/a\/b", fails its checksum/,
    ],
    [
      'UPDATE node SET value = NULL WHERE length(value) = 1',
      /table node, key "\/a\/b", fails its checksum/,
    ],
    [
      "UPDATE node SET modified = 9 WHERE path = CAST(char(1) || '/c' AS BLOB)",
      /table node, key "\/c", fails its checksum/,
    ],
    ['UPDATE node SET expire_ms = 1', /table node, key "\/a", fails its checksum/],
    ['UPDATE state SET applied = 2', /table state fails its checksum/],
    ['UPDATE state SET store_index = 2', /table state fails its checksum/],
    ["UPDATE state SET stats = replace(stats, '3', '4')", /table state fails its checksum/],
    ["UPDATE event SET body = replace(body, 'set', 'sat')", /table event, row 3, fails its/],
    ['UPDATE event SET last = 4', /table event, row 4, fails its checksum/],
    ["UPDATE meta SET v = v + 1 WHERE k = 'sum'", /table state fails its checksum/],
    ["UPDATE meta SET v = NULL WHERE k = 'sum'", /table meta, row sum, is no number/],
    ["DELETE FROM meta WHERE k = 'sum'", /table state fails its checksum/],
    ['DELETE FROM event', /the image is of other packs or events/],
    ["UPDATE meta SET v = 1 WHERE k = 'format'", /has format 1, this kvd reads formats 4 and 5/],
    ["UPDATE meta SET v = 'x' WHERE k = 'format'", /has format x, this kvd reads formats 4 and 5/],
    // What a flipped bit in a record's header makes of a column: nothing at all.
    ['UPDATE entry SET body = NULL WHERE idx = 4', /log entry 4 fails its checksum/],
    ['UPDATE event SET body = NULL', /table event, row 3, fails its checksum/],
    ['UPDATE state SET stats = NULL', /table state fails its checksum/],
    ['UPDATE hard SET term = 0', /table hard fails its checksum/],
    ["UPDATE hard SET vote = 'other'", /table hard fails its checksum/],
    ['UPDATE hard SET term = NULL', /table hard fails its checksum/],
    ['DELETE FROM hard', /table hard/],
    ["UPDATE identity SET member = 'ac'", /table identity fails its checksum/],
    ["UPDATE identity SET cluster = 'ce'", /table identity fails its checksum/],
    ['UPDATE identity SET incarnation = 7', /table identity fails its checksum/],
    ['UPDATE identity SET member = NULL', /table identity fails its checksum/],
    ['DELETE FROM identity', /table identity is empty/],
  ]
  const dir = tt.testdir()
  for (const [at, [sql, message]] of cases.entries()) {
    const start = damaged(tt, join(dir, `${at}-kvd.db`), sql)
    tt.throws(start, { name: 'DamageError', code: 'DAMAGED', message }, sql)
    tt.throws(start, { message: /kvd\.db/ }, 'the file is named')
  }
  tt.match(
    damaged(tt, join(dir, 'kvd.db'), 'UPDATE meta SET v = v')().entries,
    ['1@1 /a/b', '2@1 /c', '3@1 /d/e', '4@2 /f', '5@2 /g'],
    'unchanged',
  )
})
