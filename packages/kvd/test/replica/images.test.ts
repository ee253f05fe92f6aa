import { Buffer } from 'node:buffer'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { Images, NO_ROWS, type Rows } from '../../src/replica/images.ts'
import type { Replica } from '../../src/replica/replica.ts'
import type { Batch } from '../../src/storage/messages.ts'
import { unpackRows } from '../../src/storage/rows.ts'
import { command } from '../../src/store/command.ts'
import { Store } from '../../src/store/store.ts'
import { NOW, set, update } from '../helpers/commands.ts'
import { entriesOf, FakeDisk } from '../helpers/fake-disk.ts'
import { bench, until } from '../helpers/replica-bench.ts'

const rowsOf = ({ packs }: Batch): number =>
  packs.flatMap((pack) => [...unpackRows(Buffer.from(pack))]).length

async function write(replica: Replica, key: string): Promise<void> {
  replica.propose(set(key), () => undefined)
  await until(() => replica.pending === 0)
}

t.test('changed nodes go to the disk when an image is due, in pieces', async (tt) => {
  const disk = new FakeDisk({ isInstant: true })
  const clock = { ms: 0 }
  const { replica } = bench(tt, { disk, snapshotCount: 100, elapsedMs: () => clock.ms })
  for (let count = 0; count < 150; count += 1) await write(replica, `/${count % 90}`)
  tt.same(
    disk.batches.filter((batch) => rowsOf(batch) > 0),
    [],
    'none before it is time, whatever number of entries came',
  )
  clock.ms = 150
  for (let count = 0; count < 12; count += 1) await write(replica, `/${count}`)
  await until(() => disk.waiting === 0)
  const packed = disk.batches.map(rowsOf).filter((rows) => rows > 0)
  tt.ok(packed.length >= 9 && packed.every((rows) => rows <= 10), `rows: ${packed.join()}`)
  const image = disk.batches.find((batch) => batch.image !== undefined)
  tt.match(image?.image, { count: 90 + 3, eventFloor: 1 })
  tt.equal(
    image,
    disk.batches.findLast((batch) => rowsOf(batch) > 0),
    'the last piece makes it',
  )
})

t.test('a busy member has an image after twenty times as many entries', async (tt) => {
  const disk = new FakeDisk({ isInstant: true })
  const { replica } = bench(tt, { disk, snapshotCount: 100 })
  for (let count = 0; count < 4500; count += 1) await write(replica, `/${count % 90}`)
  await until(() => disk.waiting === 0)
  const images = disk.batches.flatMap(({ image }) => image?.applied ?? [])
  tt.equal(images.length, 2, images.join())
  for (const [at, applied] of images.entries())
    tt.ok(applied - (images[at - 1] ?? 0) < 2000 + 30, `${applied}: the pieces take a few batches`)
  const rows = disk.batches.reduce((sum, batch) => sum + rowsOf(batch), 0)
  tt.ok(rows <= 2 * (93 + 30), `${rows} rows for 4500 writes`)
})

t.test('a batch that changes more than a piece takes more along', async (tt) => {
  const store = new Store({ historySize: 10 })
  const clock = { ms: 0 }
  const images = new Images({
    store,
    snapshotCount: 10_000,
    index: 0,
    firstIndex: 1,
    elapsedMs: () => clock.ms,
    phase: 0,
  })
  let applied = 0
  const batch = (nodes: number): Rows => {
    for (let count = 0; count < nodes; count += 1) store.apply(set(`/${(applied += 1)}`))
    return images.take(applied, 0)
  }
  tt.same(batch(30_000), NO_ROWS)
  clock.ms = 14_999
  tt.same([batch(10), images.isDue(applied)], [NO_ROWS, false])
  clock.ms = 15_000
  tt.equal(images.isDue(applied), true)
  const pieces: number[] = []
  for (let count = 0; count < 100 && images.isDue(applied); count += 1) {
    const rows = batch(2000)
    pieces.push(rows.packs.flatMap((pack) => [...unpackRows(Buffer.from(pack))]).length)
    tt.equal(rows.image !== undefined, store.dirtyCount === 0)
  }
  tt.equal(images.index, applied)
  tt.ok(pieces.length <= 20 && pieces.every((nodes) => nodes <= 4000), pieces.join())
  tt.same(batch(3000), NO_ROWS)
  images.want()
  tt.equal(images.isUrgent(applied), true)
  const wanted = [1, 2, 3].map(() => images.take(applied, 0))
  tt.same(
    wanted.map(({ image }) => image?.applied),
    [undefined, undefined, applied],
    'whoever waits for it gets it in pieces too, one behind the other',
  )
  images.want()
  tt.equal(images.isUrgent(applied), false, 'there is nothing that it could add')
  tt.same(images.take(applied, 0), NO_ROWS)
  images.restart(applied)
  tt.equal(batch(1).image, undefined, 'the wish went with the store')
})

t.test('members write their images at different times', async (tt) => {
  const dueAt = (phase: number, step: (clock: { ms: number }) => number): number => {
    const clock = { ms: 0 }
    const store = new Store({ historySize: 10 })
    const elapsedMs = (): number => clock.ms
    const images = new Images({
      store,
      snapshotCount: 100,
      index: 0,
      firstIndex: 1,
      elapsedMs,
      phase,
    })
    store.apply(set('/a'))
    let batches = 1
    while (images.take(100 + batches, step(clock)).image === undefined) batches += 1
    return batches
  }
  for (const [what, step, entries] of [
    ['the time', (clock: { ms: number }) => ((clock.ms += 0.5), 0), [300, 285, 225]],
    ['the entries', () => 0, [1900, 1800, 1400]],
    ['their length', () => 1 << 20, [32, 31, 24]],
  ] as const)
    tt.same(
      [0, 0.2, 1].map((phase) => dueAt(phase, step)),
      entries,
      what,
    )
})

t.test('an image that is due goes on when nobody writes', async (tt) => {
  const disk = new FakeDisk({ isInstant: true })
  const clock = { ms: 0 }
  const { replica } = bench(tt, { disk, snapshotCount: 20, elapsedMs: () => clock.ms })
  for (let count = 0; count < 20; count += 1) await write(replica, `/${count % 3}`)
  clock.ms = 30
  await until(() => disk.batches.some(({ image }) => image !== undefined))
  tt.equal(disk.batches.at(-1)?.image?.applied, replica.lastIndex)
})

t.test('large values bring the image early, and rows without room come again', async (tt) => {
  const disk = new FakeDisk()
  const { replica } = bench(tt, { disk })
  const batches: Batch[] = []
  for (let count = 0; count < 80; count += 1) {
    replica.propose(set(`/${count}`, { value: 'x'.repeat(1 << 20) }), () => undefined)
    await turn()
    const batch = disk.batches.at(-1)
    if (batch !== undefined) batches.push(batch)
    if (count === 45) {
      disk.fill('full')
      await until(() => disk.waiting === 1)
      tt.ok((batch?.packs.length ?? 0) > 0)
      tt.same(disk.batches.at(-1)?.packs, batch?.packs, 'the same rows')
    }
    disk.commit()
  }
  const sizes = batches.map(({ packs }) => packs.length)
  tt.ok(
    sizes.every((size) => size <= 3),
    `${sizes.join()} packs a batch: twice what it brings, and a row is not cut`,
  )
  tt.same(sizes.slice(0, 30), Array<number>(30).fill(0), 'nothing ahead of time')
  tt.ok(
    batches.some(({ image }) => image !== undefined),
    'after 32 MiB, not 10,000 entries',
  )
})

t.test('commands that change nothing are a log to replay as well', async (tt) => {
  const disk = new FakeDisk({ isInstant: true })
  const { replica } = bench(tt, { disk })
  const value = 'x'.repeat(1 << 20)
  for (let count = 0; count < 34; count += 1) {
    replica.propose(update('/missing', { value }), () => undefined)
    await until(() => replica.pending === 0)
  }
  tt.ok(disk.batches.some(({ image }) => image !== undefined))
})

t.test('the log does not grow when a batch brings more than a piece', async (tt) => {
  const disk = new FakeDisk({ isInstant: true })
  const clock = { ms: 0 }
  const { replica } = bench(tt, { disk, snapshotCount: 10_000, elapsedMs: () => clock.ms })
  for (let round = 0; round < 30; round += 1) {
    for (let count = 0; count < 4000; count += 1)
      replica.propose(command({ op: 'noop', time: NOW }), () => undefined)
    await until(() => replica.pending === 0)
    clock.ms += 6000
  }
  await until(() => disk.waiting === 0)
  const compacted = Math.max(...disk.batches.map(({ compactTo }) => compactTo))
  tt.ok(
    replica.lastIndex - compacted <= 40_000,
    `${replica.lastIndex - compacted} entries are left`,
  )
})

t.test(
  'an image that is asked for at an entry is of that entry, whatever the disk does',
  async (tt) => {
    const store = new Store({ historySize: 10 })
    const images = new Images({
      store,
      snapshotCount: 100,
      index: 0,
      firstIndex: 1,
      elapsedMs: () => 0,
      phase: 0,
    })
    store.apply(set('/a', { value: 'then' }))
    images.freeze(1)
    store.apply(set('/a', { value: 'later' }))
    images.freeze(2)
    images.want()
    tt.ok(images.isDue(2) && images.isUrgent(2))
    const valuesOf = ({ packs }: Pick<Batch, 'packs'>): string[] =>
      packs.flatMap((pack) =>
        [...unpackRows(Buffer.from(pack))].map(({ node }) => String(node?.value)),
      )
    const first = images.take(2, 0)
    tt.match(first.image, { applied: 1, storeIndex: 1 })
    tt.match(first.events, [{ last: 1 }])
    tt.same(valuesOf(first), ['then'])
    tt.ok(images.isWanted, 'the later one comes later')
    const second = images.take(2, 0)
    tt.match(second.image, { applied: 2, storeIndex: 2 })
    tt.same(valuesOf(second), ['later'])
    tt.notOk(images.isDue(2))
    store.apply(set('/b'))
    images.freeze(3)
    store.apply(set('/c'))
    tt.match(images.takeLast(4).image, { applied: 3 }, 'the last one too')
    images.freeze(4)
    images.restart(9)
    tt.notOk(images.isDue(9), 'a snapshot takes the place of everything')
  },
)

t.test(
  'the image follows every snapshot-count entries, the log does not grow for ever',
  async (tt) => {
    const disk = new FakeDisk({ isInstant: true })
    const clock = { ms: 0 }
    const { replica } = bench(tt, { disk, snapshotCount: 10_000, elapsedMs: () => clock.ms })
    const entries = 120_000
    for (let count = 0; count < entries; count += 1) {
      replica.propose(command({ op: 'noop', time: NOW }), () => undefined)
      if (count % 500 !== 499) continue
      await until(() => replica.pending === 0)
      clock.ms += 750
    }
    await until(() => disk.waiting === 0)
    const images = disk.batches.flatMap(({ image }) => image?.applied ?? [])
    tt.ok(images.length >= entries / 10_000 - 1, `${images.length} images`)
    let log = 0
    let longest = 0
    let firstIndex = 1
    let imageIndex = 0
    for (const batch of disk.batches) {
      log += entriesOf(batch).length
      // A batch may bring neither entries nor an image, under load.
      imageIndex = batch.image?.applied ?? imageIndex
      if (batch.compactTo > 0) {
        const upTo = batch.compactTo
        tt.ok(upTo - firstIndex < 1000, 'in pieces')
        log -= upTo - firstIndex + 1
        firstIndex = upTo + 1
        tt.ok(upTo <= imageIndex - 5000, `dropped to ${upTo}, 5000 entries stay for slow followers`)
      }
      longest = Math.max(longest, log)
    }
    tt.ok(longest <= 40_000, `the log held ${longest} entries`)
  },
)
