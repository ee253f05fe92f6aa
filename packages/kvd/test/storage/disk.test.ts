import { execFile, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import Sqlite from 'better-sqlite3'
import t, { type Test } from 'tap'
import type { Entry } from '../../src/raft/types.ts'
import { openDisk, type Disk } from '../../src/storage/disk.ts'
import { entryChain, packEntries } from '../../src/storage/entry-codec.ts'
import { rebuildDatabase } from '../../src/storage/rebuild.ts'
import { decodeCommand } from '../../src/store/command.ts'
import { BIRTH } from '../helpers/alone.ts'
import { Batches, batchOf, commit, copyOf, imageOf } from '../helpers/batches.ts'
import { set, storeOf } from '../helpers/commands.ts'

async function open(tt: Test, directory: string, source: 'image' | 'log' = 'image'): Promise<Disk> {
  const disk = await openDisk({ directory, source })
  tt.teardown(async () => await disk.close())
  return disk
}

t.test('a disk that tests have slowed takes so much longer for each batch', async (tt) => {
  const delayMs = 60
  const disk = await openDisk({ directory: tt.testdir(), source: 'image', delayMs })
  tt.teardown(async () => await disk.close())
  const log = new Batches()
  for (const key of ['/a', '/b']) {
    const begun = performance.now()
    tt.equal(await commit(disk, log.of([set(key)])), 'persisted')
    tt.ok(performance.now() - begun >= delayMs, `${Math.round(performance.now() - begun)} ms`)
  }
})

t.test('a start knows what is committed without the mark', async (tt) => {
  const root = tt.testdir({ data: {} })
  const directory = join(root, 'data')
  const disk = await openDisk({ directory, source: 'image' })
  const log = new Batches()
  await commit(disk, log.of([set('/a'), set('/b'), set('/c')], { commit: 1 }))
  // Those behind the first are replaced, by entries that are committed.
  await commit(disk, log.of([set('/d')], { firstIndex: 2, term: 2, commit: 2 }))
  const copy = copyOf(directory, join(root, 'copy'))
  rmSync(join(copy, 'hwm'))
  tt.equal((await open(tt, copy)).recovered.loaded.commit, 2)
  // Word of it alone, with no entries.
  await commit(disk, log.of([set('/e')], { commit: 2 }))
  await commit(disk, log.of([], { commit: 3 }))
  const later = copyOf(directory, join(root, 'later'))
  rmSync(join(later, 'hwm'))
  tt.equal((await open(tt, later)).recovered.loaded.commit, 3)
  await disk.close()
})

t.test('a database that has lost only the word of what is committed is damaged', async (tt) => {
  const root = tt.testdir({ data: {} })
  const directory = join(root, 'data')
  const disk = await openDisk({ directory, source: 'image' })
  const log = new Batches()
  await commit(disk, log.of([set('/a'), set('/b')], { commit: 1 }))
  const copy = copyOf(directory, join(root, 'copy'))
  await commit(disk, log.of([], { commit: 2 }))
  copyFileSync(join(directory, 'hwm'), join(copy, 'hwm'))
  await disk.close()
  await tt.rejects(openDisk({ directory: copy, source: 'image' }), {
    code: 'DAMAGED',
    message:
      /knows entries up to 1 to be committed, and had known 2: its write-ahead log is damaged$/,
  })
})

function keysOf({ recovered }: Disk): string[] {
  return recovered.entries.map(({ data }) => decodeCommand(Buffer.from(data)).key)
}

t.test('what was acknowledged is there after a restart', async (tt) => {
  const directory = tt.testdir()
  const disk = await openDisk({ directory, source: 'image' })
  tt.same(disk.recovered.entries, [])
  const commands = [set('/a', { value: '\udcff' }), set('/b')]
  const log = new Batches()
  tt.equal(await commit(disk, log.of(commands)), 'persisted')
  const image = imageOf(storeOf(commands), 2)
  await commit(disk, log.of([set('/c')], image))
  await disk.close()

  const again = await open(tt, directory)
  const { loaded, rows, events, entries } = again.recovered
  tt.match(loaded, { applied: 2, storeIndex: 2, lastIndex: 3, hard: { term: 1 } })
  tt.same(
    rows.map(({ key, value }) => [key, value]),
    [
      ['/a', '\udcff'],
      ['/b', ''],
    ],
  )
  tt.same(
    events.map(({ index }) => index),
    [1, 2],
  )
  tt.match(entries, [{ index: 1 }, { index: 2 }, { index: 3, term: 1, kind: 'request', id: '1.3' }])
  tt.same(keysOf(again), ['/a', '/b', '/c'])
})

t.test('batches become durable in the order in which they were written', async (tt) => {
  const disk = await open(tt, tt.testdir())
  const seqs: number[] = []
  const count = 200
  const log = new Batches()
  await new Promise<void>((resolve, reject) => {
    disk.listen({
      persisted: (seq, commitMs) => {
        seqs.push(seq)
        if (!(commitMs >= 0)) reject(new Error(`a commit took ${commitMs} ms`))
        if (seqs.length === count) resolve()
      },
      full: reject,
      failed: reject,
    })
    for (let seq = 1; seq <= count; seq += 1) disk.write(log.of([set(`/${seq}`)]))
  })
  tt.same(
    seqs,
    Array.from({ length: count }, (_, at) => at + 1),
  )
})

t.test('close waits for what was written before it', async (tt) => {
  const directory = tt.testdir()
  const disk = await openDisk({ directory, source: 'image' })
  const log = new Batches()
  for (let seq = 1; seq <= 50; seq += 1) disk.write(log.of([set(`/${seq}`)]))
  await disk.close()
  tt.equal((await open(tt, directory)).recovered.loaded.lastIndex, 50)
})

t.test('a data directory belongs to one process', async (tt) => {
  const directory = tt.testdir()
  const first = await open(tt, directory)
  const file = join(directory, 'kvd.db')
  await tt.rejects(openDisk({ directory, source: 'image' }), {
    name: 'DiskError',
    code: 'IN_USE',
    message: `${file} is in use by another process`,
  })
  const program = fileURLToPath(new URL('../helpers/commit-loop.js', import.meta.url))
  const other = spawnSync(process.execPath, [program, directory], { encoding: 'utf8' })
  tt.match(other.stderr, /kvd\.db is in use by another process/)
  tt.equal(await commit(first, batchOf([set('/a')])), 'persisted', 'the first one is not disturbed')
})

t.test('a directory that is not there, a file that is no database', async (tt) => {
  const directory = tt.testdir({
    'kvd.db': 'not a database, but long enough to look at'.repeat(99),
  })
  await tt.rejects(openDisk({ directory, source: 'image' }), {
    code: 'DAMAGED',
    message: /kvd\.db is damaged \(.*\)\. Restore the data directory from a backup/,
  })
  await tt.rejects(openDisk({ directory: join(directory, 'none'), source: 'image' }), {
    code: 'IO',
    message: /none\/kvd\.db: /,
  })
})

/** Commits so many entries one by one, and copies the files while the database is open. */
async function crashed(tt: Test, commits: number): Promise<string> {
  const root = tt.testdir({ live: {} })
  const disk = await openDisk({ directory: join(root, 'live'), source: 'image' })
  const log = new Batches()
  for (let index = 1; index <= commits; index += 1) await commit(disk, log.of([set(`/${index}`)]))
  const copy = copyOf(join(root, 'live'), join(root, 'copy'))
  await disk.close()
  return copy
}

t.test('after a crash everything acknowledged is in the write-ahead log', async (tt) => {
  const copy = await crashed(tt, 40)
  tt.ok(statSync(join(copy, 'kvd.db-wal')).size > 40 * 4096)
  const disk = await open(tt, copy)
  tt.equal(disk.recovered.loaded.lastIndex, 40)
  tt.equal(disk.recovered.entries.length, 40)
})

const LOST =
  /kvd\.db ends at log entry \d+, but entries up to 40 were acknowledged: its write-ahead log is damaged/

t.test('a damaged frame of the write-ahead log is not taken for its end', async (tt) => {
  const copy = await crashed(tt, 40)
  const wal = join(copy, 'kvd.db-wal')
  const bytes = readFileSync(wal)
  const middle = bytes.length >> 1
  bytes[middle] = (bytes[middle] ?? 0) ^ 1
  writeFileSync(wal, bytes)
  await tt.rejects(openDisk({ directory: copy, source: 'image' }), {
    code: 'DAMAGED',
    message: LOST,
  })
  await tt.rejects(openDisk({ directory: copy, source: 'log' }), { code: 'DAMAGED', message: LOST })
})

t.test('a write-ahead log cut short, or gone, is noticed', async (tt) => {
  const copy = await crashed(tt, 40)
  const wal = join(copy, 'kvd.db-wal')
  truncateSync(wal, (statSync(wal).size >> 1) + 100)
  await tt.rejects(openDisk({ directory: copy, source: 'image' }), {
    code: 'DAMAGED',
    message: LOST,
  })
  rmSync(wal, { force: true })
  await tt.rejects(openDisk({ directory: copy, source: 'image' }), { code: 'DAMAGED' })
})

t.test('a change of the members comes behind the word of what was committed', async (tt) => {
  const directory = tt.testdir()
  const disk = await openDisk({ directory, source: 'image' })
  const { identity, entries } = BIRTH
  const [first] = entries
  if (first === undefined) throw new Error('no entry')
  const bare = { ...first, index: 2, term: 1 }
  const second: Entry = { ...bare, chain: entryChain(first.chain, bare) }
  const hard = { term: 1, vote: '0', isDamaged: false }
  const empty = batchOf([], { identity: undefined, hard: undefined })
  const batches = [
    { ...empty, seq: 1, identity, hard, entries: packEntries(entries), firstIndex: 1, commit: 1 },
    { ...empty, seq: 2, entries: packEntries([second]), firstIndex: 2, commit: 2 },
  ]
  const places = [join(directory, 'born'), join(directory, 'changed')]
  for (const [at, batch] of batches.entries()) {
    await commit(disk, batch)
    copyOf(directory, places[at] ?? '')
  }
  await disk.close()
  for (const [at, place] of places.entries()) {
    // Killed between the commit and the mark that follows it.
    const hwm = join(place, 'hwm')
    const marks = readFileSync(hwm)
    const newest = marks.readDoubleLE(4) > marks.readDoubleLE(4096 + 4) ? 0 : 4096
    marks.fill(0xff, newest, newest + 60)
    writeFileSync(hwm, marks)
    const again = await openDisk({ directory: place, source: 'image' })
    const { lastIndex, commit: known } = again.recovered.loaded
    tt.same([lastIndex, known], [at + 1, at + 1])
    await again.close()
  }
})

t.test('what the mark knows to be committed is not forgotten by a damaged member', async (tt) => {
  const [directory, copy] = [join(tt.testdir({ a: {}, b: {} }), 'a'), join(tt.testdirName, 'b')]
  const disk = await openDisk({ directory, source: 'image' })
  const log = new Batches()
  await commit(disk, log.of([set('/1'), set('/2'), set('/3')], { commit: 1 }))
  copyOf(directory, copy)
  await commit(disk, log.of([set('/two'), set('/three')], { firstIndex: 2, term: 2, commit: 1 }))
  await commit(disk, log.of([set('/4')], { term: 2, commit: 4 }))
  copyFileSync(join(directory, 'hwm'), join(copy, 'hwm'))
  await disk.close()
  const found = async (): Promise<object> => {
    const again = await openDisk({ directory: copy, source: 'image', mayBeDamaged: true })
    const { lastIndex, commit: known, incarnation, hard } = again.recovered.loaded
    // As a start does, whatever it then hears.
    await commit(again, batchOf([], { identity: undefined, hard, commit: known }))
    await again.close()
    return { lastIndex, known, incarnation, isDamaged: hard.isDamaged }
  }
  const expected = { lastIndex: 3, known: 4, isDamaged: true }
  for (const incarnation of [2, 3, 4]) tt.same(await found(), { ...expected, incarnation })
})

t.test('a start has a number of its own, also when the log that knew it is lost', async (tt) => {
  const [directory, copy] = [join(tt.testdir({ a: {}, b: {} }), 'a'), join(tt.testdirName, 'b')]
  const start = async (at: string): Promise<{ number: number; disk: Disk }> => {
    const disk = await openDisk({ directory: at, source: 'image', mayBeDamaged: true })
    return { number: disk.recovered.loaded.incarnation, disk }
  }
  const first = await start(directory)
  await commit(first.disk, new Batches().of([set('/1')]))
  await first.disk.close()
  copyOf(directory, copy)
  const second = await start(directory)
  copyFileSync(join(directory, 'hwm'), join(copy, 'hwm'))
  await second.disk.close()
  const third = await start(copy)
  await third.disk.close()
  tt.same([first.number, second.number, third.number], [1, 2, 3])
})

t.test('without the newest mark the one before it speaks, without any none', async (tt) => {
  const copy = await crashed(tt, 40)
  const hwm = join(copy, 'hwm')
  const marks = readFileSync(hwm)
  // Mark 40 went to the first slot, 39 to the second.
  marks.fill(0xff, 0, 56)
  writeFileSync(hwm, marks)
  const disk = await openDisk({ directory: copy, source: 'image' })
  tt.equal(disk.recovered.loaded.lastIndex, 40, 'a mark may lag behind')
  await disk.close()
  rmSync(hwm)
  const last = await open(tt, copy)
  tt.equal(last.recovered.loaded.lastIndex, 40)
})

t.test('a rebuilt database has the same content in a new file', async (tt) => {
  const directory = tt.testdir()
  const file = join(directory, 'kvd.db')
  const disk = await openDisk({ directory, source: 'image' })
  await commit(disk, batchOf([set('/a', { value: 'kept' })]))
  await disk.close()
  const inode = statSync(file).ino
  writeFileSync(`${file}.new`, 'left over from a rebuild that was interrupted')
  rebuildDatabase((path) => new Sqlite(path), file)
  tt.not(statSync(file).ino, inode)
  tt.same([existsSync(`${file}.new`), existsSync(`${file}-wal`)], [false, false])
  tt.same(keysOf(await open(tt, directory)), ['/a'])
})

t.test('after an I/O error the next start rebuilds, once', async (tt) => {
  const directory = tt.testdir()
  const file = join(directory, 'kvd.db')
  const disk = await openDisk({ directory, source: 'image' })
  await commit(disk, batchOf([set('/a')]))
  await disk.close()
  const note = join(directory, 'io-error')
  writeFileSync(note, 'disk I/O error\n')
  const inode = statSync(file).ino
  const again = await openDisk({ directory, source: 'image' })
  tt.same(keysOf(again), ['/a'])
  await again.close()
  tt.not(statSync(file).ino, inode, 'the file is a new one')
  tt.equal(existsSync(note), false)
})

t.test('an I/O error while serving is reported, and leaves word for the next start', async (tt) => {
  const root = tt.testdir({ live: {} })
  const directory = join(root, 'live')
  const disk = await openDisk({ directory, source: 'image' })
  const log = new Batches()
  await commit(disk, log.of([set('/a')]))
  // A term that a column of integers cannot hold stands for any error but a full disk.
  const failure = commit(
    disk,
    log.of([set('/b')], { hard: { term: 1.5, vote: '0', isDamaged: false } }),
  )
  await tt.rejects(failure, { name: 'DiskError', code: 'IO', message: /kvd\.db: / })
  await disk.close()
  tt.equal(existsSync(join(directory, 'io-error')), true)
  tt.same(keysOf(await open(tt, directory)), ['/a'], 'nothing acknowledged is lost')
})

t.test('the disk thread may be started on an empty directory again and again', async (tt) => {
  const directory = join(tt.testdir(), 'member')
  mkdirSync(directory)
  for (let count = 0; count < 3; count += 1) {
    const disk = await openDisk({ directory, source: 'image' })
    tt.equal(disk.recovered.loaded.lastIndex, 0)
    await disk.close()
  }
})

/** strace is there and may trace. */
const canTrace = spawnSync('strace', ['-f', 'true']).status === 0

t.test(
  'every commit is synced before it is acknowledged',
  { skip: canTrace ? false : 'strace is missing or may not trace' },
  async (tt) => {
    const root = tt.testdir()
    const trace = join(root, 'trace')
    const program = fileURLToPath(new URL('../helpers/commit-loop.js', import.meta.url))
    const calls = 'trace=fsync,fdatasync,pwrite64,write'
    const argv = ['-f', '-y', '-o', trace, '-e', calls, process.execPath, program, join(root, 'db')]
    const { stdout } = await promisify(execFile)('strace', argv, { maxBuffer: 1 << 24 })
    tt.equal(stdout, 'done\n'.repeat(10))
    const steps = readFileSync(trace, 'utf8')
      .split('\n')
      .flatMap((line) => {
        if (/ write\(1<.*"done\\n"/.test(line)) return ['done']
        if (/ pwrite64\(\d+<[^>]*kvd\.db-wal>/.test(line)) return ['write']
        if (/ f(data)?sync\(\d+<[^>]*kvd\.db-wal>/.test(line)) return ['sync']
        return []
      })
    const rounds = steps.join(' ').split('done').slice(0, 10)
    tt.equal(rounds.length, 10)
    for (const [at, round] of rounds.entries())
      tt.match(round.trim(), /^(write |sync )*write sync$/, `commit ${at + 1}: ${round.trim()}`)
  },
)
