import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { newBirth } from '../../src/membership/birth.ts'
import { encodeChange } from '../../src/membership/change.ts'
import { NONE, type Entry, type Message, type MessageBody } from '../../src/raft/types.ts'
import { Driver, type DriverListener } from '../../src/replica/driver.ts'
import { NO_NETWORK, type Network } from '../../src/replica/options.ts'
import { entryChain } from '../../src/storage/entry-codec.ts'
import { Store } from '../../src/store/store.ts'
import { silent } from '../helpers/alone.ts'
import { NOW } from '../helpers/commands.ts'
import { entriesOf, FakeDisk } from '../helpers/fake-disk.ts'

const NAMES = ['a', 'b', 'c']
const initialCluster = new Map(NAMES.map((name) => [name, [`http://${name}:2380`]]))
const birth = newBirth({ name: 'a', initialCluster, token: 'lab' })
const own = birth.identity.memberId
const [first = '', second = ''] = [...birth.peers.keys()].filter((id) => id !== own)

const deaf: DriverListener = {
  pumping: () => undefined,
  ready: () => undefined,
  applied: () => undefined,
  changed: () => undefined,
  checked: () => undefined,
  installed: () => undefined,
  done: () => undefined,
  membersChanged: () => undefined,
  pumped: () => undefined,
}

function driverOver(disk: FakeDisk, network: Network = NO_NETWORK): Driver {
  const driver = new Driver(
    {
      memberId: own,
      store: new Store({ historySize: 100 }),
      disk,
      network,
      birth,
      forcesAlone: undefined,
      logger: silent,
      file: '/data/member/kvd.db',
      snapshotCount: 10_000,
      tickMs: 100,
      electionTicks: 10,
      requestTimeoutMs: 7000,
      nowMs: () => NOW,
      wallMs: () => NOW,
      elapsedMs: () => 0,
      random: () => 0,
      onFailure: (error) => {
        throw error
      },
      hasDiverged: false,
      onBroken: () => undefined,
    },
    deaf,
  )
  disk.listen({
    persisted: (seq) => driver.persisted(seq),
    full: (seq, message) => driver.full(seq, message),
    failed: (error) => {
      throw error
    },
  })
  return driver
}

const NOOP = { kind: 'noop', id: '', data: new Uint8Array() } as const

/** Two entries of a leader's term behind those of the birth. */
function appendOf(
  from: string,
  term: number,
  isCommitted: boolean,
  last: Pick<Entry, 'kind' | 'id' | 'data'> = NOOP,
): Message {
  let before = birth.entries.at(-1)
  const entries: Entry[] = []
  for (const at of [1, 2]) {
    const index = birth.entries.length + at
    const bare = { index, term, ...(at === 2 ? last : NOOP) }
    before = { ...bare, chain: entryChain(before?.chain ?? 0, bare) }
    entries.push(before)
  }
  return {
    type: 'app',
    from,
    to: own,
    term,
    incarnation: 1,
    prevIndex: birth.entries.length,
    prevTerm: 1,
    prevChain: birth.entries.at(-1)?.chain ?? 0,
    commit: isCommitted ? birth.entries.length + 2 : birth.entries.length,
    entries,
  }
}

t.test('the disk is told of no commit before it has what was committed', async (tt) => {
  const disk = new FakeDisk()
  const driver = driverOver(disk)
  driver.receive([appendOf(first, 2, false)])
  await turn()
  while (disk.waiting > 0) disk.commit()
  const onDisk = (): number[] =>
    entriesOf(
      disk.batches.findLast(({ entries }) => entries.length > 0) ?? { entries: new Uint8Array() },
    ).map(({ term }) => term)
  tt.same(onDisk().slice(-2), [2, 2])
  driver.receive([appendOf(second, 3, true)])
  // What came is in the core alone until the end of the turn.
  driver.settle()
  while (disk.waiting > 0) disk.commit()
  const told = disk.batches.at(-1)?.commit ?? 0
  tt.same([onDisk().slice(-2), told], [[2, 2], birth.entries.length])
  await turn()
  while (disk.waiting > 0) disk.commit()
  driver.settle()
  tt.same([onDisk().slice(-2), disk.batches.at(-1)?.commit], [[3, 3], birth.entries.length + 2])
  driver.stop()
})

t.test('the disk is told at once that a change of the members is committed', async (tt) => {
  const data = encodeChange({ type: 'remove', id: second })
  const ways = [
    [NOOP, birth.entries.length],
    [{ kind: 'conf', id: 'x', data }, birth.entries.length + 2],
  ] as const
  for (const [entry, told] of ways) {
    const disk = new FakeDisk()
    const driver = driverOver(disk)
    for (const isCommitted of [false, true]) {
      driver.receive([appendOf(first, 2, isCommitted, entry)])
      await turn()
      while (disk.waiting > 0) disk.commit()
    }
    tt.equal(driver.applied, birth.entries.length + 2)
    tt.equal(disk.batches.at(-1)?.commit, told, entry.kind)
    driver.stop()
  }
})

t.test('a leader hands over to a member that can be reached', async (tt) => {
  const disk = new FakeDisk()
  const reachable = new Set<string>()
  const connectedSince = (id: string): number | undefined => (reachable.has(id) ? NOW : undefined)
  const driver = driverOver(disk, { ...NO_NETWORK, connectedSince })
  const { core } = driver
  const settle = async (): Promise<void> => {
    await turn()
    while (disk.waiting > 0) disk.commit()
  }
  const say = async (body: MessageBody, term: number): Promise<void> => {
    driver.receive([{ ...body, from: first, to: own, term, incarnation: 1 }])
    await settle()
  }
  driver.pump()
  for (let tick = 0; tick < 20 && core.view.role === 'follower'; tick += 1) core.tick()
  driver.pump()
  await say({ type: 'preVoteResp', isGranted: true }, 2)
  await say({ type: 'voteResp', isGranted: true, wallMs: NOW }, 2)
  tt.equal(core.view.role, 'leader')
  driver.handOver()
  tt.equal(core.view.transferee, NONE, 'nobody is there')
  for (const id of [second, first]) {
    reachable.clear()
    reachable.add(id)
    driver.handOver()
    tt.equal(core.view.transferee, id)
  }
  await say({ type: 'hbResp', readBatch: 0, wallMs: NOW, isDamaged: true }, 2)
  reachable.add(second)
  driver.handOver()
  tt.equal(core.view.transferee, second, 'who is damaged may not lead')
  driver.stop()
})
