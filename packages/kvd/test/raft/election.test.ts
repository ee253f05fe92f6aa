import t from 'tap'
import { NONE } from '../../src/raft/types.ts'
import { Bench, ELECTION_TICKS, logOf, START_MS, type StartOptions } from '../helpers/raft-lab.ts'

const three = ['a', 'b', 'c']

t.test('a lone voter leads without asking anybody, once its vote is on the disk', async (tt) => {
  const bench = new Bench('a', ['a'], {}, false).tick(ELECTION_TICKS)
  tt.match(bench.core.view, { role: 'candidate', term: 1, vote: 'a' })
  bench.sync()
  tt.match(bench.core.view, { role: 'leader', lead: 'a' })
  tt.equal(bench.applied.length, 0, 'its first entry waits for the disk as well')
  bench.sync()
  tt.match(bench.applied, [{ kind: 'noop', index: 1, term: 1 }])
})

t.test('a member asks before it raises its term', async (tt) => {
  const bench = new Bench('a', three, { term: 4 }).tick(ELECTION_TICKS)
  tt.match(bench.core.view, { role: 'preCandidate', term: 4 })
  tt.match(bench.take('preVote'), [
    { to: 'b', term: 5 },
    { to: 'c', term: 5 },
  ])
  bench.receive('b', 5, { type: 'preVoteResp', isGranted: true })
  tt.match(bench.core.view, { role: 'candidate', term: 5, vote: 'a' })
  tt.equal(bench.take('vote').length, 2)
  bench.receive('c', 5, { type: 'voteResp', isGranted: true, wallMs: START_MS })
  tt.match(bench.core.view, { role: 'leader', term: 5, lead: 'a' })
})

t.test('own term and vote are on the disk before a request for votes leaves', async (tt) => {
  const bench = new Bench('a', three, {}, false).tick(ELECTION_TICKS)
  bench.receive('b', 1, { type: 'preVoteResp', isGranted: true })
  tt.same(bench.take('vote'), [])
  bench.sync()
  tt.equal(bench.take('vote').length, 2)
})

t.test('a majority of refusals ends a campaign', async (tt) => {
  const bench = new Bench('a', three).tick(ELECTION_TICKS)
  bench.receive('b', 0, { type: 'preVoteResp', isGranted: false })
  tt.equal(bench.core.view.role, 'preCandidate')
  bench.receive('c', 0, { type: 'preVoteResp', isGranted: false })
  tt.match(bench.core.view, { role: 'follower', term: 0, lead: NONE })
})

t.test('the vote rule', async (tt) => {
  // The member has the log [1, 1, 2] and is in term 2.
  const cases: [
    what: string,
    start: StartOptions,
    request: { term: number; lastIndex: number; lastTerm: number },
    isGranted: boolean | undefined,
  ][] = [
    ['as far as we are', {}, { term: 3, lastIndex: 3, lastTerm: 2 }, true],
    ['further', {}, { term: 3, lastIndex: 9, lastTerm: 2 }, true],
    ['a shorter log of a later term', {}, { term: 3, lastIndex: 1, lastTerm: 3 }, true],
    ['a shorter log', {}, { term: 3, lastIndex: 2, lastTerm: 2 }, false],
    ['a longer log of an earlier term', {}, { term: 3, lastIndex: 9, lastTerm: 1 }, false],
    ['voted for another', { vote: 'c' }, { term: 2, lastIndex: 3, lastTerm: 2 }, false],
    ['voted for it', { vote: 'b' }, { term: 2, lastIndex: 3, lastTerm: 2 }, true],
    ['voted for another before', { vote: 'c' }, { term: 3, lastIndex: 3, lastTerm: 2 }, true],
    ['an earlier term', {}, { term: 1, lastIndex: 3, lastTerm: 2 }, undefined],
  ]
  for (const [what, start, request, isGranted] of cases) {
    const bench = new Bench('a', three, { term: 2, log: [1, 1, 2], ...start })
    const { term, lastIndex, lastTerm } = request
    bench.receive('b', term, { type: 'vote', lastIndex, lastTerm, isTransfer: false })
    const answers = bench.take('voteResp')
    tt.same(
      answers.map((answer) => answer.isGranted),
      isGranted === undefined ? [] : [isGranted],
      what,
    )
    if (isGranted === true) tt.equal(bench.core.view.vote, 'b', what)
  }
})

t.test('a vote leaves when it is on the disk, and is not given twice', async (tt) => {
  const bench = new Bench('a', three, {}, false)
  const ask = { type: 'vote', lastIndex: 0, lastTerm: 0, isTransfer: false } as const
  bench.receive('b', 1, ask).receive('c', 1, ask)
  tt.same(bench.take('voteResp'), [])
  bench.sync()
  tt.match(bench.take('voteResp'), [
    { to: 'b', isGranted: true },
    { to: 'c', isGranted: false },
  ])
})

t.test('a pre-vote binds nobody and changes nothing', async (tt) => {
  const bench = new Bench('a', three, { term: 1 })
  for (const from of ['b', 'c'])
    bench.receive(from, 2, { type: 'preVote', lastIndex: 0, lastTerm: 0, isTransfer: false })
  tt.match(bench.take('preVoteResp'), [
    { to: 'b', term: 2, isGranted: true },
    { to: 'c', term: 2, isGranted: true },
  ])
  tt.match(bench.core.view, { term: 1, vote: NONE, role: 'follower' })
})

t.test('who hears a leader does not help to replace it, unless the leader wants it', async (tt) => {
  for (const type of ['preVote', 'vote'] as const)
    for (const isTransfer of [false, true]) {
      const bench = new Bench('a', three).receive('b', 1, {
        type: 'hb',
        commit: 0,
        life: 1,
        readBatch: 0,
        clusterMs: 0,
      })
      bench.take('hbResp')
      bench.receive('c', 2, { type, lastIndex: 0, lastTerm: 0, isTransfer })
      const answers = [...bench.sent]
      tt.equal(
        answers.length,
        isTransfer ? 1 : 0,
        `${type} ${isTransfer ? 'of' : 'without'} a transfer`,
      )
      tt.equal(bench.core.view.term, isTransfer && type === 'vote' ? 2 : 1)
    }
})

t.test('learners, damaged members and those who know no voters do not campaign', async (tt) => {
  const damaged = new Bench('a', three, { isDamaged: true })
  const quiet: [what: string, bench: Bench][] = [
    ['a learner', new Bench('l', three, { learners: ['l'] })],
    ['a joiner', new Bench('j', [])],
    ['a damaged one', damaged],
  ]
  for (const [what, bench] of quiet) {
    bench.tick(5 * ELECTION_TICKS)
    tt.match(bench.core.view, { role: 'follower', term: 0 }, what)
  }
  damaged.receive('b', 1, { type: 'vote', lastIndex: 9, lastTerm: 9, isTransfer: false })
  tt.match(damaged.take('voteResp'), [{ isGranted: false }])
  const learner = new Bench('l', three, { learners: ['l'] })
  learner.receive('b', 1, { type: 'vote', lastIndex: 0, lastTerm: 0, isTransfer: false })
  tt.match(
    learner.take('voteResp'),
    [{ isGranted: true }],
    'but a learner votes: it may be one no more',
  )
})

t.test(
  'nobody campaigns while a committed change of the configuration is not in effect',
  async (tt) => {
    const [bare] = logOf([1])
    if (bare === undefined) throw new Error('no entry')
    const log = { index: 0, term: 0, chain: 0, entries: [{ ...bare, kind: 'conf' as const }] }
    const conf = { voters: three, learners: [] }
    const hard = { term: 1, vote: NONE, commit: 1, isDamaged: false }
    const { core } = new Bench('a', three, { options: { start: { hard, conf, log, applied: 0 } } })
    for (let tick = 0; tick < 3 * ELECTION_TICKS; tick += 1) core.tick()
    tt.match(core.view, { role: 'follower', term: 1 })
    core.ready()
    core.applyConf({ type: 'none' })
    core.applied(1)
    for (let tick = 0; tick < 3 * ELECTION_TICKS; tick += 1) core.tick()
    tt.equal(core.view.role, 'preCandidate')
  },
)

t.test('a leader that a majority does not answer stands down', async (tt) => {
  const bench = new Bench('a', three).lead('b')
  bench.receive('b', 1, { type: 'hbResp', readBatch: 0, wallMs: START_MS, isDamaged: false })
  bench.tick(ELECTION_TICKS)
  tt.equal(bench.core.view.role, 'leader', 'one of two is a majority with itself')
  bench.tick(ELECTION_TICKS)
  tt.match(bench.core.view, { role: 'follower', lead: NONE, term: 1 })
})

t.test('messages of earlier terms', async (tt) => {
  const bench = new Bench('a', three, { term: 5 })
  bench.receive('b', 4, { type: 'hb', commit: 0, life: 1, readBatch: 0, clusterMs: 0 })
  tt.match(
    bench.take('appResp'),
    [{ to: 'b', term: 5, index: 0 }],
    'an old leader hears of the new term',
  )
  bench.receive('b', 4, { type: 'preVote', lastIndex: 9, lastTerm: 4, isTransfer: false })
  tt.match(bench.take('preVoteResp'), [{ term: 5, isGranted: false }])
  for (const body of [
    { type: 'voteResp', isGranted: true, wallMs: START_MS },
    { type: 'appResp', index: 1, isDamaged: false },
    { type: 'timeoutNow' },
  ] as const)
    bench.receive('b', 4, body)
  tt.same(bench.sent, [], 'everything else is ignored')
  tt.match(bench.core.view, { term: 5, role: 'follower' })
})

t.test('a later term makes a follower of everybody', async (tt) => {
  const leader = new Bench('a', three).lead('b')
  leader.receive('c', 7, { type: 'appResp', index: 0, isDamaged: false })
  tt.match(leader.core.view, { role: 'follower', term: 7, lead: NONE, vote: NONE })
  leader.receive('b', 8, { type: 'hb', commit: 0, life: 1, readBatch: 0, clusterMs: 0 })
  tt.match(leader.core.view, { term: 8, lead: 'b' })
})

t.test('a leader hands over to whom it is asked to', async (tt) => {
  const bench = new Bench('a', three).lead('b')
  bench.take('app')
  bench.core.transfer('c')
  bench.pump()
  tt.same(bench.take('timeoutNow'), [], 'not before it has everything')
  bench.receive('c', 1, { type: 'appResp', index: 1, isDamaged: false })
  tt.match(bench.take('timeoutNow'), [{ to: 'c' }])
  tt.equal(bench.core.propose({ kind: 'request', id: 'x', data: new Uint8Array() }), 'busy')
  bench.tick(ELECTION_TICKS)
  tt.equal(
    bench.core.propose({ kind: 'request', id: 'x', data: new Uint8Array() }),
    'taken',
    'it gives up after a while',
  )
  for (let tick = 0; tick < ELECTION_TICKS; tick += 1) {
    bench.core.transfer('c')
    bench.tick()
  }
  tt.equal(bench.core.view.transferee, NONE, 'also when it is asked to again and again')

  const heir = new Bench('c', three).receive('a', 1, { type: 'timeoutNow' })
  tt.match(heir.core.view, { role: 'candidate', term: 2 })
  tt.match(heir.take('vote'), [{ isTransfer: true }, { isTransfer: true }])
})

t.test('who asks for votes hears what is committed of what it has', async (tt) => {
  const knows = new Bench('a', three, { term: 3, log: [1, 1, 3], commit: 3 })
  const asks = { lastIndex: 2, lastTerm: 1, isTransfer: false } as const
  knows.receive('b', 4, { type: 'preVote', ...asks })
  const known = { index: 2, term: 1 }
  tt.match(knows.take('preVoteResp'), [{ to: 'b', isGranted: false, known }])

  const hears = new Bench('b', three, { term: 3, log: [1, 1], commit: 1 })
  hears.receive('a', 3, { type: 'preVoteResp', isGranted: false, known: { index: 2, term: 2 } })
  tt.equal(hears.core.view.log.commit, 1, 'it has another entry there')
  hears.receive('a', 3, { type: 'preVoteResp', isGranted: false, known })
  tt.equal(hears.core.view.log.commit, 2)
})

t.test('a leader who has hung up is not protected, and somebody stands soon', async (tt) => {
  for (const random of [0, 0.5, 0.99]) {
    const bench = new Bench('a', three, { options: { random: () => random } })
    bench.receive('b', 1, { type: 'hb', commit: 0, life: 1, readBatch: 0, clusterMs: 0 })
    bench.core.silent('c')
    bench.tick(ELECTION_TICKS - 1)
    tt.equal(bench.core.view.role, 'follower', 'another one that hangs up changes nothing')
    bench.receive('b', 1, { type: 'hb', commit: 0, life: 1, readBatch: 0, clusterMs: 0 })
    bench.core.silent('b')
    const asks = { lastIndex: 0, lastTerm: 0, isTransfer: false } as const
    bench.receive('c', 2, { type: 'preVote', ...asks })
    tt.match(bench.take('preVoteResp'), [{ to: 'c', isGranted: true }])
    bench.tick(4)
    tt.equal(bench.core.view.role, 'preCandidate', `drawn ${random}`)
  }
})

t.test('two leaders in one term are a broken invariant', async (tt) => {
  const bench = new Bench('a', three).lead('b')
  tt.throws(
    () => bench.receive('c', 1, { type: 'hb', commit: 0, life: 1, readBatch: 0, clusterMs: 0 }),
    {
      code: 'INVARIANT',
      rule: 'oneLeader',
    },
  )
})
