import t, { type Test } from 'tap'
import type { Entry, Message, Ready } from '../../src/raft/types.ts'
import { DiskQueue, type DiskQueueOptions } from '../../src/replica/disk-queue.ts'
import { NO_ROWS } from '../../src/replica/images.ts'
import type { Batch } from '../../src/storage/messages.ts'
import { BIRTH } from '../helpers/alone.ts'
import { entriesOf, FakeDisk } from '../helpers/fake-disk.ts'

function entry(index: number, term: number): Entry {
  return { index, term, kind: 'noop', id: '', data: new Uint8Array(), chain: 0 }
}

/** A message that says which it is. */
function answer(index: number): Message {
  return { type: 'appResp', from: 'a', to: 'b', term: 1, incarnation: 1, index, isDamaged: false }
}

function readyOf(seq: number, fields: Partial<Ready> = {}): Ready {
  const entries = fields.entries ?? []
  return {
    seq,
    isDurable: entries.length > 0 || fields.hard !== undefined,
    soft: undefined,
    hard: undefined,
    entries,
    install: undefined,
    now: [],
    after: [],
    committed: [],
    reads: [],
    lost: [],
    ...fields,
  }
}

interface Bench {
  readonly disk: FakeDisk
  readonly queue: DiskQueue
  /** `seq: index …` of what was released. */
  readonly released: string[]
  readonly clock: { now: number }
  /** `index@term` of each entry of each batch. */
  readonly written: () => string[]
}

function bench(tt: Test, options: Partial<DiskQueueOptions> = {}): Bench {
  const disk = new FakeDisk()
  const clock = { now: 0 }
  const released: string[] = []
  const queue = new DiskQueue({
    disk,
    nowMs: () => clock.now,
    rows: () => ({ ...NO_ROWS, compactTo: 0 }),
    commit: 0,
    released: (seq, after) =>
      released.push(
        `${seq}: ${after.map((one) => (one.type === 'appResp' ? one.index : one.type)).join()}`,
      ),
    ...options,
  })
  disk.listen({
    persisted: (seq) => queue.persisted(seq),
    full: (seq) => queue.full(seq),
    failed: (error) => tt.fail(error.message),
  })
  const textOf = (batch: Batch): string =>
    entriesOf(batch)
      .map(({ index, term }) => `${index}@${term}`)
      .join(' ')
  return { disk, queue, released, clock, written: () => disk.batches.map(textOf) }
}

t.test('what needs no disk leaves at once, while nothing waits for the disk', async (tt) => {
  const { disk, queue, released } = bench(tt)
  queue.add(readyOf(1, { after: [answer(1)] }))
  queue.flush(false)
  tt.same(released, ['1: 1'])
  tt.equal(disk.batches.length, 0)
  tt.equal(queue.isIdle, true)
})

t.test('one batch at a time; all that comes meanwhile is the next one', async (tt) => {
  const { disk, queue, released, written } = bench(tt)
  queue.add(readyOf(1, { entries: [entry(1, 1)], after: [answer(1)] }))
  tt.equal(queue.isIdle, false)
  queue.flush(false)
  tt.same([queue.isBusy, written()], [true, ['1@1']])
  queue.add(readyOf(2, { entries: [entry(2, 1)], after: [answer(2)] }))
  queue.add(readyOf(3, { after: [answer(3)] }))
  queue.add(readyOf(4, { entries: [entry(3, 1)], after: [answer(4)] }))
  queue.flush(true)
  tt.equal(disk.batches.length, 1)
  tt.same(released, [])
  disk.commit()
  tt.same(released, ['1: 1'])
  queue.flush(false)
  tt.same(written(), ['1@1', '2@1 3@1'])
  disk.commit()
  tt.same(released, ['1: 1', '4: 2,3,4'], 'in the order in which they came')
  queue.flush(false)
  tt.same([queue.isIdle, disk.batches.length], [true, 2])
})

t.test('later entries take the place of earlier ones that still wait', async (tt) => {
  const cases: [waiting: Entry[], coming: Entry[], written: string, firstIndex: number][] = [
    [[entry(5, 1), entry(6, 1)], [entry(7, 1)], '5@1 6@1 7@1', 5],
    [[entry(5, 1), entry(6, 1)], [entry(6, 2)], '5@1 6@2', 5],
    [[entry(5, 1), entry(6, 1), entry(7, 1)], [entry(6, 2)], '5@1 6@2', 5],
    [[entry(5, 1), entry(6, 1)], [entry(5, 2), entry(6, 2), entry(7, 2)], '5@2 6@2 7@2', 5],
    [[entry(5, 1), entry(6, 1)], [entry(3, 2)], '3@2', 3],
    [[entry(5, 1), entry(6, 1)], [], '5@1 6@1', 5],
    [[], [entry(9, 1)], '9@1', 9],
  ]
  for (const [waiting, coming, written, firstIndex] of cases) {
    const { disk, queue, ...rest } = bench(tt)
    queue.add(readyOf(1, { entries: waiting, isDurable: true }))
    queue.add(readyOf(2, { entries: coming, isDurable: true }))
    queue.flush(false)
    tt.same(rest.written(), [written], written)
    tt.equal(disk.batches[0]?.firstIndex, firstIndex, written)
  }
})

t.test('what is on its way to the disk is not taken back, but written over', async (tt) => {
  const { disk, queue, released, written } = bench(tt)
  queue.add(readyOf(1, { entries: [entry(5, 1), entry(6, 1)], after: [answer(6)] }))
  queue.flush(false)
  queue.add(readyOf(2, { entries: [entry(5, 2)], after: [answer(5)] }))
  disk.commit()
  queue.flush(false)
  disk.commit()
  tt.same(written(), ['5@1 6@1', '5@2'])
  tt.same(released, ['1: 6', '2: 5'])
})

t.test('term and vote go to the disk when they are news', async (tt) => {
  const { disk, queue } = bench(tt)
  type Hard = NonNullable<Ready['hard']>
  const cases: [hard: Hard | undefined, written: object | undefined][] = [
    [
      { term: 1, vote: '0', commit: 0, isDamaged: false },
      { term: 1, vote: '0', isDamaged: false },
    ],
    [{ term: 1, vote: '0', commit: 7, isDamaged: false }, undefined],
    [
      { term: 1, vote: 'a', commit: 7, isDamaged: false },
      { term: 1, vote: 'a', isDamaged: false },
    ],
    [undefined, undefined],
    [
      { term: 2, vote: 'a', commit: 7, isDamaged: false },
      { term: 2, vote: 'a', isDamaged: false },
    ],
  ]
  for (const [at, [hard, written]] of cases.entries()) {
    queue.add(readyOf(at + 1, { hard, isDurable: true }))
    queue.flush(false)
    tt.same(disk.batches.at(-1)?.hard, written, JSON.stringify(hard))
    disk.commit()
  }
})

t.test('a birth goes with the first batch, and once', async (tt) => {
  const { disk, queue, written } = bench(tt)
  const { identity, entries } = BIRTH
  queue.begin(identity, entries, { term: 1, vote: '0', commit: 1, isDamaged: false })
  tt.equal(queue.isIdle, true, 'it does not need the disk by itself')
  queue.add(readyOf(1, { hard: { term: 2, vote: 'a', commit: 1, isDamaged: false } }))
  queue.flush(false)
  tt.match(disk.batches[0], {
    identity,
    firstIndex: 1,
    hard: { term: 2, vote: 'a', isDamaged: false },
  })
  disk.commit()
  queue.add(readyOf(2, { entries: [entry(2, 2)] }))
  queue.flush(false)
  tt.equal(disk.batches[1]?.identity, undefined)
  tt.same(written(), ['1@1', '2@2'])
})

t.test('without room the same batch comes again, and nothing before it', async (tt) => {
  const { disk, queue, released, clock, written } = bench(tt)
  queue.add(readyOf(1, { entries: [entry(1, 1)], after: [answer(1)] }))
  clock.now = 100
  queue.flush(false)
  clock.now = 150
  tt.equal(queue.stalledMs, 50)
  disk.fill('full')
  queue.add(readyOf(2, { entries: [entry(2, 1)], after: [answer(2)] }))
  queue.add(readyOf(3, { after: [answer(3)] }))
  for (let count = 0; count < 2; count += 1) {
    queue.flush(true)
    tt.same([queue.isBusy, queue.isIdle, disk.waiting], [false, false, 0], 'it waits')
    queue.retry()
    queue.retry()
    tt.equal(disk.waiting, 1, 'one at a time')
    if (count === 0) disk.fill('full')
  }
  clock.now = 1100
  tt.equal(queue.stalledMs, 1000, 'since it was sent first')
  tt.same(released, [])
  disk.commit()
  tt.same(released, ['1: 1'])
  queue.flush(false)
  disk.commit()
  tt.same(released, ['1: 1', '3: 2,3'])
  tt.same(written(), ['1@1', '1@1', '1@1', '2@1'])
  tt.same(
    disk.batches.map(({ seq }) => seq),
    [1, 2, 3, 4],
  )
  tt.equal(queue.stalledMs, 0)
  queue.retry()
  tt.equal(disk.waiting, 0, 'there is nothing to try again')
})

t.test('rows alone are a batch, which releases nothing', async (tt) => {
  const rows = {
    packs: [new Uint8Array([1])],
    events: [{ last: 2, body: '[]' }],
    image: undefined,
    compactTo: 3,
  }
  const asked: number[] = []
  const { disk, queue, released } = bench(tt, {
    rows: (count) => {
      asked.push(count)
      return rows
    },
    commit: 42,
  })
  queue.flush(false)
  tt.equal(disk.batches.length, 0)
  queue.flush(true)
  tt.match(disk.batches[0], { ...rows, entries: { length: 0 }, commit: 42 })
  disk.commit()
  queue.add(readyOf(1, { entries: [entry(1, 1), entry(2, 1)] }))
  queue.flush(false)
  tt.same(asked, [0, 2])
  disk.commit()
  queue.writeLast(NO_ROWS)
  tt.match(disk.batches[2], { entries: { length: 0 }, hard: undefined, commit: 42, compactTo: 0 })
  disk.commit()
  tt.same(released, ['1: '])
})

t.test('a disk that is gone is not waited for', async (tt) => {
  const { disk, queue, released } = bench(tt)
  queue.add(readyOf(1, { entries: [entry(1, 1)] }))
  queue.flush(false)
  queue.add(readyOf(2, { entries: [entry(2, 1)] }))
  queue.abandon()
  tt.same([queue.isIdle, queue.isBusy, queue.stalledMs], [true, false, 0])
  queue.flush(false)
  tt.same([disk.batches.length, released], [1, []])
})
