import t from 'tap'
import type { Proposal } from '../../src/raft/types.ts'
import { Bench, ELECTION_TICKS, START_MS } from '../helpers/raft-lab.ts'

const HOUR = 3_600_000
const three = ['a', 'b', 'c']

/** A member with clocks that the test sets; `stamps` are the times that its requests were given. */
function bench(voters: readonly string[] = three): {
  at: Bench
  clocks: { wall: number; elapsed: number }
  stamps: number[]
} {
  const clocks = { wall: START_MS, elapsed: 50 }
  const stamps: number[] = []
  const stamp = (proposal: Proposal, clusterMs: number): Proposal => {
    stamps.push(clusterMs)
    return { ...proposal, data: new Uint8Array([stamps.length]) }
  }
  const options = { clock: () => clocks.wall, elapsed: () => clocks.elapsed, stamp }
  return { at: new Bench('a', voters, { options }), clocks, stamps }
}

/** Leader in term 1, elected by a vote that came with this clock. */
function lead(at: Bench, from: string, wallMs: number): void {
  at.tick(2 * ELECTION_TICKS)
  at.receive(from, 1, { type: 'preVoteResp', isGranted: true })
  at.receive(from, 1, { type: 'voteResp', isGranted: true, wallMs })
}

t.test('a request is stamped once, by the leader that puts it into its log', async (tt) => {
  const { at, stamps } = bench()
  at.receive('b', 1, { type: 'hb', commit: 0, life: 1, readBatch: 0, clusterMs: START_MS })
  at.propose('x')
  tt.same(
    [stamps, at.take('prop').map(({ proposal }) => proposal.data)],
    [[], [new Uint8Array([1])]],
  )

  const leader = bench()
  lead(leader.at, 'b', START_MS)
  leader.at.propose('x')
  leader.at.propose('c', { type: 'none' })
  tt.same(leader.stamps, [START_MS], 'changes of the configuration have no time')
  tt.same(leader.at.core.view.log.at(2)?.data, new Uint8Array([1]), 'what the stamp made of it')
})

t.test('one wrong clock changes nothing', async (tt) => {
  for (const wrong of [-HOUR, HOUR]) {
    const own = bench()
    own.clocks.wall += wrong
    lead(own.at, 'b', START_MS)
    own.at.receive('c', 1, { type: 'hbResp', readBatch: 0, wallMs: START_MS, isDamaged: false })
    tt.equal(own.at.core.clusterNow(), START_MS, 'its own')

    const other = bench()
    lead(other.at, 'b', START_MS)
    other.at.receive('c', 1, {
      type: 'hbResp',
      readBatch: 0,
      wallMs: START_MS + wrong,
      isDamaged: false,
    })
    tt.equal(other.at.core.clusterNow(), START_MS, 'another’s')
  }
})

t.test('a time counts only when a majority has reached it', async (tt) => {
  const { at } = bench()
  lead(at, 'b', START_MS + HOUR)
  tt.equal(at.core.clusterNow(), START_MS)
  at.receive('c', 1, {
    type: 'hbResp',
    readBatch: 0,
    wallMs: START_MS + 2 * HOUR,
    isDamaged: false,
  })
  tt.equal(at.core.clusterNow(), START_MS + HOUR)
})

t.test('cluster time goes on between two heartbeats, and never back', async (tt) => {
  const { at, clocks } = bench()
  lead(at, 'b', START_MS)
  clocks.elapsed += 10.7
  clocks.wall -= HOUR
  tt.equal(at.core.clusterNow(), START_MS + 10, 'the leader’s clock was set back')
  for (let times = 0; times < 100; times += 1) {
    clocks.elapsed += 0.5
    at.core.clusterNow()
  }
  tt.equal(at.core.clusterNow(), START_MS + 60, 'parts of a millisecond are not lost')
  at.receive('b', 1, { type: 'hbResp', readBatch: 0, wallMs: START_MS - HOUR, isDamaged: false })
  tt.equal(at.core.clusterNow(), START_MS + 60, 'all clocks were set back')
  clocks.elapsed += 5
  tt.equal(at.core.clusterNow(), START_MS + 65)
})

t.test('a new leader goes on from what the one before has told', async (tt) => {
  const { at, clocks } = bench()
  tt.equal(at.core.clusterNow(), 0, 'nothing is known')
  at.receive('b', 1, { type: 'hb', commit: 0, life: 1, readBatch: 0, clusterMs: START_MS + HOUR })
  at.receive('b', 1, { type: 'hb', commit: 0, life: 1, readBatch: 0, clusterMs: START_MS })
  clocks.elapsed += 7
  tt.equal(at.core.clusterNow(), START_MS + HOUR + 7)
  at.lead('b')
  tt.equal(at.core.clusterNow(), START_MS + HOUR + 7)
  clocks.wall = START_MS + 2 * HOUR
  at.receive('b', 2, {
    type: 'hbResp',
    readBatch: 0,
    wallMs: START_MS + 2 * HOUR,
    isDamaged: false,
  })
  tt.equal(at.core.clusterNow(), START_MS + 2 * HOUR, 'until the clocks are later')
})

t.test('cluster time is never before what has expired', async (tt) => {
  const { at, clocks } = bench(['a'])
  clocks.wall = START_MS - HOUR
  at.core.syncedTo(START_MS)
  at.lead()
  clocks.elapsed += 3
  tt.equal(at.core.clusterNow(), START_MS + 3)
})

t.test(
  'heartbeats carry the cluster’s time one way, and the member’s clock the other',
  async (tt) => {
    const leader = bench()
    leader.clocks.wall += HOUR
    lead(leader.at, 'b', START_MS)
    leader.at.take('hb')
    leader.at.tick()
    tt.match(leader.at.take('hb'), [{ clusterMs: START_MS }, { clusterMs: START_MS }])

    const follower = bench()
    follower.clocks.wall += 1
    follower.at.receive('b', 1, { type: 'hb', commit: 0, life: 1, readBatch: 0, clusterMs: 5 })
    tt.match(follower.at.take('hbResp'), [{ wallMs: START_MS + 1 }])
  },
)
