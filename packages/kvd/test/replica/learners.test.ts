import t from 'tap'
import { Learners } from '../../src/replica/learners.ts'
import { NO_NETWORK } from '../../src/replica/options.ts'
import { Bench, ELECTION_TICKS, START_MS } from '../helpers/raft-lab.ts'

const TICK_MS = 100
const ELECTION_MS = TICK_MS * ELECTION_TICKS

interface Lab {
  readonly bench: Bench
  readonly ready: () => readonly string[]
  readonly clock: { now: number; since: number | undefined }
}

/** A leader with a learner that has all of its log. */
function lab(): Lab {
  const bench = new Bench('a', ['a', 'b'], { learners: ['d'] }).lead('b')
  for (const id of ['b', 'd']) bench.receive(id, 1, { type: 'appResp', index: 1, isDamaged: false })
  const clock: Lab['clock'] = { now: START_MS, since: START_MS }
  const learners = new Learners(
    {
      nowMs: () => clock.now,
      tickMs: TICK_MS,
      electionTicks: ELECTION_TICKS,
      network: { ...NO_NETWORK, connectedSince: () => clock.since },
    },
    bench.core,
  )
  return { bench, ready: () => learners.takeReady(), clock }
}

t.test('a learner is ready when it has been level for an election timeout', async (tt) => {
  const { ready, clock } = lab()
  tt.same(ready(), [])
  clock.now += ELECTION_MS - 1
  tt.same(ready(), [])
  clock.now += 1
  tt.same(ready(), ['d'])
  tt.same(ready(), [], 'once')
})

t.test('one that goes, or is damaged, begins again', async (tt) => {
  const { bench, ready, clock } = lab()
  const beat = (isDamaged: boolean): Bench =>
    bench.receive('d', 1, { type: 'hbResp', readBatch: 0, wallMs: START_MS, isDamaged })
  const breaks: [what: string, begin: () => void, end: () => void][] = [
    ['no way to it', () => (clock.since = undefined), () => (clock.since = clock.now)],
    ['damaged', () => beat(true), () => beat(false)],
  ]
  for (const [what, begin, end] of breaks) {
    tt.same(ready(), [])
    begin()
    clock.now += 2 * ELECTION_MS
    tt.same([ready(), ready()], [[], []], what)
    end()
    tt.same(ready(), [])
    clock.now += ELECTION_MS
    tt.same(ready(), ['d'])
  }
})
