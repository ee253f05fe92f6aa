import t from 'tap'
import type { Entry } from '../../src/raft/types.ts'
import { Bench, logOf, START_MS } from '../helpers/raft-lab.ts'

const three = ['a', 'b', 'c']

function appOf(
  terms: readonly number[],
  from: number,
  commit = 0,
): {
  type: 'app'
  prevIndex: number
  prevTerm: number
  prevChain: number
  entries: readonly Entry[]
  commit: number
} {
  const log = logOf(terms)
  const before = log[from - 2]
  return {
    type: 'app',
    prevIndex: from - 1,
    prevTerm: before?.term ?? 0,
    prevChain: before?.chain ?? 0,
    entries: log.slice(from - 1),
    commit,
  }
}

t.test(
  'the figure of the paper: followers of every kind come to have the leader’s log',
  async (tt) => {
    // Figure 7: the leader of term 8 has [1 1 1 4 4 5 5 6 6 6].
    const leaderLog = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
    const followers: [name: string, log: number[]][] = [
      ['a', [1, 1, 1, 4, 4, 5, 5, 6, 6]],
      ['b', [1, 1, 1, 4]],
      ['c', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6]],
      ['d', [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7]],
      ['e', [1, 1, 1, 4, 4, 4, 4]],
      ['f', [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3]],
    ]
    for (const [name, log] of followers) {
      const leader = new Bench('x', ['x', 'y', name], { term: 7, log: leaderLog }).lead('y')
      const follower = new Bench(name, ['x', 'y', name], { term: 7, log })
      let rounds = 0
      for (let isBusy = true; isBusy; rounds += 1) {
        const toFollower = leader.sent.splice(0).filter(({ to }) => to === name)
        for (const message of toFollower) follower.core.step(message)
        follower.pump()
        const toLeader = follower.sent.splice(0)
        for (const message of toLeader) leader.core.step(message)
        leader.pump()
        isBusy = toFollower.length + toLeader.length > 0
      }
      tt.same(follower.terms, [...leaderLog, 8], `follower ${name}`)
      tt.ok(rounds <= 7, `follower ${name}: ${rounds} rounds, one probe for each term at the most`)
    }
  },
)

t.test('entries of an earlier term are not committed by counting', async (tt) => {
  // Figure 8: an entry of term 2 is on a majority, yet only an entry of its own term commits it.
  const bench = new Bench('a', three, { term: 3, log: [1, 2] }).lead('b')
  bench.receive('b', 4, { type: 'appResp', index: 2, isDamaged: false })
  tt.equal(bench.core.view.log.commit, 0)
  bench.receive('b', 4, { type: 'appResp', index: 3, isDamaged: false })
  tt.equal(bench.core.view.log.commit, 3)
  tt.same(
    bench.applied.map(({ index }) => index),
    [1, 2, 3],
  )
})

t.test('the leader counts itself when its disk has answered', async (tt) => {
  const bench = new Bench('a', ['a', 'b', 'c'], { term: 1 }).lead('b')
  bench.isInstant = false
  bench.receive('b', 2, { type: 'appResp', index: 1, isDamaged: false })
  bench.propose('x')
  bench.receive('b', 2, { type: 'appResp', index: 2, isDamaged: false })
  tt.equal(bench.core.view.log.commit, 1, 'b alone is no majority')
  bench.sync()
  tt.equal(bench.core.view.log.commit, 2)
})

t.test('an acknowledgement leaves when the entries are on the disk', async (tt) => {
  const bench = new Bench('b', three, {}, false)
  bench.receive('a', 1, appOf([1, 1], 1))
  tt.same(bench.take('appResp'), [])
  bench.sync()
  tt.match(bench.take('appResp'), [{ to: 'a', index: 2 }])
})

t.test('what a follower takes, and what it answers', async (tt) => {
  // The follower has [1 1 2 2], the first committed.
  const cases: [what: string, app: ReturnType<typeof appOf>, terms: number[], commit: number][] = [
    ['the next entries', appOf([1, 1, 2, 2, 3], 5, 1), [1, 1, 2, 2, 3], 1],
    ['entries that it has', appOf([1, 1, 2], 2, 1), [1, 1, 2, 2], 1],
    ['others in their place', appOf([1, 1, 3], 3, 1), [1, 1, 3], 1],
    ['nothing, and a commit', appOf([1, 1], 3, 2), [1, 1, 2, 2], 2],
    ['no commit beyond what is proven', appOf([1, 1], 3, 4), [1, 1, 2, 2], 2],
  ]
  for (const [what, app, terms, commit] of cases) {
    const bench = new Bench('b', three, { term: 2, log: [1, 1, 2, 2], commit: 1 })
    bench.receive('a', 3, app)
    tt.same(bench.terms, terms, what)
    tt.equal(bench.core.view.log.commit, commit, what)
    tt.match(bench.take('appResp'), [{ index: app.prevIndex + app.entries.length }], what)
  }
  const behind = new Bench('b', three, { term: 2, log: [1, 1, 2, 2], commit: 3 })
  behind.receive('a', 3, appOf([1, 1], 2))
  tt.match(behind.take('appResp'), [{ index: 3 }], 'what is committed needs no proof')
})

t.test('a committed entry is never cut off', async (tt) => {
  const bench = new Bench('b', three, { term: 2, log: [1, 1, 2], commit: 3 })
  const app = {
    ...appOf([1, 1, 3, 3], 4),
    prevIndex: 3,
    prevTerm: 2,
    prevChain: logOf([1, 1, 2])[2]?.chain ?? 0,
  }
  bench.receive('a', 3, app)
  tt.same(bench.terms, [1, 1, 2, 3])
  tt.throws(
    () => {
      const other = new Bench('b', three, { term: 2, log: [1, 1, 2, 2], commit: 2 })
      other.core.view.log.commitTo(4)
      other.core.view.log.merge(logOf([1, 1, 2, 3]).slice(3))
    },
    { message: /log\.truncate/ },
  )
})

t.test(
  'logs that agree in index and term but not in what came before are a broken invariant',
  async (tt) => {
    const bench = new Bench('b', three, { term: 2, log: [1, 2] })
    tt.throws(() => bench.receive('a', 3, { ...appOf([1, 2, 3], 3), prevChain: 12345 }), {
      message: /log\.matching/,
    })
  },
)

t.test('entries follow each other without waiting, as far as the window goes', async (tt) => {
  const bench = new Bench('a', three, { options: { maxMessageBytes: 1 } }).lead('b')
  bench.receive('b', 1, { type: 'appResp', index: 1, isDamaged: false })
  bench.take('app')
  for (const id of ['1', '2', '3', '4', '5', '6']) bench.propose(id)
  const sent = bench.take('app').filter(({ to, entries }) => to === 'b' && entries.length > 0)
  tt.same(
    sent.map(({ entries }) => entries[0]?.index),
    [2, 3, 4, 5],
    'four messages are on their way',
  )
  bench.receive('b', 1, { type: 'appResp', index: 3, isDamaged: false })
  tt.same(
    bench
      .take('app')
      .flatMap(({ to, entries }) => (to === 'b' ? entries.map(({ index }) => index) : [])),
    [6, 7],
  )
})

t.test('a window whose messages are lost is found out by heartbeats', async (tt) => {
  const bench = new Bench('a', three, { options: { maxMessageBytes: 1 } }).lead('b')
  bench.receive('b', 1, { type: 'appResp', index: 1, isDamaged: false })
  for (const id of ['1', '2', '3', '4', '5', '6']) bench.propose(id)
  bench.take('app')
  bench.receive('b', 1, { type: 'hbResp', readBatch: 0, wallMs: START_MS, isDamaged: false })
  const [asked] = bench.take('app')
  tt.match(asked, { to: 'b', prevIndex: 5, entries: [] }, 'is it there?')
  bench.receive('b', 1, { type: 'appReject', index: 5, hintIndex: 1, hintTerm: 1 })
  tt.match(
    bench.take('app').filter(({ to }) => to === 'b'),
    [{ prevIndex: 1, entries: [] }],
  )
  bench.receive('b', 1, { type: 'appResp', index: 1, isDamaged: false })
  tt.equal(bench.take('app').filter(({ to }) => to === 'b').length, 4, 'all over again')
})

t.test('a member whose entries are gone from the log gets a snapshot', async (tt) => {
  const bench = new Bench('a', three).lead('b')
  for (const id of ['1', '2']) bench.propose(id)
  bench.receive('b', 1, { type: 'appResp', index: 3, isDamaged: false })
  bench.core.compact(3)
  bench.take('app')
  bench.receive('c', 1, { type: 'appReject', index: 0, hintIndex: 0, hintTerm: 0 })
  bench.receive('c', 1, { type: 'hbResp', readBatch: 0, wallMs: START_MS, isDamaged: false }).pump()
  tt.match(bench.take('snapOffer'), [{ to: 'c', meta: { index: 3, term: 1 } }])
  bench.propose('3')
  tt.same(
    bench.take('app').filter(({ to }) => to === 'c'),
    [],
    'and nothing else meanwhile',
  )
  bench.receive('c', 1, { type: 'snapResp', index: 3, isOk: true })
  tt.match(
    bench.take('app').filter(({ to }) => to === 'c'),
    [{ prevIndex: 3, entries: [{ index: 4 }] }],
  )
})

t.test('a member that got a snapshot is asked for it when its own word is lost', async (tt) => {
  const heard = { type: 'hbResp', readBatch: 0, wallMs: START_MS, isDamaged: false } as const
  const offered = (): Bench => {
    const bench = new Bench('a', three).lead('b')
    for (const id of ['1', '2']) bench.propose(id)
    bench.receive('b', 1, { type: 'appResp', index: 3, isDamaged: false })
    bench.core.compact(3)
    bench.receive('c', 1, { type: 'appReject', index: 0, hintIndex: 0, hintTerm: 0 })
    bench.receive('c', 1, heard)
    tt.equal(bench.take('snapOffer').length, 1)
    return bench
  }
  const toC = (bench: Bench): unknown[] => bench.take('app').filter(({ to }) => to === 'c')
  const bench = offered()
  bench.receive('c', 1, heard)
  tt.same(toC(bench), [], 'it is on its way')
  bench.core.snapshotSent('c', 3)
  tt.same(toC(bench.pump()), [], 'it may be about to take it')
  tt.match(toC(bench.receive('c', 1, heard)), [{ prevIndex: 3, prevTerm: 1 }])
  bench.receive('c', 1, { type: 'appResp', index: 3, isDamaged: false })
  tt.match(bench.core.view.progress.get('c'), { state: 'replicate', match: 3 })

  const dropped = offered()
  dropped.core.snapshotSent('c', 3)
  dropped.receive('c', 1, heard)
  dropped.receive('c', 1, { type: 'appReject', index: 3, hintIndex: 0, hintTerm: 0 })
  dropped.receive('c', 1, heard)
  tt.equal(dropped.take('snapOffer').length, 1, 'who has not taken it gets another one')

  const answered = offered()
  answered.receive('c', 1, { type: 'snapResp', index: 3, isOk: true })
  answered.core.snapshotSent('c', 3)
  tt.match(answered.core.view.progress.get('c'), { state: 'probe', next: 4 }, 'it has said so')
})

t.test('a snapshot is installed, or not needed', async (tt) => {
  const conf = { voters: ['a', 'b', 'c', 'd'], learners: [] }
  const meta = { index: 5, term: 2, chain: 77, conf }
  const behind = new Bench('b', three, { term: 1, log: [1, 1], commit: 1 }, false)
  behind.receive('a', 2, { type: 'snapOffer', meta })
  tt.match(behind.installed, [{ index: 5 }])
  tt.same(behind.core.view.conf, conf)
  tt.same(behind.take('snapResp'), [], 'told when it is on the disk')
  tt.equal(behind.core.view.isPromotable, false)
  behind.sync()
  tt.match(behind.take('snapResp'), [{ index: 5, isOk: true }])
  tt.match(behind.core.view.log, { first: 6, last: 5, commit: 5, durable: 5 })

  const ahead = new Bench('b', three, { term: 2, log: [1, 1, 1, 2, 2, 2], commit: 6 })
  ahead.receive('a', 2, { type: 'snapOffer', meta })
  tt.same(ahead.installed, [])
  tt.match(ahead.take('snapResp'), [{ index: 6 }])

  const holding = new Bench('b', three, { term: 2, log: [1, 1, 1, 2, 2, 2], commit: 2 })
  holding.receive('a', 2, { type: 'snapOffer', meta })
  tt.same(holding.installed, [], 'the log goes on: only the commit is news')
  tt.match(holding.core.view.log, { commit: 5, last: 6 })
})

t.test('a batch does not speak for what was overwritten since', async (tt) => {
  const bench = new Bench('b', three, {}, false)
  bench.receive('a', 1, appOf([1, 1], 1))
  bench.receive('c', 2, appOf([2, 2], 1))
  tt.equal(bench.core.view.log.durable, 0)
  bench.core.persisted(1)
  tt.equal(bench.core.view.log.durable, 0, 'the first batch wrote other entries')
  bench.core.persisted(2)
  tt.equal(bench.core.view.log.durable, 2)
})

t.test('a damaged member’s word does not count', async (tt) => {
  const bench = new Bench('a', three).lead('b')
  bench.receive('b', 1, { type: 'appResp', index: 1, isDamaged: true })
  tt.equal(bench.core.view.log.commit, 0)
  bench.receive('b', 1, { type: 'appResp', index: 1, isDamaged: false })
  tt.equal(bench.core.view.log.commit, 0, 'it was counted up to there before: nothing is news')
  bench.propose('x').receive('b', 1, { type: 'appResp', index: 2, isDamaged: false })
  tt.equal(bench.core.view.log.commit, 2)
})

t.test('a heartbeat commits no more than the member has', async (tt) => {
  const bench = new Bench('a', three).lead('b')
  bench.propose('x')
  bench.receive('b', 1, { type: 'appResp', index: 2, isDamaged: false })
  bench.tick()
  const commits = bench.take('hb').map(({ to, commit }) => `${to}:${commit}`)
  tt.same(commits, ['b:2', 'c:0'])
  tt.throws(
    () =>
      new Bench('c', three).receive('a', 1, {
        type: 'hb',
        commit: 2,
        life: 1,
        readBatch: 0,
        clusterMs: 0,
      }),
    {
      message: /log\.commit/,
    },
  )
})
