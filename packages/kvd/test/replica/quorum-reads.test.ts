import t from 'tap'
import type { Refused } from '../../src/raft/types.ts'
import { QuorumReads } from '../../src/replica/quorum-reads.ts'

interface Bench {
  readonly reads: QuorumReads
  readonly asked: string[]
  readonly core: { answer: 'taken' | Refused; applied: number }
  readonly clock: { now: number }
  /** Names of those that may read, `name: cause` of the others. */
  readonly told: string[]
  readonly read: (name: string) => void
}

function bench(): Bench {
  const asked: string[] = []
  const core: Bench['core'] = { answer: 'taken', applied: 0 }
  const clock = { now: 0 }
  const told: string[] = []
  const reads = new QuorumReads({
    requestTimeoutMs: 100,
    nowMs: () => clock.now,
    readIndex: (id) => {
      if (core.answer === 'taken') asked.push(id)
      return core.answer
    },
    applied: () => core.applied,
    lateCause: (sinceMs) => `late since ${sinceMs}`,
  })
  const read = (name: string): void =>
    reads.add((problem) => {
      told.push(problem === undefined ? name : `${name}: ${problem.cause}`)
    })
  return { reads, asked, core, clock, told, read }
}

t.test('reads that come together are one question', async (tt) => {
  const { reads, asked, core, told, read } = bench()
  tt.equal(reads.isWaiting, false)
  reads.ask()
  tt.same(asked, [], 'nobody reads')
  for (const name of ['x', 'y']) read(name)
  tt.equal(reads.isWaiting, true)
  reads.ask()
  reads.ask()
  tt.equal(asked.length, 1)
  reads.confirmed([{ index: 0, ids: asked }])
  tt.same(told, [], 'they are served when their turn comes')
  reads.serve()
  tt.same(told, ['x', 'y'])
  tt.equal(reads.isWaiting, false)
  reads.confirmed([{ index: 0, ids: asked }])
  reads.serve()
  tt.equal(told.length, 2, 'once')
  tt.equal(core.applied, 0)
})

t.test('a read waits until this member is where the leader was', async (tt) => {
  const { reads, asked, core, told, read } = bench()
  read('x')
  reads.ask()
  read('y')
  reads.ask()
  const [first = '', second = ''] = asked
  tt.not(first, second, 'what comes later asks anew')
  reads.confirmed([
    { index: 5, ids: [first] },
    { index: 3, ids: [second] },
  ])
  for (const [applied, expected] of [
    [2, []],
    [3, ['y']],
    [4, ['y']],
    [5, ['y', 'x']],
  ] as const) {
    core.applied = applied
    reads.serve()
    tt.same(told, expected, `applied ${applied}`)
  }
})

t.test('a confirmation is for those that it names, and nobody else', async (tt) => {
  const { reads, asked, told, read } = bench()
  read('x')
  reads.ask()
  read('y')
  reads.confirmed([{ index: 0, ids: ['no such', '7'] }])
  reads.serve()
  tt.same(told, [])
  reads.confirmed([{ index: 0, ids: asked }])
  reads.serve()
  tt.same(told, ['x'], 'y has not asked yet')
})

t.test('without a leader reads wait for one', async (tt) => {
  const { reads, asked, core, told, read } = bench()
  core.answer = 'noLeader'
  read('x')
  reads.ask()
  read('y')
  reads.ask()
  tt.same([reads.isWaiting, told], [true, []])
  core.answer = 'taken'
  reads.ask()
  reads.confirmed([{ index: 0, ids: asked }])
  reads.serve()
  tt.same([asked.length, told], [1, ['x', 'y']])
})

t.test('who waits too long is told why, wherever the read is', async (tt) => {
  const { reads, asked, core, clock, told, read } = bench()
  read('confirmed')
  reads.ask()
  reads.confirmed([{ index: 9, ids: asked }])
  clock.now = 1
  read('asked')
  reads.ask()
  clock.now = 2
  core.answer = 'noLeader'
  read('open')
  reads.ask()
  for (const [now, expected] of [
    [100, []],
    [101, ['confirmed: late since 0']],
    [102, ['confirmed: late since 0', 'asked: late since 1']],
    [103, ['confirmed: late since 0', 'asked: late since 1', 'open: late since 2']],
  ] as const) {
    clock.now = now
    reads.expire()
    tt.same(told, expected, `at ${now}`)
  }
  tt.equal(reads.isWaiting, false)
  core.applied = 9
  reads.confirmed([{ index: 0, ids: asked }])
  reads.serve()
  tt.equal(told.length, 3, 'nobody is told twice')
})

t.test('in the end all are refused', async (tt) => {
  const { reads, asked, told, read } = bench()
  read('confirmed')
  reads.ask()
  reads.confirmed([{ index: 9, ids: asked }])
  read('asked')
  reads.ask()
  read('open')
  reads.refuseAll('etcdserver: server stopped')
  tt.same(
    told.toSorted(),
    ['asked', 'confirmed', 'open'].map((name) => `${name}: etcdserver: server stopped`),
  )
  tt.equal(reads.isWaiting, false)
})
