import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { isRefusal } from '../../src/store/errors.ts'
import type { Store } from '../../src/store/store.ts'
import { createInOrder, set, textOf } from '../helpers/commands.ts'
import { until } from '../helpers/replica-bench.ts'
import {
  ELECTION_TICKS,
  idOf,
  ReplicaLab,
  TICK_MS,
  urlOf,
  type LabMember,
} from '../helpers/replica-lab.ts'

const NAMES = ['a', 'b', 'c']
const ELECTION_MS = TICK_MS * ELECTION_TICKS
/** More than a request may take. */
const LATE_MS = 7001

function rowsOf(store: Store): string[] {
  return [...store.rows()].map((row) => JSON.stringify(row)).toSorted()
}

/** All members have applied what this one has, and have made the same of it. */
async function untilSame(lab: ReplicaLab, { replica, store }: LabMember): Promise<string[]> {
  const { appliedIndex } = replica
  await until(() => lab.members.every((member) => member.replica.appliedIndex >= appliedIndex))
  return lab.members
    .map((member) => rowsOf(member.store).join())
    .filter((rows) => rows !== rowsOf(store).join())
}

async function putAt({ replica }: LabMember, key: string, value = ''): Promise<string> {
  return textOf(await replica.proposeAsync(set(key, { value })))
}

t.test('a write at any member is answered there, and done at all in one order', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES)
  const leader = lab.member(await lab.leader())
  const outcomes = await Promise.all(
    Array.from({ length: 30 }, (_, at) => {
      const { replica } = lab.member(NAMES[at % NAMES.length] ?? '')
      return replica.proposeAsync(createInOrder('/queue', { value: `${at}` }))
    }),
  )
  const indexes = outcomes.map((outcome) =>
    outcome === undefined || isRefusal(outcome) ? 0 : outcome.index,
  )
  tt.equal(new Set(indexes).size, 30)
  tt.ok(Math.min(...indexes) > NAMES.length, 'behind the members themselves')
  tt.same(await untilSame(lab, leader), [])
  tt.equal(leader.store.index, NAMES.length + 30, 'nothing was done twice')
})

t.test('a quorum read at any member has all that was acknowledged before it', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES)
  for (let round = 0; round < 10; round += 1) {
    const writer = lab.member(NAMES[round % NAMES.length] ?? '')
    tt.match(await putAt(writer, '/k', `${round}`), `"value":"${round}"`)
    const seen = await Promise.all(
      lab.members.map(
        async ({ replica, store }) =>
          await new Promise((resolve) =>
            replica.readIndex((problem) => resolve(problem ?? store.peek('keys', '/k'))),
          ),
      ),
    )
    tt.same(seen, [`${round}`, `${round}`, `${round}`])
  }
})

t.test('without a majority a write is late, and says why', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES)
  const leader = await lab.leader()
  for (const name of NAMES) lab.cut(name)
  const told: string[] = []
  for (const { replica } of lab.members)
    replica.propose(set('/k'), (outcome) => told.push(textOf(outcome)))
  const read: (string | undefined)[] = []
  lab.member(leader).replica.readIndex((problem) => read.push(problem?.cause))
  await until(() => lab.members.every(({ replica }) => replica.lead === '0'))
  lab.clock.now += LATE_MS
  await until(() => told.length === NAMES.length && read.length === 1)
  const late = 'etcdserver: request timed out, possibly due to connection lost'
  tt.same(new Set(told), new Set([`300 ${late} @0`]))
  tt.same(read, [late])
})

t.test(
  'a write that went to a leader who was lost goes to the next, and is done once',
  async (tt) => {
    const lab = new ReplicaLab(tt, NAMES)
    const first = await lab.leader()
    const [follower = ''] = await lab.followers()
    const { replica, store } = lab.member(follower)
    lab.cut(first)
    const write = replica.proposeAsync(createInOrder('/queue'))
    tt.not(await lab.leader(), first)
    tt.match(textOf(await write), '"action":"create"')
    lab.heal()
    tt.same(await untilSame(lab, lab.member(follower)), [])
    tt.equal(rowsOf(store).filter((row) => row.includes('"/queue/')).length, 1)
  },
)

t.test('when the next leader cannot do it either, it is late because of the first', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES)
  const first = await lab.leader()
  const [follower = ''] = await lab.followers()
  const { replica, disk } = lab.member(follower)
  const told: string[] = []
  let isLedAnew = false
  replica.onLead((lead) => {
    if (lead === '0' || lead === idOf(first)) return
    isLedAnew = true
    disk.health = 'stuck'
  })
  lab.cut(first)
  replica.propose(set('/k'), (outcome) => told.push(textOf(outcome)))
  lab.clock.now += 1
  await until(() => isLedAnew)
  lab.clock.now += LATE_MS
  await until(() => told.length === 1)
  tt.same(told, ['300 etcdserver: request timed out, possibly due to previous leader failure @0'])
})

t.test('what another leader wrote over is proposed again, and done once', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES)
  const first = await lab.leader()
  const { replica } = lab.member(first)
  lab.cut(first)
  const { lastIndex } = replica
  const write = replica.proposeAsync(createInOrder('/queue', { value: 'x' }))
  await until(() => replica.lastIndex > lastIndex)
  const second = await lab.leader()
  tt.match(await putAt(lab.member(second), '/k'), '"action":"set"')
  lab.heal()
  tt.match(textOf(await write), '"action":"create"')
  tt.same(await untilSame(lab, lab.member(first)), [])
  const queue = rowsOf(lab.member(second).store).filter((row) => row.includes('"/queue/'))
  tt.equal(queue.length, 1)
})

t.test('a leader hands over, to go or for want of room', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES)
  const first = lab.member(await lab.leader())
  await first.replica.stepDown()
  tt.equal(first.replica.isLeader, false)
  const second = await lab.leader()
  const full = lab.member(second)
  full.disk.health = 'full'
  const write = full.replica.proposeAsync(set('/k', { value: 'v' }))
  await until(() => !full.replica.isLeader && full.replica.lead !== '0')
  tt.equal(full.replica.status.isFull, true)
  const others = lab.members.filter((member) => member !== full)
  await until(() => others.some(({ replica }) => replica.isLeader))
  const [other] = others
  if (other === undefined) throw new Error('nobody else')
  tt.match(await putAt(other, '/other'), '"action":"set"', 'who has room goes on')
  full.disk.health = 'good'
  tt.match(textOf(await write), '"value":"v"', 'what waited for room is answered')
  tt.same(await untilSame(lab, other), [])
})

t.test('a new member counts when it has caught up', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES)
  const leader = lab.member(await lab.leader())
  for (let count = 0; count < 20; count += 1) await putAt(leader, `/${count}`)
  const added = await leader.replica.change({
    type: 'add',
    id: 'd1',
    peerURLs: [urlOf('d')],
    isLearner: true,
  })
  tt.equal(added, undefined)
  const { replica, store } = lab.join('d', 'd1')
  await until(() => replica.appliedIndex >= leader.replica.appliedIndex)
  tt.same(rowsOf(store), rowsOf(leader.store))
  tt.same(replica.machine.conf.learners, ['d1'])
  // It must stay so for an election timeout; the clock that says so is the test's.
  await until(() => {
    lab.clock.now += ELECTION_MS
    return replica.machine.conf.learners.length === 0
  })
  tt.ok(replica.machine.conf.voters.includes('d1'))
  tt.match(await putAt(lab.member('d'), '/from-d'), '"action":"set"')
})

t.test('changes of members are judged, whoever they are proposed to', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES)
  const leader = await lab.leader()
  const [gone = '', stays = ''] = await lab.followers()
  let isTold = false
  lab.member(gone).replica.onRemoved(() => (isTold = true))
  const { replica } = lab.member(stays)
  const [goneId, leaderId] = [idOf(gone), idOf(leader)]
  const cases: [change: Parameters<typeof replica.change>[0], problem: string | undefined][] = [
    [{ type: 'promote', id: 'd1' }, 'notFound'],
    [{ type: 'remove', id: 'd1' }, 'notFound'],
    [{ type: 'add', id: leaderId, peerURLs: [urlOf('x')], isLearner: true }, 'idExists'],
    [{ type: 'add', id: 'd1', peerURLs: [urlOf(leader)], isLearner: true }, 'urlExists'],
    [{ type: 'update', id: leaderId, peerURLs: [urlOf(stays)] }, 'urlExists'],
    [{ type: 'update', id: leaderId, peerURLs: [urlOf('moved')] }, undefined],
    [{ type: 'promote', id: leaderId }, undefined],
    [{ type: 'remove', id: goneId }, undefined],
    [{ type: 'remove', id: goneId }, 'idRemoved'],
    [{ type: 'promote', id: goneId }, 'idRemoved'],
    [{ type: 'add', id: goneId, peerURLs: [urlOf(gone)], isLearner: false }, 'idRemoved'],
  ]
  for (const [change, problem] of cases)
    tt.equal(await replica.change(change), problem, JSON.stringify(change))
  await until(() => isTold)
  tt.same(new Set(replica.machine.conf.voters), new Set([leaderId, idOf(stays)]))
  tt.match(await putAt(lab.member(stays), '/k'), '"action":"set"', 'two of two go on')
})

/** A leader that nobody answers, with so many proposals under way that later ones gather. */
async function crowd(lab: ReplicaLab): Promise<{ leader: LabMember; told: string[] }> {
  const name = await lab.leader()
  const leader = lab.member(name)
  for (const other of NAMES) if (other !== name) lab.cut(other)
  const told: string[] = []
  for (let count = 0; count < 100; count += 1)
    leader.replica.propose(set('/k'), (outcome) => told.push(textOf(outcome)))
  await turn()
  for (let count = 0; count < 5; count += 1)
    leader.replica.propose(set('/k'), (outcome) => told.push(textOf(outcome)))
  return { leader, told }
}

t.test('what comes while the batch of a crowd is not committed leaves when it is', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES, { gatherMs: 60_000 })
  const before = lab.member(await lab.leader()).replica.lastIndex
  const { leader, told } = await crowd(lab)
  await turn()
  tt.equal(leader.replica.lastIndex, before + 100, 'not before')
  tt.equal(leader.replica.pending, 105)
  lab.heal()
  await until(() => told.length === 105)
  tt.equal(told.filter((text) => text.includes('"action":"set"')).length, 105)
})

t.test('where a commit takes long, what comes meanwhile waits for a moment only', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES, { gatherMs: 1 })
  const before = lab.member(await lab.leader()).replica.lastIndex
  const { leader, told } = await crowd(lab)
  await until(() => leader.replica.lastIndex >= before + 105)
  tt.same(told, [], 'though nothing is committed')
})

t.test('who does not lead any more lets go of what has gathered', async (tt) => {
  const lab = new ReplicaLab(tt, NAMES, { gatherMs: 60_000 })
  const { leader, told } = await crowd(lab)
  await until(() => !leader.replica.isLeader)
  lab.heal()
  await until(() => told.length === 105)
  tt.same(
    told.filter((text) => !text.includes('"action":"set"')),
    [],
  )
})
