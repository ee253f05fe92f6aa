import { Buffer } from 'node:buffer'
import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { Batch } from '../../src/storage/messages.ts'
import { unpackRows } from '../../src/storage/rows.ts'
import { Images } from '../../src/replica/images.ts'
import { command } from '../../src/store/command.ts'
import { Store } from '../../src/store/store.ts'
import { NOW, set } from '../helpers/commands.ts'
import { entriesOf, FakeDisk } from '../helpers/fake-disk.ts'
import { bench, until } from '../helpers/replica-bench.ts'

t.test('changed nodes go to the disk before an image asks for them', async (tt) => {
  const disk = new FakeDisk({ isInstant: true })
  const { replica } = bench(tt, { disk, snapshotCount: 100 })
  for (let count = 0; count < 95; count += 1) {
    replica.propose(set(`/${count}`), () => undefined)
    await until(() => replica.pending === 0)
  }
  const rowsOf = ({ packs }: Batch): number =>
    packs.flatMap((pack) => [...unpackRows(Buffer.from(pack))]).length
  const packed = disk.batches.map(rowsOf).filter((rows) => rows > 0)
  tt.same(
    packed,
    Array.from({ length: 9 }, () => 10),
    'a tenth of an image at a time',
  )
  for (let count = 0; count < 10; count += 1) {
    replica.propose(set(`/${count}`), () => undefined)
    await until(() => replica.pending === 0)
  }
  await until(() => disk.waiting === 0)
  const last = disk.batches.find(({ image }) => image !== undefined)
  tt.match(last?.image, { applied: 100, count: 95 + 3, events: [{ last: 99 }] })
  tt.ok(last !== undefined && rowsOf(last) <= 10, 'the image itself has little to carry')
})

t.test('large values bring the image early, and rows without room come again', async (tt) => {
  const disk = new FakeDisk()
  const { replica } = bench(tt, { disk })
  const sizes: number[] = []
  for (let count = 0; count < 14; count += 1) {
    replica.propose(set(`/${count}`, { value: 'x'.repeat(1 << 20) }), () => undefined)
    await turn()
    const batch = disk.batches.at(-1)
    if (count === 5) {
      disk.fill('full')
      await until(() => disk.waiting === 1)
      tt.same(disk.batches.at(-1)?.packs, batch?.packs, 'the same rows')
    }
    disk.commit()
    sizes.push(batch?.packs.length ?? 0)
  }
  tt.ok(
    sizes.every((size) => size <= 1),
    `${sizes.join()} packs a batch`,
  )
  tt.ok(
    disk.batches.some(({ image }) => image !== undefined),
    'after 8 MiB, not 10,000 entries',
  )
})

t.test('the log does not grow when a batch brings more than a piece', async (tt) => {
  const disk = new FakeDisk({ isInstant: true })
  const { replica } = bench(tt, { disk, snapshotCount: 10_000 })
  for (let round = 0; round < 30; round += 1) {
    for (let count = 0; count < 4000; count += 1)
      replica.propose(command({ op: 'noop', time: NOW }), () => undefined)
    await until(() => replica.pending === 0)
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
    const images = new Images(store, 100, 0, 1)
    store.apply(set('/a', { value: 'then' }))
    images.freeze(1)
    store.apply(set('/a', { value: 'later' }))
    images.freeze(2)
    images.want()
    tt.ok(images.isDue(2))
    const valuesOf = ({ packs }: Pick<Batch, 'packs'>): string[] =>
      packs.flatMap((pack) =>
        [...unpackRows(Buffer.from(pack))].map(({ node }) => String(node?.value)),
      )
    const first = images.take(2, true)
    tt.match(first.image, { applied: 1, storeIndex: 1, events: [{ last: 1 }] })
    tt.same(valuesOf(first), ['then'])
    tt.ok(images.isWanted, 'the later one comes later')
    const second = images.take(2, images.isDue(2))
    tt.match(second.image, { applied: 2, storeIndex: 2 })
    tt.same(valuesOf(second), ['later'])
    tt.notOk(images.isDue(2))
    images.freeze(2)
    images.restart(9)
    tt.notOk(images.isDue(9), 'a snapshot takes the place of everything')
  },
)

t.test(
  'the image follows every snapshot-count entries, the log does not grow for ever',
  async (tt) => {
    const disk = new FakeDisk({ isInstant: true })
    const { replica } = bench(tt, { disk, snapshotCount: 10_000 })
    const entries = 120_000
    for (let count = 0; count < entries; count += 1) {
      replica.propose(command({ op: 'noop', time: NOW }), () => undefined)
      if (count % 500 === 499) await until(() => replica.pending === 0)
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
