import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { MemberId } from '../../src/raft/types.ts'
import { DivergenceCheck, type Divergence } from '../../src/replica/divergence.ts'
import type { DiskSnapshot } from '../../src/storage/disk.ts'
import { command, type Command } from '../../src/store/command.ts'
import { createStats } from '../../src/store/stats.ts'
import { set } from '../helpers/commands.ts'
import { until } from '../helpers/replica-bench.ts'
import { ReplicaLab } from '../helpers/replica-lab.ts'

const SAME = 'the rows of all'
const OTHER = 'other rows'

/** One member's check, over an image that the test makes. */
class Lab {
  readonly check: DivergenceCheck
  readonly proposed: Command[] = []
  readonly found: Divergence[] = []
  readonly undecided: string[] = []
  voters: readonly MemberId[] = ['a', 'b', 'c']
  imageIndex = 0
  nowMs = 0
  isDiverged = false
  #done: () => void = () => undefined

  constructor(memberId: MemberId, rows = SAME) {
    this.check = new DivergenceCheck({
      memberId,
      snapshotCount: 100,
      applied: 0,
      disk: { openSnapshot: () => Promise.resolve(snapshotOf(this.imageIndex, rows)) },
      elapsedMs: () => this.nowMs,
      conf: () => ({ voters: this.voters, learners: ['d'] }),
      freeze: async () => await Promise.resolve(),
      propose: (entry, done) => {
        this.proposed.push(entry)
        this.#done = done
      },
      isDiverged: () => this.isDiverged,
      found: (divergence) => this.found.push(divergence),
      undecided: (index, told) => this.undecided.push(`${index}: ${[...told.keys()].join()}`),
    })
  }

  /** The last proposal is decided. */
  decide(): void {
    this.#done()
  }

  /** A check of this place; gives the hash that the member tells, if it does. */
  async mark(index: number, leader: MemberId): Promise<string | undefined> {
    const before = this.proposed.length
    this.imageIndex = index
    this.check.applied(index, command({ op: 'check', time: 0, value: leader }))
    for (let n = 0; n < 20; n += 1) await new Promise((resolve) => setTimeout(resolve, 5))
    return this.proposed.slice(before).find(({ op }) => op === 'checked')?.value
  }

  hear(about: number, from: MemberId, hash: string): void {
    const fields = { prevIndex: String(about), prevValue: from, value: hash }
    this.check.applied(about + 1, command({ op: 'checked', time: 0, ...fields }))
  }
}

function snapshotOf(index: number, rows: string): DiskSnapshot {
  const packs = [Buffer.from(rows)]
  const place = { index, term: 1, chain: 0 }
  return {
    head: { place, storeIndex: 7, count: 3, stats: createStats() },
    events: [],
    next: () => Promise.resolve(packs.pop()),
    close: () => undefined,
  }
}

t.test('who holds what a majority holds is right, whoever leads', async (tt) => {
  const [right, wrong] = [new Lab('a'), new Lab('b', OTHER)]
  const [good, bad] = [await right.mark(40, 'b'), await wrong.mark(40, 'b')]
  if (good === undefined || bad === undefined) throw new Error('no hash')
  tt.match(good, /^1:[0-9a-f]{64}$/)
  tt.not(good, bad)
  for (const { hear } of [right, wrong].map((lab) => ({ hear: lab.hear.bind(lab) }))) {
    hear(40, 'b', bad)
    hear(40, 'a', good)
  }
  tt.same([...right.found, ...wrong.found], [], 'nobody has a majority yet')
  right.hear(40, 'c', good)
  wrong.hear(40, 'c', good)
  wrong.hear(40, 'c', good)
  tt.same(right.found, [])
  tt.same(wrong.found, [{ index: 40, own: bad, right: good }], 'once')
})

t.test('where nobody has a majority, what the leader holds is right', async (tt) => {
  const [leader, follower] = [new Lab('a', OTHER), new Lab('b')]
  for (const lab of [leader, follower]) lab.voters = ['a', 'b']
  const [own, other] = [await leader.mark(9, 'a'), await follower.mark(9, 'a')]
  for (const lab of [leader, follower]) {
    lab.hear(9, 'b', other ?? '')
    lab.hear(9, 'a', own ?? '')
  }
  tt.same(leader.found, [])
  tt.same(follower.found, [{ index: 9, own: other, right: own }])
})

t.test('a learner compares and is not counted; who is late is judged when it knows', async (tt) => {
  const learner = new Lab('d', OTHER)
  const hashing = learner.mark(5, 'a')
  learner.hear(5, 'a', '1:x')
  learner.hear(5, 'b', '1:x')
  tt.equal(await hashing, undefined, 'it says nothing')
  tt.match(learner.found, [{ index: 5, right: '1:x' }])
})

t.test('what is not of that place is not hashed, nor heard of', async (tt) => {
  const lab = new Lab('a')
  lab.imageIndex = 3
  lab.check.applied(4, command({ op: 'check', time: 0, value: 'a' }))
  for (let n = 0; n < 5; n += 1) await turn()
  tt.same(lab.proposed, [], 'the disk has an image of another place')
  for (const from of ['b', 'c']) lab.hear(2, from, '1:x')
  tt.same(lab.found, [])
  lab.voters = ['a']
  tt.equal(await lab.mark(6, 'a'), undefined, 'who is alone has nobody to differ from')
})

t.test('what was found out about a store is void when a snapshot takes its place', async (tt) => {
  const lab = new Lab('a', OTHER)
  const hashing = lab.mark(40, 'b')
  lab.check.installed()
  tt.equal(await hashing, undefined, 'half of it may be of the new one')
  tt.not(await lab.mark(50, 'b'), undefined)
  lab.check.installed()
  for (const from of ['b', 'c']) for (const about of [40, 50]) lab.hear(about, from, '1:x')
  tt.same(lab.found, [])
})

t.test('who has diverged has no say, and a hash of another version says nothing', async (tt) => {
  const lab = new Lab('a', OTHER)
  lab.isDiverged = true
  tt.equal(await lab.mark(40, 'a'), undefined)
  lab.check.proposeWhenDue(1000)
  tt.same(
    lab.proposed,
    [],
    'nor does it begin a check, which it would win where nobody has a majority',
  )
  for (const from of ['b', 'c']) lab.hear(40, from, '2:x')
  tt.same(lab.found, [])
})

t.test('two of three that differ are told of when the third has not answered', async (tt) => {
  const lab = new Lab('a')
  const own = await lab.mark(40, 'a')
  lab.hear(40, 'a', own ?? '')
  lab.hear(40, 'b', '1:x')
  tt.same([lab.found, lab.undecided], [[], []], 'it may come')
  await lab.mark(200, 'a')
  tt.same(lab.undecided, ['40: a,b'])
  await lab.mark(400, 'a')
  tt.same(lab.undecided, ['40: a,b'], 'once')
  for (const id of ['a', 'c']) lab.hear(200, id, own ?? '')
  lab.hear(200, 'b', '1:x')
  await lab.mark(600, 'a')
  tt.same(lab.undecided, ['40: a,b'], 'nor when it is known who is right')
  lab.hear(40, 'c', '1:x')
  tt.same(lab.found, [{ index: 40, own, right: '1:x' }], 'late is not too late')
})

t.test('a leader checks now and then, one check at a time', async (tt) => {
  const lab = new Lab('a')
  const ops = (): string[] => lab.proposed.splice(0).map(({ op }) => op)
  lab.check.proposeWhenDue(99)
  tt.same(ops(), [])
  lab.check.proposeWhenDue(100)
  lab.check.proposeWhenDue(150)
  tt.same(ops(), ['check'])
  const hashing = lab.mark(151, 'a')
  lab.decide()
  lab.check.proposeWhenDue(300)
  lab.nowMs = 1000
  await hashing
  tt.same(ops(), ['checked'], 'not before the last one is done')
  lab.nowMs = 50_999
  lab.check.proposeWhenDue(300)
  tt.same(ops(), [], 'a check of a second is followed by fifty of rest')
  lab.nowMs = 51_000
  lab.check.proposeWhenDue(250)
  tt.same(ops(), [], 'the next is due 100 entries behind the last')
  lab.check.proposeWhenDue(251)
  tt.same(ops(), ['check'])
  lab.decide()
  lab.voters = ['a']
  lab.check.proposeWhenDue(1000)
  tt.same(ops(), [])
})

t.test('a leader that finds itself alone against the others hands over', async (tt) => {
  const lab = new ReplicaLab(tt, ['a', 'b', 'c'], { snapshotCount: 50 })
  const name = await lab.leader()
  for (const { disk } of lab.members) disk.rows = SAME
  const leader = lab.member(name)
  leader.disk.rows = OTHER
  const told: Divergence[] = []
  leader.replica.onDiverged((divergence) => told.push(divergence))
  for (let n = 0; n < 60; n += 1) await leader.replica.proposeAsync(set(`/k${n}`))
  await until(() => leader.replica.isDiverged && !leader.replica.isLeader)
  tt.equal(told.length, 1)
  tt.not(await lab.leader(), name)
  tt.same(
    lab.members.filter(({ replica }) => replica.isDiverged).map(({ id }) => id),
    [leader.id],
  )
})
