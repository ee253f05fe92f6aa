import t from 'tap'
import type { MessageBody } from '../../src/raft/types.ts'
import { Bench, ELECTION_TICKS, logOf, START_MS } from '../helpers/raft-lab.ts'

const three = ['a', 'b', 'c']

function beat(readBatch: number, isDamaged = false): MessageBody {
  return { type: 'hbResp', readBatch, wallMs: START_MS, isDamaged }
}

/** Leader a of term 1; both others hold its first entry. */
function leader(): Bench {
  const bench = new Bench('a', three).lead('b')
  for (const id of ['b', 'c']) bench.receive(id, 1, { type: 'appResp', index: 1, isDamaged: false })
  bench.take('app')
  return bench
}

/** A damaged member that follows leader a of term 2; it had entries up to 5 and has three. */
function damaged(): Bench {
  const bench = new Bench('c', three, { term: 2, vote: 'a', log: [1, 1, 2], isDamaged: true })
  bench.receive('a', 2, { type: 'hb', commit: 0, life: 1, readBatch: 0, clusterMs: 0 })
  return bench
}

t.test('damage is on the disk before anything is added to the log', async (tt) => {
  const bench = new Bench('c', three, { term: 2, log: [1], isDamaged: true }, false)
  const first = bench.core.ready()
  tt.match(first, { isDurable: true, hard: { term: 2, isDamaged: true } })
  bench.core.persisted(first.seq)
  tt.notOk(bench.core.hasReady(), 'once')
})

/** A damaged member c of term 2 with a log of two entries, whose mark says that five were committed. */
function claiming(): Bench {
  const start = { term: 2, log: [1, 1], commit: 0, isDamaged: true }
  const log = { index: 0, term: 0, chain: 0, entries: logOf([1, 1]) }
  const hard = { term: 2, vote: 'a', commit: 5, isDamaged: true }
  const conf = { voters: three, learners: [] }
  return new Bench('c', three, { ...start, options: { start: { hard, conf, log, applied: 0 } } })
}

t.test('of a damaged log only what the store has is taken for committed', async (tt) => {
  const { core } = claiming()
  tt.equal(core.view.log.commit, 0, 'others may have replaced the rest')
  tt.equal(core.view.hard.commit, 5, 'the disk goes on saying what is known')
})

t.test('a damaged member is whole only when it knows all that it once knew', async (tt) => {
  const bench = claiming()
  const entries = logOf([1, 1, 2, 2, 2])
  const prev = { prevIndex: 2, prevTerm: 1, prevChain: entries[1]?.chain ?? 0 }
  const whole = { type: 'whole', life: 1, index: 5, lastTerm: 2 } as const
  bench.receive('a', 2, { type: 'app', ...prev, entries: entries.slice(2), commit: 4 })
  tt.ok(bench.receive('a', 2, whole).core.view.isDamaged, 'it was told less')
  bench.receive('a', 2, { type: 'hb', commit: 5, life: 1, readBatch: 0, clusterMs: 0 })
  tt.notOk(bench.receive('a', 2, whole).core.view.isDamaged)
})

t.test('a damaged member does not count for a commit, a read or the quorum', async (tt) => {
  const bench = leader().propose('x')
  bench.receive('c', 1, { type: 'appResp', index: 2, isDamaged: true })
  tt.equal(bench.core.view.log.commit, 1, 'no commit by its word')
  bench.core.readIndex('r')
  bench.pump()
  const round = bench.take('hb').at(-1)?.readBatch ?? 0
  bench.receive('c', 1, beat(round, true))
  tt.same(bench.readable, [], 'no read')
  for (let tick = 0; tick < 2 * ELECTION_TICKS; tick += 1)
    bench.receive('c', 1, beat(0, true)).tick()
  tt.equal(bench.core.view.role, 'follower', 'no quorum')
})

t.test(
  'a leader says that a damaged member is whole when a quorum without it has answered',
  async (tt) => {
    const bench = leader()
    bench.receive('c', 1, beat(0, true), 2)
    bench.propose('x').tick()
    const round = bench.take('hb').at(-1)?.readBatch ?? 0
    bench.receive('c', 1, beat(round, true), 2)
    tt.same(bench.take('whole'), [], 'its own answer proves nothing')
    bench.receive('b', 1, beat(round - 1)).receive('c', 1, beat(round, true), 2)
    tt.same(bench.take('whole'), [], 'nor does one to an earlier heartbeat')
    bench.receive('b', 1, beat(round)).propose('y').receive('c', 1, beat(round, true), 2)
    tt.match(
      bench.take('whole'),
      [{ to: 'c', life: 2, index: 2, lastTerm: 1 }],
      'up to where the log went then',
    )
    bench.receive('c', 1, beat(round, true), 3)
    tt.same(bench.take('whole'), [], 'a new life begins anew')
  },
)

t.test('a damaged member is whole when it holds that log, and votes again', async (tt) => {
  const whole = { type: 'whole', life: 1, index: 3, lastTerm: 2 } as const
  const cases: [what: string, body: MessageBody, isDamaged: boolean][] = [
    ['it holds it', whole, false],
    ['it has less', { ...whole, index: 4 }, true],
    ['it has something else', { ...whole, lastTerm: 1 }, true],
    ['an earlier life was meant', { ...whole, life: 0 }, true],
  ]
  for (const [what, body, isDamaged] of cases)
    tt.equal(damaged().receive('a', 2, body).core.view.isDamaged, isDamaged, what)

  const unsynced = damaged()
  unsynced.isInstant = false
  const entries = logOf([1, 1, 2, 2]).slice(3)
  const prev = { prevIndex: 3, prevTerm: 2, prevChain: logOf([1, 1, 2])[2]?.chain ?? 0 }
  unsynced.receive('a', 2, { type: 'app', ...prev, entries, commit: 0 })
  unsynced.receive('a', 2, { ...whole, index: 4 })
  tt.ok(unsynced.core.view.isDamaged, 'it is not on the disk')
  unsynced.sync().receive('a', 2, { ...whole, index: 4 })
  tt.notOk(unsynced.core.view.isDamaged)
  unsynced.tick(2 * ELECTION_TICKS)
  unsynced.receive('b', 9, { type: 'vote', lastIndex: 9, lastTerm: 9, isTransfer: false }).sync()
  tt.match(unsynced.take('voteResp'), [{ isGranted: true }])
})

t.test('who lacks what it had acknowledged to this leader is told so', async (tt) => {
  const bench = leader()
  bench.receive('c', 1, beat(0), 2)
  tt.match(bench.take('app'), [{ to: 'c', prevIndex: 1 }], 'it is asked for what it had')
  bench.receive('c', 1, { type: 'appReject', index: 1, hintIndex: 0, hintTerm: 0 }, 2)
  tt.match(bench.take('lost'), [{ to: 'c', life: 2 }])
  bench.receive('c', 1, beat(0), 2)
  tt.match(bench.take('lost'), [{ to: 'c', life: 2 }], 'until it knows')
  bench.receive('c', 1, beat(0, true), 2).receive('c', 1, beat(0, true), 2)
  tt.same(bench.take('lost'), [])

  const member = new Bench('c', three)
  member.receive('a', 1, { type: 'lost', life: 2 })
  tt.notOk(member.core.view.isDamaged, 'another life was meant')
  member.isInstant = false
  member.receive('a', 1, { type: 'lost', life: 1 })
  member.receive('b', 2, { type: 'vote', lastIndex: 9, lastTerm: 9, isTransfer: true }).sync()
  tt.match(member.take('voteResp'), [{ isGranted: false }])
})

t.test('an earlier life of a member is not heard any more', async (tt) => {
  const bench = leader().propose('x')
  bench.receive('b', 1, beat(0), 2)
  bench.receive('b', 1, { type: 'appResp', index: 2, isDamaged: false }, 1)
  tt.equal(bench.core.view.log.commit, 1)
  bench.receive('b', 1, { type: 'appResp', index: 2, isDamaged: false }, 2)
  tt.equal(bench.core.view.log.commit, 2)
})

t.test('a heartbeat commits only what this life has acknowledged', async (tt) => {
  const bench = damaged()
  bench.receive('a', 2, { type: 'hb', commit: 5, life: 0, readBatch: 0, clusterMs: 0 })
  tt.equal(bench.core.view.log.commit, 0)
  bench.receive('a', 2, { type: 'hb', commit: 3, life: 1, readBatch: 0, clusterMs: 0 })
  tt.equal(bench.core.view.log.commit, 3)
})
