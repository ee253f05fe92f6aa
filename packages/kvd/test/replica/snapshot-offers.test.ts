import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { MessageOf } from '../../src/raft/types.ts'
import { SnapshotOffers, type SnapshotOffersOptions } from '../../src/replica/snapshot-offers.ts'
import type { DiskSnapshot } from '../../src/storage/disk.ts'
import { createStats } from '../../src/store/stats.ts'

const APPLIED = 7

function offerTo(to: string): MessageOf<'snapOffer'> {
  const meta = { index: 3, term: 1, chain: 0, conf: { voters: ['a', to], learners: [] } }
  return { type: 'snapOffer', from: 'a', to, term: 1, incarnation: 1, meta }
}

interface Bench {
  readonly offers: SnapshotOffers
  /** What is to be done later, and after how many milliseconds. */
  readonly later: { readonly run: () => void; readonly ms: number }[]
  /** What became of the offers, and how many snapshots are open. */
  readonly lines: string[]
  readonly open: { count: number }
  readonly clock: { now: number }
}

function bench(options: Partial<SnapshotOffersOptions> = {}): Bench {
  const lines: string[] = []
  const later: { run: () => void; ms: number }[] = []
  const open = { count: 0 }
  const clock = { now: 1000 }
  const openSnapshot = async (): Promise<DiskSnapshot> => {
    open.count += 1
    return await Promise.resolve({
      head: {
        place: { index: APPLIED, term: 1, chain: 0 },
        storeIndex: 1,
        count: 0,
        stats: createStats(),
      },
      events: [],
      next: async () => await Promise.resolve(undefined),
      close: () => {
        open.count -= 1
      },
    })
  }
  const offers = new SnapshotOffers({
    disk: { openSnapshot },
    nowMs: () => clock.now,
    later: (run, ms) => {
      later.push({ run, ms })
    },
    freshImage: async () => await Promise.resolve(),
    send: async () => await Promise.resolve(),
    sent: (to, index) => lines.push(`sent ${index} to ${to}`),
    failed: (to, problem) => lines.push(`failed to ${to}: ${problem}`),
    isDistrusted: () => false,
    ...options,
  })
  return { offers, later, lines, open, clock }
}

async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await turn()
}

t.test('a snapshot is closed, whatever becomes of it', async (tt) => {
  const ways: [send: SnapshotOffersOptions['send'], line: string][] = [
    [async () => await Promise.resolve(), `sent ${APPLIED} to b`],
    [
      async () => await Promise.reject(new Error('it has no peer URL')),
      'failed to b: it has no peer URL',
    ],
  ]
  for (const [send, line] of ways) {
    const { offers, lines, open } = bench({ send })
    offers.offer(offerTo('b'), APPLIED)
    await until(() => lines.length > 0)
    tt.same([lines, open.count], [[line], 0])
  }
})

t.test('a snapshot on its way is given up when its sender is found to be wrong', async (tt) => {
  const state = { isWrong: false }
  const { offers, later, lines, open } = bench({
    isDistrusted: () => state.isWrong,
    send: async (_offer, snapshot) => {
      await snapshot.next()
      state.isWrong = true
      // Its end comes behind the events, of which there are none here.
      tt.same([...snapshot.events], [])
    },
  })
  const failed = 'failed to b: this member has diverged'
  for (const all of [[failed], [failed, failed]]) {
    offers.offer(offerTo('b'), APPLIED)
    await until(() => lines.length + later.length === all.length)
    for (const { run } of later.splice(0)) run()
    tt.same([lines, open.count], [all, 0])
  }
})

t.test('what a member needs behind its snapshot is held for a while', async (tt) => {
  const { offers, lines, clock } = bench()
  tt.equal(offers.heldIndex, Infinity)
  offers.offer(offerTo('b'), APPLIED - 1)
  tt.equal(offers.heldIndex, APPLIED - 1, 'while it is on its way')
  await until(() => lines.length > 0)
  tt.equal(offers.heldIndex, APPLIED)
  clock.now += 30_001
  tt.equal(offers.heldIndex, Infinity)
})

t.test('two are on their way at most, and one to each member', async (tt) => {
  let letGo: () => void = () => undefined
  const held = new Promise<void>((resolve) => {
    letGo = resolve
  })
  const { offers, lines, open } = bench({ send: async () => await held })
  for (const to of ['b', 'b', 'c', 'd']) offers.offer(offerTo(to), APPLIED)
  await until(() => lines.length === 1)
  tt.same(lines, ['failed to d: too many snapshots are on their way'])
  tt.equal(open.count, 2)
  letGo()
  await until(() => lines.length === 3)
  tt.same(lines.slice(1), [`sent ${APPLIED} to b`, `sent ${APPLIED} to c`])
  tt.equal(open.count, 0)
})

t.test('a member whose snapshots fail is offered the next one later and later', async (tt) => {
  const state = { fails: true }
  const problem = new Error('it went away')
  const { offers, later, lines } = bench({
    send: async () => await (state.fails ? Promise.reject(problem) : Promise.resolve()),
  })
  const waits: number[] = []
  const fail = async (): Promise<void> => {
    const told = lines.length
    offers.offer(offerTo('b'), APPLIED)
    await until(() => lines.length > told || later.length > 0)
    for (const { run, ms } of later.splice(0)) {
      tt.equal(lines.length, told, 'not before')
      waits.push(ms)
      run()
    }
    tt.same(lines.slice(told), ['failed to b: it went away'])
  }
  for (let count = 0; count < 8; count += 1) await fail()
  tt.same(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
  state.fails = false
  offers.offer(offerTo('b'), APPLIED)
  await until(() => lines.at(-1) === `sent ${APPLIED} to b`)
  state.fails = true
  await fail()
  tt.equal(waits.length, 7, 'one that arrived makes up for all')
})

t.test('an old failure does not end the snapshot that has taken its place', async (tt) => {
  let goes = false
  let arrive: () => void = () => undefined
  const arrival = new Promise<void>((resolve) => {
    arrive = resolve
  })
  const { offers, later, lines } = bench({
    send: async () => await (goes ? arrival : Promise.reject(new Error('no'))),
  })
  for (let count = 1; count <= 2; count += 1) {
    offers.offer(offerTo('b'), APPLIED)
    await until(() => lines.length + later.length === count)
  }
  goes = true
  offers.offer(offerTo('b'), APPLIED)
  for (const { run } of later) run()
  tt.same(lines, ['failed to b: no'])
  arrive()
  await until(() => lines.length === 2)
  for (const { run } of later) run()
  tt.same(lines, ['failed to b: no', `sent ${APPLIED} to b`], 'nor one that has arrived')
})
