import t from 'tap'
import { NONE, type Refused } from '../../src/raft/types.ts'
import { Bench, ELECTION_TICKS, START_MS } from '../helpers/raft-lab.ts'

const three = ['a', 'b', 'c']
const proposal = (id: string): { kind: 'request'; id: string; data: Uint8Array } => {
  return { kind: 'request', id, data: new Uint8Array([1]) }
}

/** Follower b of leader a in term 1, with one committed entry. */
function follower(): Bench {
  const bench = new Bench('b', three, { term: 1, log: [1], commit: 1 })
  bench.receive('a', 1, { type: 'hb', commit: 1, life: 1, readBatch: 0, clusterMs: 0 })
  bench.take('hbResp')
  return bench
}

/** Leader a with an entry of its term committed. */
function leader(): Bench {
  const bench = new Bench('a', three).lead('b')
  bench.receive('b', 1, { type: 'appResp', index: 1, isDamaged: false })
  bench.take('app')
  return bench
}

t.test('without a leader nothing is taken', async (tt) => {
  const bench = new Bench('b', three)
  tt.equal(bench.core.propose(proposal('x')), 'noLeader')
  tt.equal(bench.core.readIndex('r'), 'noLeader')
})

t.test('a follower forwards a proposal once', async (tt) => {
  const bench = follower()
  tt.equal(bench.core.propose(proposal('x')), 'taken')
  bench.pump()
  tt.match(bench.take('prop'), [{ to: 'a', proposal: { id: 'x' } }])
  bench.tick(ELECTION_TICKS - 1)
  tt.same(bench.take('prop'), [], 'it may have arrived: never again')
})

t.test('a proposal is lost when it can be in nobody’s log', async (tt) => {
  const dropped = follower()
  dropped.core.propose(proposal('x'))
  dropped.pump().receive('a', 1, { type: 'propResp', id: 'x', result: { type: 'dropped' } })
  tt.same(dropped.lost, [{ id: 'x', why: 'dropped' }])

  const overwritten = follower()
  overwritten.core.propose(proposal('x'))
  overwritten.pump()
  const result = { type: 'appended', index: 2, term: 1 } as const
  overwritten.receive('a', 1, { type: 'propResp', id: 'x', result })
  tt.same(overwritten.lost, [], 'it is in the leader’s log')
  const { log } = overwritten.core.view
  const entry = { index: 2, term: 2, kind: 'noop', id: '', data: new Uint8Array() } as const
  const chain = overwritten.core.view.options.chain(log.chain(1) ?? 0, entry)
  const app = { type: 'app', prevIndex: 1, prevTerm: 1, prevChain: log.chain(1) ?? 0 } as const
  overwritten.receive('c', 2, { ...app, entries: [{ ...entry, chain }], commit: 1 })
  tt.same(overwritten.lost, [], 'cut off here, it may still be committed elsewhere')
  overwritten.receive('c', 2, { type: 'hb', commit: 2, life: 1, readBatch: 0, clusterMs: 0 })
  tt.same(
    overwritten.lost,
    [{ id: 'x', why: 'overwritten' }],
    'another entry is committed in its place',
  )
})

t.test('the leader says where a forwarded proposal went', async (tt) => {
  const bench = leader()
  bench.receive('c', 1, { type: 'prop', proposal: proposal('x') })
  tt.match(bench.take('propResp'), [
    { to: 'c', id: 'x', result: { type: 'appended', index: 2, term: 1 } },
  ])
  follower().receive('c', 1, { type: 'prop', proposal: proposal('y') })
  const other = follower().receive('c', 1, { type: 'prop', proposal: proposal('y') })
  tt.match(other.take('propResp'), [{ to: 'c', id: 'y', result: { type: 'dropped' } }])
})

t.test('a leader takes no more than it can hold', async (tt) => {
  const bench = new Bench('a', three, { options: { maxUncommittedBytes: 100 } }).lead('b')
  bench.receive('b', 1, { type: 'appResp', index: 1, isDamaged: false })
  const big = { kind: 'request', id: 'x', data: new Uint8Array(90) } as const
  tt.equal(bench.core.propose(big), 'taken', 'one is always taken')
  tt.equal(bench.core.propose(proposal('y')), 'full')
  bench.pump().receive('b', 1, { type: 'appResp', index: 2, isDamaged: false })
  tt.equal(bench.core.propose(proposal('y')), 'taken')
})

t.test(
  'one change of the configuration at a time, after the first entry of the term',
  async (tt) => {
    const bench = new Bench('a', three).lead('b')
    const change = { type: 'addLearner', id: 'd' } as const
    const data = Buffer.from(JSON.stringify(change))
    const conf = (id: string): 'taken' | Refused => bench.core.propose({ kind: 'conf', id, data })
    tt.equal(conf('1'), 'busy', 'the term has committed nothing yet')
    bench.receive('b', 1, { type: 'appResp', index: 1, isDamaged: false })
    tt.equal(conf('2'), 'taken')
    tt.equal(conf('3'), 'busy')
    bench.pump().receive('b', 1, { type: 'appResp', index: 2, isDamaged: false })
    tt.same(bench.core.view.conf, { voters: three, learners: ['d'] })
    tt.equal(conf('4'), 'taken')
  },
)

t.test('a leader that is removed tells the others and goes', async (tt) => {
  const bench = leader()
  bench.propose('x', { type: 'remove', id: 'a' })
  bench.receive('b', 1, { type: 'appResp', index: 2, isDamaged: false })
  tt.match(bench.core.view, { role: 'follower', lead: NONE, conf: { voters: ['b', 'c'] } })
  const { sent } = bench
  tt.match(sent.filter(({ type }) => type === 'hb').slice(-2), [
    { to: 'b', commit: 2 },
    { to: 'c', commit: 0 },
  ])
  tt.match(
    sent.filter(({ type }) => type === 'timeoutNow'),
    [{ to: 'b' }],
  )
})

t.test('nothing comes behind the removal of the leader itself', async (tt) => {
  // Whoever stays may need its vote, and would not get it with a shorter log.
  const bench = leader()
  bench.propose('x', { type: 'remove', id: 'a' })
  tt.equal(bench.core.propose(proposal('y')), 'busy')
  const other = leader()
  other.propose('x', { type: 'remove', id: 'b' })
  tt.equal(other.core.propose(proposal('y')), 'taken', 'behind that of another it does')
})

t.test('who is left alone commits alone', async (tt) => {
  const bench = new Bench('a', ['a', 'b']).lead('b')
  bench.receive('b', 1, { type: 'appResp', index: 1, isDamaged: false })
  bench.propose('x', { type: 'remove', id: 'b' })
  bench.receive('b', 1, { type: 'appResp', index: 2, isDamaged: false })
  bench.propose('y')
  tt.equal(bench.core.view.log.commit, 3)
})

t.test('a read is confirmed by a majority that answers after it', async (tt) => {
  const bench = leader()
  bench.core.readIndex('r1')
  bench.core.readIndex('r2')
  bench.pump()
  const [asked] = bench.take('hb')
  tt.same(bench.readable, [])
  bench.receive('b', 1, {
    type: 'hbResp',
    readBatch: (asked?.readBatch ?? 0) - 1,
    wallMs: START_MS,
    isDamaged: false,
  })
  tt.same(bench.readable, [], 'an answer to an earlier heartbeat proves nothing')
  bench.receive('b', 1, {
    type: 'hbResp',
    readBatch: asked?.readBatch ?? 0,
    wallMs: START_MS,
    isDamaged: false,
  })
  tt.same(bench.readable, [{ index: 1, ids: ['r1', 'r2'] }])
})

t.test('a new leader answers reads when it has committed something itself', async (tt) => {
  const bench = new Bench('a', three, { term: 1, log: [1], commit: 0 }).lead('b')
  bench.core.readIndex('r')
  bench.pump()
  tt.same(bench.take('hb'), [])
  bench.receive('b', 2, { type: 'appResp', index: 2, isDamaged: false })
  const asked = bench.take('hb').at(-1)
  bench.receive('c', 2, {
    type: 'hbResp',
    readBatch: asked?.readBatch ?? 0,
    wallMs: START_MS,
    isDamaged: false,
  })
  tt.same(bench.readable, [{ index: 2, ids: ['r'] }])
})

t.test('a read that is tried again has a new number', async (tt) => {
  const bench = follower()
  bench.core.readIndex('r')
  bench.pump()
  const [first] = bench.take('readIdx')
  for (let tick = 0; tick < ELECTION_TICKS; tick += 1)
    bench.receive('a', 1, { type: 'hb', commit: 1, life: 1, readBatch: 0, clusterMs: 0 }).tick()
  const [second] = bench.take('readIdx')
  tt.not(second?.batch, first?.batch)
  bench.receive('a', 1, { type: 'readIdxResp', batch: first?.batch ?? 0, index: 1 })
  tt.same(bench.readable, [], 'a late answer to the first one is not for it')
  bench.receive('a', 1, { type: 'readIdxResp', batch: second?.batch ?? 0, index: 1 })
  tt.same(bench.readable, [{ index: 1, ids: ['r'] }])
})

t.test('the leader answers the reads of others', async (tt) => {
  const bench = leader()
  bench.receive('c', 1, { type: 'readIdx', batch: 42 })
  const [asked] = bench.take('hb')
  bench.receive('b', 1, {
    type: 'hbResp',
    readBatch: asked?.readBatch ?? 0,
    wallMs: START_MS,
    isDamaged: false,
  })
  tt.match(bench.take('readIdxResp'), [{ to: 'c', batch: 42, index: 1 }])
})

t.test('a lone voter reads without asking', async (tt) => {
  const bench = new Bench('a', ['a']).tick(ELECTION_TICKS)
  bench.core.readIndex('r')
  bench.pump()
  tt.same(bench.readable, [{ index: 1, ids: ['r'] }])
})
