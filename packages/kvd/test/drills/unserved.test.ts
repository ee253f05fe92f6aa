import { cpSync, existsSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { fetchMembers } from '../../src/proxy/members.ts'
import { Daemon } from '../helpers/daemon.ts'
import { readDump } from '../helpers/dump.ts'
import { dialNobody } from '../helpers/loopback.ts'
import { freePorts } from '../helpers/store-process.ts'

// Members that hold less than their clients would have to believe.

/** Where a member is, and its flags. */
interface Place {
  readonly name: string
  readonly client: string
  readonly peer: string
  readonly dataDir: string
}

async function newPlace(directory: string, name: string): Promise<Place> {
  const { client, peer } = await freePorts()
  const [clientURL, peerURL] = [`http://127.0.0.1:${client}`, `http://127.0.0.1:${peer}`]
  return { name, client: clientURL, peer: peerURL, dataDir: join(directory, name) }
}

function launch(
  tt: Test,
  { name, client, peer, dataDir }: Place,
  cluster: readonly Place[],
  flags: readonly string[] = [],
): Daemon {
  const initial = cluster.map((member) => `${member.name}=${member.peer}`).join()
  const usual = [
    ['--name', name, '--data-dir', dataDir, '--initial-cluster', initial],
    ['--listen-client-urls', client, '--advertise-client-urls', client],
    ['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
  ].flat()
  return new Daemon(tt, [...usual, ...flags])
}

const LISTENS = 'listening for client requests'

async function put({ client }: Place, key: string): Promise<number> {
  const body = new URLSearchParams({ value: '1' })
  return (await fetch(`${client}/v2/keys/${key}`, { method: 'PUT', body })).status
}

async function isListening({ client }: Place): Promise<boolean> {
  return await fetch(`${client}/version`).then(
    () => true,
    () => false,
  )
}

t.test('a member that was added serves nobody before it knows that it was', async (tt) => {
  const directory = tt.testdir({})
  const [a, b] = [await newPlace(directory, 'a'), await newPlace(directory, 'b')]
  await launch(tt, a, [a]).said(LISTENS)
  const added = await fetch(`${a.client}/v2/members`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ peerURLs: [b.peer] }),
  })
  tt.equal(added.status, 201)
  // Where it listens nobody looks for it.
  const elsewhere = await newPlace(directory, 'elsewhere')
  const existing = ['--initial-cluster-state', 'existing']
  const lost = launch(tt, b, [a, b], [...existing, '--listen-peer-urls', elsewhere.peer])
  await lost.said('this member serves clients as soon as a leader confirms what it holds')
  tt.equal(await isListening(b), false)
  tt.equal(await (await fetch(`${elsewhere.peer}/members`)).text(), '[]\n')
  const failed: string[] = []
  const found = await fetchMembers([elsewhere.peer, a.peer], {
    tls: dialNobody,
    failed: (_url, reason) => failed.push(reason),
  })
  tt.same(found?.clientURLs, [a.client], 'a proxy asks the next one')
  tt.same(failed, ['it knows no member that serves clients'])
  tt.equal(await lost.end('SIGTERM'), 0)

  await launch(tt, b, [a, b], existing).said(LISTENS)
  tt.equal(await put(b, 'x'), 201)
})

async function membersAt({ peer }: Place): Promise<string> {
  return await (await fetch(`${peer}/members`)).text()
}

t.test('a member that was added serves nobody while its leader has no quorum', async (tt) => {
  const directory = tt.testdir({})
  const [a, b, c] = [
    await newPlace(directory, 'a'),
    await newPlace(directory, 'b'),
    await newPlace(directory, 'c'),
  ]
  // Whoever leads goes on for long enough when it has lost its quorum.
  const slow = ['--heartbeat-interval', '1000', '--election-timeout', '10000']
  const [first, second] = [launch(tt, a, [a, b], slow), launch(tt, b, [a, b], slow)]
  await Promise.all([first.said(LISTENS), second.said(LISTENS)])
  const added = await fetch(`${a.client}/v2/members`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ peerURLs: [c.peer] }),
  })
  tt.equal(added.status, 201)
  const self = await (await fetch(`${a.client}/v2/stats/self`)).text()
  const isFirst = self.includes('"StateLeader"')
  const leader = isFirst ? first : second
  await (isFirst ? second : first).end('SIGKILL')

  const third = launch(tt, c, [a, b, c], [...slow, '--initial-cluster-state', 'existing'])
  await third.said('this member serves clients as soon as a leader confirms what it holds')
  while ((await membersAt(c)) === '[]\n') await setImmediate()
  // It has asked a dozen times by the time that the leader itself gives up.
  await leader.said(' lost leader ')
  tt.equal(await isListening(c), false, 'it knows that it was added')
  launch(tt, isFirst ? b : a, [a, b], slow)
  await third.said(LISTENS)
  tt.equal(await put(c, 'x'), 201)
})

/** Three members, and how to start them. */
async function newCluster(tt: Test): Promise<{
  readonly all: readonly Place[]
  readonly a: Place
  readonly start: () => Promise<readonly Daemon[]>
}> {
  const directory = tt.testdir({})
  const a = await newPlace(directory, 'a')
  const all = [a, await newPlace(directory, 'b'), await newPlace(directory, 'c')]
  const start = async (): Promise<readonly Daemon[]> => {
    const members = all.map((place) => launch(tt, place, all))
    await Promise.all(members.map(async (member) => await member.said(LISTENS)))
    return members
  }
  return { all, a, start }
}

t.test('a backup of one of several members goes on alone or not at all', async (tt) => {
  const { all, a, start } = await newCluster(tt)
  const before = await start()
  tt.equal(await put(a, 'before'), 201)
  for (const member of before.toReversed()) await member.end('SIGTERM')

  const mark = join(a.dataDir, 'member', 'backup')
  writeFileSync(mark, 'somewhere\n')
  const backup = launch(tt, a, all)
  tt.equal(await backup.ended(), 1, 'a backup does not join the others')
  tt.ok(backup.log.includes(`${mark} says that this is the backup of one of several members`))

  const forced = launch(tt, a, all, ['--force-new-cluster'])
  await forced.said('a backup was put to use, mark removed')
  tt.equal(existsSync(mark), false)
  tt.equal(await put(a, 'before'), 200)
  tt.equal(await forced.end('SIGTERM'), 0)
})

t.test('a member that has lost its log goes on alone when it is told to', async (tt) => {
  const { all, a, start } = await newCluster(tt)
  const first = await start()
  tt.equal(await put(a, 'before'), 201)
  for (const member of first.toReversed()) await member.end('SIGTERM')
  const second = await start()
  tt.equal(await put(a, 'after'), 201)
  for (const member of second) await member.end('SIGKILL')
  truncateSync(join(a.dataDir, 'member', 'kvd.db-wal'))

  const damaged = launch(tt, a, all)
  await damaged.said('this member does not count until the others have made it whole')
  tt.equal(await isListening(a), false)
  tt.notMatch(damaged.log, 'Restore', 'others may have it')
  await damaged.end('SIGTERM')

  const forced = launch(tt, a, all, ['--force-new-cluster'])
  await forced.said(LISTENS)
  tt.match(forced.log, 'has lost something that it had acknowledged: nobody has it any more')
  tt.equal(await put(a, 'before'), 200)
  tt.equal(await forced.end('SIGTERM'), 0)
  await launch(tt, a, [a]).said(LISTENS)
  tt.equal(await put(a, 'more'), 201)
})

t.test('with nothing left of a member there is nothing to go on with', async (tt) => {
  const a = await newPlace(tt.testdir({}), 'a')
  const first = launch(tt, a, [a])
  await first.said(LISTENS)
  tt.equal(await put(a, 'x'), 201)
  tt.equal(await first.end('SIGKILL'), null)
  for (const name of ['kvd.db', 'kvd.db-wal', 'kvd.db-shm'])
    rmSync(join(a.dataDir, 'member', name), { force: true })
  const plain = launch(tt, a, [a])
  tt.equal(await plain.ended(), 1)
  tt.match(plain.log, 'go on with what is left by --force-new-cluster')
  const forced = launch(tt, a, [a], ['--force-new-cluster'])
  tt.equal(await forced.ended(), 1)
  tt.match(forced.log, /everything is lost, nothing is left to go on with/)
})

t.test(
  'a member that has lost the end of its log has the rest, however often it starts',
  async (tt) => {
    const { all, a, start } = await newCluster(tt)
    const keys = Array.from({ length: 20 }, (_, at) => `k${at}`)
    const members = await start()
    for (const key of keys) tt.equal(await put(a, key), 201)
    for (const member of members) await member.end('SIGKILL')
    const wal = join(a.dataDir, 'member', 'kvd.db-wal')
    truncateSync(wal, statSync(wal).size - 4096)
    for (const times of ['once', 'twice']) {
      const damaged = launch(tt, a, all)
      await damaged.said('this member does not count until the others have made it whole')
      tt.equal(await isListening(a), false, times)
      tt.equal(await damaged.end('SIGTERM'), 0)
      tt.equal(
        (await readDump(a.dataDir, 'image'))?.nodes.size,
        0,
        'what may be replaced is not shown',
      )
    }

    const copy = { ...a, dataDir: `${a.dataDir}-copy` }
    cpSync(a.dataDir, copy.dataDir, { recursive: true })
    const forced = launch(tt, copy, all, ['--force-new-cluster'])
    await forced.said(LISTENS)
    for (const key of keys.slice(0, -5)) tt.equal(await put(copy, key), 200, `${key} is there`)
    await forced.end('SIGKILL')

    const [again] = await start()
    tt.match(again?.log, 'this member is whole again')
    for (const key of keys) tt.equal(await put(a, key), 200)
  },
)
