import { Buffer } from 'node:buffer'
import { join } from 'node:path'
import t from 'tap'
import type { HighWater } from '../../src/storage/high-water.ts'
import type { Batch, FromDisk } from '../../src/storage/messages.ts'
import { entryChain } from '../../src/storage/entry-codec.ts'
import { Batches, batchOf, imageOf, OWNER } from '../helpers/batches.ts'
import { NOW, set, storeOf, sync } from '../helpers/commands.ts'
import { load, open } from '../helpers/databases.ts'
import { entriesOf } from '../helpers/fake-disk.ts'

t.test('entries from an index on are replaced', async (tt) => {
  const { database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const log = new Batches()
  database.write(log.of([set('/1'), set('/2'), set('/3')]))
  database.write(log.of([set('/two')], { term: 2, firstIndex: 2 }))
  tt.equal(database.last.index, 2)
  tt.same(load(database).entries, ['1@1 /1', '2@2 /two'])
  database.write(log.of([], { hard: { term: 7, vote: '0', isDamaged: false } }))
  tt.equal(database.last.index, 2, 'a batch may carry no entry at all')
  tt.equal(load(database).loaded.hard.term, 7)
})

t.test('the log is compacted as far as a batch says', async (tt) => {
  const { database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const commands = Array.from({ length: 9000 }, () => sync(NOW))
  const store = storeOf(commands)
  const log = new Batches()
  database.write(log.of(commands, imageOf(store, 9000)))
  database.write(log.of([], { compactTo: 6000 }))
  const { loaded } = load(database)
  tt.same([loaded.firstIndex, loaded.base.index, database.last.index], [6001, 6000, 9000])
  database.write(log.of([], { compactTo: 100 }))
  tt.equal(load(database).loaded.firstIndex, 6001)
  tt.throws(() => load(database, 'log'), {
    code: 'DAMAGED',
    message: /the log begins at entry 6001, older ones are compacted/,
  })
})

t.test('what is whole before damage within a batch stays', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const { db, database } = open(tt, file)
  load(database)
  const log = new Batches()
  database.write(log.of([set('/1')]))
  database.write(log.of([set('/2'), set('/3'), set('/4')]))
  database.write(log.of([set('/5')]))
  const { body } = db
    .prepare<[], { body: Buffer }>('SELECT body FROM entry WHERE idx = 2')
    .get() ?? {
    body: Buffer.alloc(0),
  }
  body[body.indexOf('/3')] = 0
  db.prepare('UPDATE entry SET body = ? WHERE idx = 2').run(body)
  tt.throws(() => load(database), { message: /log entry 3 fails its checksum/ })
  const { entries, loaded } = load(database, 'image', undefined, true)
  tt.same([entries, loaded.hard.isDamaged], [['1@1 /1', '2@1 /2'], true])
  tt.throws(() => load(database), { message: /log entry 3/ }, 'who is refused has lost nothing')
  load(database, 'image', undefined, true)
  database.settle(loaded.hard)
  const after = new Batches()
  after.of([set('/1'), set('/2')])
  database.write(after.of([set('/three')]))
  tt.same(
    load(database).entries,
    ['1@1 /1', '2@1 /2', '3@1 /three'],
    'and the log goes on behind it',
  )
})

t.test('a log whose terms go back is refused', async (tt) => {
  const { database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const log = new Batches()
  database.write(log.of([set('/a')], { term: 3 }))
  database.write(log.of([set('/b')], { term: 2 }))
  tt.throws(() => load(database), {
    code: 'DAMAGED',
    message: /log entry 2 has term 2 after 3/,
  })
})

t.test('more rows than go in one message', async (tt) => {
  const { database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const commands = Array.from({ length: 4500 }, (_, at) => set(`/n${at}`))
  database.write(batchOf(commands, imageOf(storeOf(commands), 100)))
  const { keys, entries, loaded } = load(database)
  tt.same([keys.length, entries.length], [4500, 4500])
  tt.equal(new Set(keys).size, 4500)
  tt.equal(loaded.lastIndex, 4500)
})

t.test('a log goes on behind what was dropped, even when that is all of it', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const log = new Batches()
  const commands = [set('/1'), set('/2'), set('/3')]
  const first = open(tt, file)
  load(first.database)
  first.database.write(log.of(commands, imageOf(storeOf(commands), 3)))
  first.database.write(log.of([], { compactTo: 3 }))
  first.database.close()

  const second = open(tt, file)
  const { loaded } = load(second.database)
  tt.match(loaded, { firstIndex: 0, lastIndex: 3, base: { index: 3, term: 1 }, hard: { term: 1 } })
  second.database.write(log.of([set('/4')], { term: 3 }))
  second.database.close()
  const third = load(open(tt, file).database)
  tt.same(third.entries, ['4@3 /4'])
  tt.same(third.loaded.base, loaded.base)
})

t.test('an entry of another log is noticed, right as it is by itself', async (tt) => {
  const { database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const [ours, theirs] = [new Batches(), new Batches()]
  database.write(ours.of([set('/1'), set('/2')]))
  theirs.of([set('/1'), set('/two')])
  database.write(theirs.of([set('/3')]))
  tt.throws(() => load(database), {
    code: 'DAMAGED',
    message: /log entry 3 fails its checksum/,
  })
})

t.test('a log that ends before its mark, or forgot a promise, is refused', async (tt) => {
  const { database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const log = new Batches()
  database.write(log.of([set('/1'), set('/2')], { term: 5 }))
  const { chain: second } = database.last
  database.write(log.of([set('/3')]))
  database.write(log.of([], { hard: { term: 7, vote: 'ab', isDamaged: false } }))
  const { index: lastIndex, term: lastTerm, chain: lastChain } = database.last
  const mark = {
    seq: 1,
    term: 7,
    vote: 'ab',
    lastIndex,
    lastTerm,
    lastChain,
    commit: 2,
    incarnation: 1,
    isDamaged: false,
    isAhead: true,
  }
  const cases: [what: string, mark: HighWater, problem: RegExp | undefined][] = [
    ['the same', mark, undefined],
    ['behind the log', { ...mark, lastIndex: 2, lastChain: second }, undefined],
    ['of none', { ...mark, lastIndex: 0, lastTerm: 0, lastChain: 0 }, undefined],
    [
      'of another entry',
      { ...mark, lastIndex: 2 },
      /kvd\.db has not the log entry 2 of term 5 that was acknowledged: its write-ahead log is damaged$/,
    ],
    [
      'longer',
      { ...mark, lastIndex: 4 },
      /kvd\.db ends at log entry 3, but entries up to 4 were acknowledged: its write-ahead log is damaged$/,
    ],
    ['longer, of an earlier term', { ...mark, lastIndex: 9, lastTerm: 4 }, /ends at log entry 3/],
    ['of a later term', { ...mark, lastTerm: 6 }, /has not the log entry 3 of term 6/],
    ['an earlier vote', { ...mark, term: 6, vote: 'cd' }, undefined],
    ['before the vote', { ...mark, vote: '0' }, undefined],
    [
      'a later term',
      { ...mark, term: 8, vote: '0' },
      /kvd\.db stands at term 7 with a vote for ab, but in term 8 one for 0 was given: its write-ahead log is damaged$/,
    ],
    ['another vote', { ...mark, vote: 'cd' }, /but in term 7 one for cd was given/],
  ]
  for (const [what, given, problem] of cases)
    if (problem === undefined)
      tt.match(load(database, 'image', given).loaded, { lastIndex: 3, commit: 2 }, what)
    else
      tt.throws(() => load(database, 'image', given), { code: 'DAMAGED', message: problem }, what)
})

t.test('a member is damaged until its disk says otherwise in both places', async (tt) => {
  const { db, database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const log = new Batches()
  const commands = [set('/1')]
  database.write(log.of(commands, imageOf(storeOf(commands), 1)))
  database.write(log.of([set('/2'), set('/3')]))
  const { index: lastIndex, term: lastTerm, chain: lastChain } = database.last
  const place = { lastIndex, lastTerm, lastChain }
  const life = { incarnation: 2, isDamaged: false, isAhead: true }
  const mark = { seq: 1, term: 1, vote: '0', ...place, commit: 3, ...life }
  const cases: [what: string, mark: HighWater, isDamaged: boolean, commit: number][] = [
    ['all is there', mark, false, 3],
    ['a longer one', { ...mark, lastIndex: 5, commit: 4 }, true, 4],
    ['a later vote', { ...mark, term: 9 }, true, 3],
    ['another entry', { ...mark, lastTerm: 2, commit: 0 }, true, 1],
    ['damaged before, and more of it since', { ...mark, isDamaged: true }, true, 3],
  ]
  for (const [what, given, isDamaged, commit] of cases) {
    const { loaded } = load(database, 'image', given, true)
    tt.match(loaded, { commit, hard: { isDamaged } }, what)
  }
  database.settle({ term: 1, vote: '0', isDamaged: true })
  tt.match(load(database, 'image', mark).loaded, { commit: 3, hard: { isDamaged: true } })
  tt.equal(db.prepare('SELECT damaged FROM hard').pluck().get(), 1)
})

t.test('before entries are replaced, the place below them is told', async (tt) => {
  const { database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const told: string[] = []
  const write = (batch: Batch): void => {
    database.write(batch, ({ index, term }) =>
      told.push(`${index}@${term} of ${database.last.index}`),
    )
  }
  const log = new Batches()
  write(log.of([set('/1'), set('/2')]))
  write(log.of([set('/3')], { term: 2 }))
  write(log.of([], { hard: { term: 3, vote: '0', isDamaged: false } }))
  tt.same(told, [], 'nothing of batches that leave what is there')
  write(log.of([set('/two')], { term: 2, firstIndex: 2 }))
  write(log.of([set('/one')], { term: 2, firstIndex: 1 }))
  tt.same(told.splice(0), ['1@1 of 3', '0@0 of 2'], 'while the log is as it was')
  const mark = {
    seq: 1,
    term: 0,
    vote: '0',
    lastIndex: 1,
    lastTerm: 2,
    lastChain: 1,
    commit: 0,
    incarnation: 1,
    isDamaged: false,
    isAhead: true,
  }
  tt.throws(() => load(database, 'image', mark), { code: 'DAMAGED' })
  const commands = [set('/one'), set('/2')]
  write(log.of([set('/two'), set('/three')], { term: 2 }))
  const place = { index: 2, term: 2, chain: 7 }
  write(log.of([], { ...imageOf(storeOf(commands), 2), install: place }))
  tt.same(told.splice(0), ['1@2 of 3'], 'also of a snapshot that takes their place')
  tt.equal(load(database, 'image', mark).loaded.base.index, 2, 'it covers what is below it')
  const later = { index: 9, term: 2, chain: 8 }
  write(log.of([], { ...imageOf(storeOf(commands), 9), install: later }))
  tt.same(told, [], 'not of one behind the end of the log')
})

t.test('what is known to be committed is not more than there is', async (tt) => {
  const { database } = open(tt, join(tt.testdir(), 'kvd.db'))
  load(database)
  const log = new Batches()
  const commands = [set('/1'), set('/2'), set('/3')]
  database.write(log.of(commands, imageOf(storeOf(commands.slice(0, 2)), 2)))
  const { chain: lastChain } = database.last
  const life = { incarnation: 1, isDamaged: false, isAhead: true }
  const mark = { seq: 1, term: 1, vote: '0', lastIndex: 3, lastTerm: 1, lastChain, ...life }
  const cases: [mark: HighWater | undefined, commit: number][] = [
    [undefined, 2],
    [{ ...mark, commit: 1 }, 2],
    [{ ...mark, commit: 3 }, 3],
    [{ ...mark, commit: 9 }, 3],
  ]
  for (const [given, commit] of cases)
    tt.equal(load(database, 'image', given).loaded.commit, commit, JSON.stringify(given))
})

t.test('of what is applied the last 5000 entries are handed out, or 16 MiB', async (tt) => {
  const cases: [entries: number, bytes: number, applied: number, first: number][] = [
    [5200, 0, 5100, 101],
    [5001, 0, 5001, 2],
    [20, 1 << 20, 20, 6],
    [20, 1 << 20, 10, 1],
  ]
  for (const [count, bytes, applied, first] of cases) {
    const { database } = open(tt, join(tt.testdir(), `${count}-${applied}.db`))
    load(database)
    const commands = Array.from({ length: count }, () => set('/k', { value: 'x'.repeat(bytes) }))
    database.write(batchOf(commands, imageOf(storeOf(commands.slice(0, applied), 1), applied)))
    const messages: FromDisk[] = []
    const { base, firstIndex } = database.load('image', undefined, (one) => messages.push(one))
    const entries = messages.flatMap((one) => (one.type === 'entries' ? entriesOf(one) : []))
    const what = `${count} entries of ${bytes} bytes, ${applied} applied`
    tt.same([entries[0]?.index, entries.at(-1)?.index], [first, count], what)
    tt.same([firstIndex, base.index], [1, first - 1], 'what is on the disk, what was left out')
    const [follower] = entries
    if (follower === undefined) throw new Error('nothing was handed out')
    tt.equal(entryChain(base.chain, follower), follower.chain, 'they follow the base')
  }
})

t.test('each start of a member has a number that none before had', async (tt) => {
  const file = join(tt.testdir(), 'kvd.db')
  const start = (source: 'image' | 'log' = 'image'): ReturnType<typeof open>['database'] => {
    const { db, database } = open(tt, file)
    tt.teardown(() => db.close())
    numbers.push(load(database, source).loaded.incarnation)
    return database
  }
  const numbers: number[] = []
  const log = new Batches()
  const first = start()
  first.write(log.of([]))
  first.close()
  const again = start()
  // One that joins and has nothing yet says again who it is.
  again.write(log.of([], { identity: OWNER }))
  again.close()
  start('log').close()
  const last = start()
  tt.same(load(last, 'log').loaded.identity, OWNER)
  tt.same(numbers, [1, 2, 2, 3], 'to look at a log is no start')
  const place = { seq: 1, term: 1, vote: '0', lastIndex: 0, lastTerm: 0, lastChain: 0, commit: 0 }
  const mark = { ...place, incarnation: 7, isDamaged: false, isAhead: false }
  tt.equal(load(last, 'image', mark).loaded.incarnation, 8, 'nor before the WAL was lost')
  const empty = open(tt, join(tt.testdir(), 'empty.db')).database
  tt.equal(load(empty, 'image', mark, true).loaded.incarnation, 8, 'or all')
})
