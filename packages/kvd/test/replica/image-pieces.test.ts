import t from 'tap'
import { Images, NO_ROWS, type Rows } from '../../src/replica/images.ts'
import { unpackEvents } from '../../src/storage/records.ts'
import { Store } from '../../src/store/store.ts'
import { set } from '../helpers/commands.ts'

// Events of large values: all of them at once would be too much memory, in one batch too much of a wait.

/** None is due before it is asked for, or so many entries have come twenty times. */
function imagesOver(store: Store, snapshotCount: number): Images {
  return new Images({
    store,
    snapshotCount,
    index: 0,
    firstIndex: 1,
    elapsedMs: () => 0,
    phase: 0,
  })
}

t.test(
  'events go to the disk in pieces too, each once, and the image waits for them',
  async (tt) => {
    const store = new Store({ historySize: 1000 })
    const images = imagesOver(store, 1000)
    let applied = 0
    const batch = (count: number): Rows => {
      for (let at = 0; at < count; at += 1)
        store.apply(set('/a', { value: `${(applied += 1)}`.padEnd(20_000, 'x') }))
      return images.take(applied, 0)
    }
    tt.same(batch(300), NO_ROWS)
    images.want()
    const batches = [batch(0)]
    while (batches.at(-1)?.image === undefined && batches.length < 99) batches.push(batch(10))
    const rows = batches.flatMap(({ events }) => events)
    tt.same(
      rows.flatMap(({ body }) => unpackEvents(body).map(({ index }) => index)),
      Array.from({ length: applied }, (_, at) => at + 1),
    )
    const sizes = batches.map(({ events }) =>
      events.reduce((sum, { body }) => sum + body.length, 0),
    )
    const came = 10 * 2 * 20_100
    tt.ok(
      sizes.every((size) => size < 2 * came + 1.5 * (1 << 20)),
      `twice what a batch brings, and what a row is cut by: ${sizes.join()}`,
    )
    tt.ok(batches.length > 10 && batches.length < 50, `${batches.length} batches`)
    tt.same(batches.at(-1)?.image?.storeIndex, applied)
    images.want()
    const next = batch(10)
    tt.same(
      next.events.flatMap(({ body }) => unpackEvents(body).map(({ index }) => index)),
      Array.from({ length: 10 }, (_, at) => applied - 9 + at),
      'the next image has what came since',
    )
  },
)

t.test('events that are forgotten before it is their turn are left out', async (tt) => {
  const store = new Store({ historySize: 3 })
  const images = imagesOver(store, 2)
  for (let at = 1; at <= 7; at += 1) store.apply(set(`/${at}`))
  images.want()
  const { events, image } = images.take(7, 0)
  tt.same(
    events.flatMap(({ body }) => unpackEvents(body).map(({ index }) => index)),
    [5, 6, 7],
  )
  tt.equal(image?.eventFloor, 5)
})

t.test('few events wait on the disk for many nodes', async (tt) => {
  const store = new Store({ historySize: 10_000 })
  const images = imagesOver(store, 100)
  let applied = 0
  const apply = (key: string, length: number): void => {
    store.apply(set(key, { value: 'x'.repeat(length) }))
    applied += 1
  }
  for (let at = 0; at < 600; at += 1) apply(`/many/${at}`, 1)
  tt.same(images.take(applied, 0), NO_ROWS)
  images.want()
  let [ahead, batches, isThere] = [0, 0, false]
  for (; batches < 300 && !isThere; batches += 1) {
    for (let at = 0; at < 2; at += 1) apply('/hot', 1 << 19)
    const { events, image } = images.take(applied, 0)
    isThere = image !== undefined
    ahead += events.reduce((sum, { body }) => sum + body.length, 0)
    if (store.dirtyCount > 0) tt.ok(ahead < 72 << 20, `${ahead} characters ahead`)
  }
  tt.ok(isThere && batches > 60 && ahead > 80 << 20, `${batches} batches, ${ahead} characters`)
})

t.test(
  'what is frozen goes to the disk in pieces, and the log stays until it is there',
  async (tt) => {
    const store = new Store({ historySize: 1000 })
    const images = imagesOver(store, 2)
    const value = 'x'.repeat(1 << 19)
    const last = 6_000
    for (let at = 1; at <= 12; at += 1) store.apply(set(`/${at}`, { value }))
    images.freeze(last)
    store.apply(set('/1', { value: 'later' }))
    const batches: Rows[] = []
    const compacted: number[] = []
    while (images.isDue(last + 1) && batches.at(-1)?.image === undefined) {
      batches.push(images.take(last + 1, 0))
      compacted.push(images.compactTo(1))
    }
    tt.ok(batches.length >= 6, `${batches.length} batches`)
    tt.ok(batches.every(({ packs, events }) => packs.length <= 1 && events.length <= 1))
    tt.same(
      batches.flatMap(({ events }) =>
        events.flatMap(({ body }) => unpackEvents(body).map(({ index }) => index)),
      ),
      Array.from({ length: 12 }, (_, at) => at + 1),
      'each event once, and none that came later',
    )
    tt.match(batches.at(-1)?.image, { applied: last, storeIndex: 12, count: 12 })
    tt.same(compacted, [...batches.slice(1).map(() => 0), 1000], 'dropped with the image')
    images.freeze(last + 1)
    images.take(last + 1, 0)
    for (let at = 1; at <= 24; at += 1) store.apply(set(`/${at}`, { value }))
    images.freeze(last + 2)
    const { packs, events } = images.take(last + 2, 5 << 20)
    tt.same([packs.length, events.length], [10, 10], 'twice what a batch brings, when that is more')
  },
)
