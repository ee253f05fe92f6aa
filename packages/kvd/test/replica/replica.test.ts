import { Buffer } from 'node:buffer'
import { setImmediate as turn } from 'node:timers/promises'
import { createLogger } from '@flotilla/daemon'
import t from 'tap'
import type { DiskError } from '../../src/storage/disk.ts'
import { unpackRows } from '../../src/storage/rows.ts'
import { command } from '../../src/store/command.ts'
import { BIRTH } from '../helpers/alone.ts'
import { compareAndSwap, NOW, textOf } from '../helpers/commands.ts'
import { commandsOf, entriesOf, FakeDisk } from '../helpers/fake-disk.ts'
import { bench, BORN, until } from '../helpers/replica-bench.ts'

t.test('proposals of one turn go to the disk as one batch', async (tt) => {
  const { disk, store, replica, told, propose } = bench(tt)
  const before = replica.status
  for (const name of ['a', 'b', 'c']) propose(name)
  tt.equal(disk.batches.length, 0)
  tt.equal(replica.pending, 3)
  await turn()
  tt.equal(disk.batches.length, 1)
  const [batch] = disk.batches
  tt.same(batch && commandsOf(batch).map(({ key }) => key), ['/a', '/b', '/c'])
  tt.match(batch, { seq: before.commits + 1, firstIndex: 3, compactTo: 0 })
  tt.match(batch && entriesOf(batch), [
    { index: 3, term: 2 },
    { index: 4, term: 2 },
    { index: 5, term: 2 },
  ])
  tt.same([batch?.hard, batch?.image], [undefined, undefined])
  tt.same(
    [store.index, told.length, replica.appliedIndex],
    [BORN.storeIndex, 0, BORN.entries],
    'nothing before it is durable',
  )
  tt.equal(replica.lastIndex, BORN.entries + 3)
  disk.commit(2.5)
  tt.same([store.index, replica.appliedIndex, replica.pending], [4, 5, 0])
  tt.same(told, [
    'a: {"action":"set","node":{"key":"/a","value":"a",',
    'b: {"action":"set","node":{"key":"/b","value":"b",',
    'c: {"action":"set","node":{"key":"/c","value":"c",',
  ])
  tt.same(replica.status, {
    commits: before.commits + 1,
    commitMsSum: before.commitMsSum + 2.5,
    isFull: false,
    failed: 0,
    stalledMs: 0,
  })
})

t.test('what comes while the disk is busy is the next batch, whatever its size', async (tt) => {
  const { disk, told, propose } = bench(tt)
  propose('first')
  await turn()
  for (let count = 0; count < 500; count += 1) propose(`n${count}`)
  await turn()
  tt.equal(disk.batches.length, 1, 'one batch at a time')
  disk.commit()
  tt.equal(disk.batches.length, 2, 'the next one leaves at once')
  tt.equal(told.length, 1)
  const [first, second] = disk.batches
  tt.match(second, { seq: (first?.seq ?? 0) + 1, firstIndex: BORN.entries + 2, hard: undefined })
  tt.equal(second && commandsOf(second).length, 500)
  disk.commit()
  tt.equal(told.length, 501)
})

t.test('a refusal of the store is an answer like any other', async (tt) => {
  const { disk, replica, told, propose } = bench(tt)
  propose('dir', '/a/b')
  propose('file', '/a')
  await turn()
  disk.commit()
  tt.equal(told[1], 'file: 102 /a @2')
  const noop = replica.proposeAsync(command({ op: 'noop', time: NOW }))
  await turn()
  disk.commit()
  tt.equal(await noop, undefined)
  tt.equal(replica.appliedIndex, BORN.entries + 3, 'refused writes and no-ops are log entries')
})

t.test('who listens for commits is told how long each took', async (tt) => {
  const { disk, replica, propose } = bench(tt)
  const took: number[] = []
  replica.onCommit((commitMs) => took.push(commitMs))
  propose('a')
  await turn()
  disk.commit(4)
  propose('b')
  await turn()
  disk.commit(5)
  tt.same(took, [4, 5])
})

t.test('an answer for another batch than the one under way is a bug', async (tt) => {
  const { disk, propose } = bench(tt)
  propose('a')
  await turn()
  const [batch] = disk.batches
  if (batch === undefined) throw new Error('no batch')
  disk.commit()
  disk.write(batch)
  tt.throws(() => disk.commit(), {
    message: `disk acknowledged batch ${batch.seq}, none is in flight`,
  })
  disk.write(batch)
  tt.throws(() => disk.fill('full'), {
    message: `disk refused batch ${batch.seq}, none is in flight`,
  })
})

t.test('a proposal that the disk does not take in time is told so', async (tt) => {
  const clock = { now: NOW }
  const { disk, store, replica, told, propose } = bench(tt, { nowMs: () => clock.now })
  propose('stuck')
  await turn()
  clock.now += 6000
  propose('late')
  clock.now += 1001
  await until(() => told.length === 1)
  tt.same(told, ['stuck: 300 etcdserver: request timed out @0'])
  tt.equal(replica.pending, 1, 'the one that came later has time left')
  clock.now += 6000
  await until(() => told.length === 2)
  tt.equal(told[1], 'late: 300 etcdserver: request timed out @0')
  disk.commit()
  disk.commit()
  tt.equal(
    store.index,
    BORN.storeIndex + 2,
    'they are applied all the same, once the disk has them',
  )
  tt.equal(told.length, 2, 'and nobody is told twice')
})

t.test('a clock that is set neither keeps a proposal waiting nor ends it early', async (tt) => {
  const clock = { now: NOW, wall: NOW }
  const { told, propose } = bench(tt, { nowMs: () => clock.now, wallMs: () => clock.wall })
  propose('stuck')
  await turn()
  clock.wall += 3_600_000
  clock.now += 6999
  propose('late')
  clock.wall -= 7_200_000
  clock.now += 2
  await until(() => told.length > 0)
  tt.same(told, ['stuck: 300 etcdserver: request timed out @0'])
})

t.test('each proposal has the whole time, also behind an old one', async (tt) => {
  const clock = { now: NOW }
  const { disk, told, propose } = bench(tt, { nowMs: () => clock.now })
  propose('stuck')
  await turn()
  propose('behind')
  clock.now += 6500
  propose('young')
  clock.now += 501
  await until(() => told.length >= 2)
  tt.same(
    told.map((text) => text.split(':')[0]),
    ['stuck', 'behind'],
    'the youngest has waited for half a second',
  )
  disk.commit()
  disk.commit()
  tt.match(told[2], /^young: \{"action":"set"/, 'and is answered when the disk goes on')
})

t.test('a full disk: what is under way waits for room, what comes is refused', async (tt) => {
  const lines: string[] = []
  const sink = { write: (line: string) => lines.push(line), writableLength: 0 }
  const logger = createLogger({ sink, journal: true })
  const { disk, store, replica, told, propose } = bench(tt, { logger })
  propose('before')
  await turn()
  disk.commit()
  propose('under way')
  await turn()
  propose('behind')
  lines.length = 0
  disk.fill('database or disk is full')
  tt.equal(told.length, 1, 'nobody is told anything yet')
  propose('while full')
  tt.equal(told[1], 'while full: 300 etcdserver: no space left on the disk @0', 'at once')
  tt.match(replica.status, { isFull: true, failed: 1 })
  tt.same([store.index, replica.pending], [BORN.storeIndex + 1, 2])

  for (let count = 0; count < 2; count += 1) {
    await until(() => disk.waiting === 1)
    const [before, again] = disk.batches.slice(-2)
    tt.same(
      { ...again, seq: 0 },
      { ...before, seq: 0 },
      'the same batch asks whether there is room',
    )
    tt.equal(again?.seq, (before?.seq ?? 0) + 1)
    if (count === 0) disk.fill('database or disk is full')
    tt.equal(replica.status.isFull, true)
  }
  disk.commit()
  tt.equal(replica.status.isFull, false)
  tt.match(told[2], /^under way: \{"action":"set"/)
  disk.commit()
  tt.match(told[3], /^behind: \{"action":"set"/)
  propose('after')
  await turn()
  disk.commit()
  tt.match(told[4], /^after: \{"action":"set"/)
  tt.equal(store.index, BORN.storeIndex + 4, 'what was refused never happens')
  tt.same(lines, [
    '<3>storage: no room left on the disk, writes are refused file=/data/member/kvd.db message="database or disk is full"\n',
    '<6>storage: there is room again\n',
  ])
})

t.test('who waits for room for too long is told so, once', async (tt) => {
  const clock = { now: NOW }
  const { disk, store, told, propose } = bench(tt, { nowMs: () => clock.now })
  propose('stuck')
  await turn()
  disk.fill('full')
  clock.now += 7001
  await until(() => told.length === 1)
  tt.same(told, ['stuck: 300 etcdserver: request timed out @0'])
  await until(() => disk.waiting === 1)
  disk.commit()
  tt.equal(store.index, BORN.storeIndex + 1, 'it is applied all the same')
  tt.equal(told.length, 1)
})

t.test('more than 64 MiB of proposals that are not committed are refused', async (tt) => {
  const { disk, replica, told, propose } = bench(tt)
  const outcomes: string[] = []
  // Conditions are not told again in an answer, as values are.
  const huge = compareAndSwap('/a', { prevValue: 'x'.repeat(13 << 20) })
  const proposeHuge = (): void => replica.propose(huge, (outcome) => outcomes.push(textOf(outcome)))
  for (let count = 0; count < 2; count += 1) proposeHuge()
  await turn()
  for (let count = 0; count < 2; count += 1) proposeHuge()
  tt.same(outcomes, [])
  proposeHuge()
  tt.same(outcomes, ['300 etcdserver: too many requests @0'], 'not more, on its way or not')
  propose('small')
  tt.equal(replica.pending, 5, 'what fits is taken')
  while (outcomes.length < 2) disk.commit()
  const answered = outcomes.length
  proposeHuge()
  tt.equal(outcomes.length, answered, 'there is room again')
  while (disk.waiting > 0) disk.commit()
  tt.equal(outcomes.filter((outcome) => outcome.startsWith('100 ')).length, 5)
  tt.equal(told.length, 1)
})

t.test('a failed disk is passed on', async (tt) => {
  const disk = new FakeDisk()
  const failures: DiskError[] = []
  bench(tt, { disk, onFailure: (error) => failures.push(error) })
  disk.fail({ code: 'IO', message: 'kvd.db: disk I/O error' })
  tt.match(failures, [{ name: 'DiskError', code: 'IO', message: 'kvd.db: disk I/O error' }])
})

t.test(
  'close: everything proposed is answered, the image is written, then nothing more',
  async (tt) => {
    const disk = new FakeDisk({ isInstant: true })
    const { replica, told, propose } = bench(tt, { disk })
    propose('a')
    await turn()
    propose('b')
    const closing = replica.close()
    propose('too late')
    tt.equal(told[0], 'too late: 300 etcdserver: server stopped @0')
    await closing
    tt.match(told.slice(1), [/^a: \{"action"/, /^b: \{"action"/])
    tt.equal(disk.isClosed, true)
    const last = disk.batches.at(-1)
    tt.equal(last?.entries.length, 0)
    tt.match(last?.image, {
      applied: BORN.entries + 2,
      storeIndex: BORN.storeIndex + 2,
      eventFloor: 1,
    })
    tt.match(last?.events, [{ last: 3 }])
    tt.same(
      last?.packs.flatMap((pack) => [...unpackRows(Buffer.from(pack))].map(({ order }) => order)),
      [
        '\u0000/members',
        `\u0000/members/${BIRTH.identity.memberId}`,
        `\u0000/members/${BIRTH.identity.memberId}/raftAttributes`,
        '\u0001/a',
        '\u0001/b',
      ],
    )
  },
)

t.test('close: a proposal of the same turn is not forgotten', async (tt) => {
  const disk = new FakeDisk({ isInstant: true })
  const { replica, told, propose } = bench(tt, { disk })
  propose('a')
  await replica.close()
  await turn()
  tt.equal(told.length, 1, 'it is answered one way or the other')
  tt.equal(disk.batchesTooLate, 0)
})

t.test('close: a replica that did nothing writes nothing', async (tt) => {
  const { disk, replica } = bench(tt, { isStarted: false })
  await replica.close()
  tt.equal(disk.batches.length, 0)
})
