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
  /** What became of the offers, and how many snapshots are open. */
  readonly lines: string[]
  readonly open: { count: number }
  readonly clock: { now: number }
}

function bench(options: Partial<SnapshotOffersOptions> = {}): Bench {
  const lines: string[] = []
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
    freshImage: async () => await Promise.resolve(),
    send: async () => await Promise.resolve(),
    sent: (to, index) => lines.push(`sent ${index} to ${to}`),
    failed: (to, problem) => lines.push(`failed to ${to}: ${problem}`),
    isDistrusted: () => false,
    ...options,
  })
  return { offers, lines, open, clock }
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
  const { offers, lines, open } = bench({
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
    await until(() => lines.length === all.length)
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
