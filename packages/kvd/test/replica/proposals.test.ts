import t from 'tap'
import { DATA_BYTES_MAX } from '../../src/storage/entry-codec.ts'
import type { Refused } from '../../src/raft/types.ts'
import type { ChangeProblem } from '../../src/membership/roster.ts'
import { Proposals } from '../../src/replica/proposals.ts'
import { textOf } from '../helpers/commands.ts'

interface Bench {
  readonly proposals: Proposals<ChangeProblem | undefined>
  /** What the core was given, `id data`, and how it answers. */
  readonly given: string[]
  readonly core: { answer: 'taken' | Refused; isHeld: boolean }
  readonly clock: { now: number }
  /** `name: outcome` */
  readonly told: string[]
  readonly took: number[]
  readonly propose: (name: string) => void
}

function bench(bytesMax = 10_000): Bench {
  const given: string[] = []
  const core: Bench['core'] = { answer: 'taken', isHeld: false }
  const clock = { now: 0 }
  const told: string[] = []
  const took: number[] = []
  const proposals = new Proposals<ChangeProblem | undefined>({
    kind: 'conf',
    prefix: 'a.1.',
    requestTimeoutMs: 100,
    bytesMax,
    nowMs: () => clock.now,
    propose: ({ id, data }) => {
      given.push(`${id} ${Buffer.from(data).toString()}`)
      return core.answer
    },
    isHeld: () => core.isHeld,
    lateCause: (sinceMs) => `late since ${sinceMs}`,
    answered: (ms) => took.push(ms),
  })
  const propose = (name: string): void =>
    proposals.add(Buffer.from(name), (outcome) => told.push(`${name}: ${textOf(outcome)}`))
  return { proposals, given, core, clock, told, took, propose }
}

t.test('who proposes is told once, and how long it took is noted', async (tt) => {
  const { proposals, given, clock, told, took, propose } = bench()
  for (const name of ['x', 'y']) propose(name)
  tt.same(given, ['a.1.1 x', 'a.1.2 y'])
  tt.equal(proposals.count, 2)
  clock.now = 7
  proposals.applied('a.1.2', undefined)
  proposals.applied('b.1.1', undefined)
  proposals.applied('a.1.2', undefined)
  proposals.applied('a.1.1', 'idExists')
  tt.same(told, ['y: nothing', 'x: idExists'])
  tt.same(took, [7, 7])
  tt.same([proposals.count, proposals.failed], [0, 0])
})

t.test('no two of many have the same name', async (tt) => {
  const { given, propose } = bench()
  for (let count = 0; count < 2000; count += 1) propose('x')
  tt.equal(new Set(given).size, 2000)
})

t.test('what cannot be proposed now waits, and is tried again in its order', async (tt) => {
  for (const answer of ['noLeader', 'busy'] as const) {
    const { proposals, given, core, told, propose } = bench()
    core.answer = answer
    for (const name of ['x', 'y', 'z']) propose(name)
    tt.same([proposals.count, told], [3, []], answer)
    given.length = 0
    proposals.retry()
    tt.equal(proposals.count, 3)
    core.answer = 'taken'
    proposals.retry()
    tt.same(given.slice(3), ['a.1.1 x', 'a.1.2 y', 'a.1.3 z'], 'under the same names')
    given.length = 0
    proposals.retry()
    tt.same(given, [], 'what was taken is not proposed again')
    for (const id of ['a.1.1', 'a.1.2', 'a.1.3']) proposals.applied(id, undefined)
    tt.equal(told.length, 3)
  }
})

t.test('what is held waits, and is proposed in its order when it is not any more', async (tt) => {
  const { proposals, given, core, clock, told, propose } = bench()
  propose('a')
  core.isHeld = true
  for (const name of ['b', 'c']) propose(name)
  proposals.retry()
  tt.same([given, proposals.count], [['a.1.1 a'], 3])
  core.isHeld = false
  proposals.retry()
  tt.same(given, ['a.1.1 a', 'a.1.2 b', 'a.1.3 c'])
  core.isHeld = true
  propose('d')
  clock.now = 101
  proposals.expire()
  tt.equal(told.at(-1), 'd: 300 late since 0 @0', 'and not for ever')
  tt.equal(proposals.count, 0)
})

t.test('where too much waits, one more is refused at once', async (tt) => {
  const { proposals, core, told, propose } = bench()
  core.answer = 'full'
  propose('x')
  tt.same(told, ['x: 300 etcdserver: too many requests @0'])
  core.answer = 'busy'
  propose('y')
  core.answer = 'full'
  proposals.retry()
  tt.equal(told[1], 'y: 300 etcdserver: too many requests @0')
  tt.same([proposals.count, proposals.failed], [0, 2])
})

t.test('what no frame between members would hold is refused, and holds up nobody', async (tt) => {
  const { proposals, given, told, propose } = bench(100 * 1024 * 1024)
  propose('x'.repeat(DATA_BYTES_MAX + 1))
  tt.match(told, [/: 300 etcdserver: request is too large @0$/])
  tt.same([given.length, proposals.count, proposals.failed], [0, 0, 1])
  propose('x'.repeat(DATA_BYTES_MAX))
  tt.same([given.length, proposals.count], [1, 1])
})

t.test('so many bytes may wait, whoever leads, and one always', async (tt) => {
  for (const answer of ['taken', 'noLeader'] as const) {
    const { proposals, given, core, clock, told, propose } = bench(10)
    core.answer = answer
    propose('longer than ten')
    propose('a')
    const refused = '300 etcdserver: too many requests @0'
    tt.same(told, [`a: ${refused}`], answer)
    clock.now = 101
    proposals.expire()
    tt.equal(told.length, 2, 'who is told leaves room')
    for (const name of ['1234', '567890', 'b']) propose(name)
    tt.same(told.slice(2), [`b: ${refused}`], 'ten are not too many, eleven are')
    core.answer = 'taken'
    proposals.retry()
    proposals.lost([{ id: 'a.1.2', why: 'dropped' }])
    propose('c')
    tt.same(told.slice(3), [`c: ${refused}`], 'what is tried again waits still')
    proposals.applied('a.1.3', undefined)
    propose('d')
    tt.equal(given.at(-1)?.slice(-1), 'd', 'there is room again')
    proposals.refuseAll('over')
    propose('1234567890')
    tt.equal(proposals.count, 1)
  }
})

t.test('what is lost is tried once more under a new name', async (tt) => {
  const { proposals, given, clock, told, took, propose } = bench()
  for (const name of ['x', 'y']) propose(name)
  clock.now = 40
  proposals.lost([
    { id: 'a.1.1', why: 'dropped' },
    { id: 'a.1.9', why: 'overwritten' },
  ])
  tt.same([proposals.count, given.length, told], [2, 2, []])
  proposals.retry()
  tt.equal(given[2], 'a.1.3 x')
  proposals.applied('a.1.1', undefined)
  tt.same(told, [], 'the old name is nobody’s')
  clock.now = 60
  proposals.applied('a.1.3', undefined)
  tt.same([told, took], [['x: nothing'], [60]], 'it has waited since it came')
  proposals.lost([{ id: 'a.1.3', why: 'overwritten' }])
  proposals.retry()
  tt.equal(given.length, 3, 'what was answered is not proposed again')
})

t.test('who waits too long is told why, wherever the proposal is', async (tt) => {
  const { proposals, core, clock, told, propose } = bench()
  propose('taken')
  clock.now = 10
  core.answer = 'noLeader'
  propose('waiting')
  clock.now = 20
  propose('younger')
  clock.now = 100
  proposals.expire()
  tt.same(told, [], 'the whole time is theirs')
  clock.now = 101
  proposals.expire()
  tt.same(told, ['taken: 300 late since 0 @0'])
  clock.now = 111
  proposals.expire()
  tt.equal(told[1], 'waiting: 300 late since 10 @0')
  tt.same([proposals.count, proposals.failed], [1, 2])
  core.answer = 'taken'
  proposals.applied('a.1.1', undefined)
  proposals.lost([{ id: 'a.1.1', why: 'dropped' }])
  proposals.retry()
  proposals.applied('a.1.3', undefined)
  tt.same(told.slice(2), ['younger: nothing'], 'nobody is told twice')
})

t.test(
  'an entry that was overwritten keeps its bytes when it is proposed and stamped again',
  async (tt) => {
    const datas: Uint8Array[] = []
    const names: string[] = []
    const proposals = new Proposals<undefined>({
      kind: 'request',
      prefix: 'a.1.',
      requestTimeoutMs: 100,
      bytesMax: 100,
      nowMs: () => 0,
      // As the leader stamps: in place.
      propose: ({ id, data }) => {
        names.push(id)
        data.fill(datas.push(data))
        return 'taken'
      },
      lateCause: () => 'late',
      answered: () => undefined,
    })
    proposals.add(Buffer.alloc(2), () => undefined)
    const id = names[0] ?? ''
    proposals.lost([{ id, why: 'overwritten' }])
    proposals.retry()
    tt.same(
      datas.map((data) => [...data]),
      [
        [1, 1],
        [2, 2],
      ],
    )
  },
)

t.test('what was lost keeps the age that it had', async (tt) => {
  const { proposals, core, clock, told, propose } = bench()
  propose('x')
  clock.now = 90
  core.answer = 'noLeader'
  proposals.lost([{ id: 'a.1.1', why: 'dropped' }])
  proposals.retry()
  clock.now = 101
  proposals.expire()
  tt.same(told, ['x: 300 late since 0 @0'])
})

t.test('in the end all are refused', async (tt) => {
  const { proposals, core, told, propose } = bench()
  propose('x')
  core.answer = 'noLeader'
  propose('y')
  proposals.refuseAll('etcdserver: server stopped')
  tt.same(told, ['x: 300 etcdserver: server stopped @0', 'y: 300 etcdserver: server stopped @0'])
  tt.same([proposals.count, proposals.failed], [0, 2])
})
