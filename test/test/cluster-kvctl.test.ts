// What an administrator of three kvd does with kvctl, and the same cluster under the original's etcdctl.
import { mkdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import tap, { test } from 'tap'
import { waitFor } from '../src/harness/deadline.ts'
import { installOriginals, which } from '../src/harness/host.ts'
import { program } from '../src/harness/paths.ts'
import { type Result, must, run } from '../src/harness/process.ts'
import { environment } from '../src/launch/local-processes.ts'
import { choosePorts } from '../src/launch/ports.ts'
import { KEY_STEPS, walk } from './helpers/etcdctl-walk.ts'
import { type Place, launchMember, startCluster } from './helpers/start-cluster.ts'

tap.setTimeout(300_000)

await installOriginals()
const noEtcdctl = which('etcdctl') === undefined && 'there is no etcdctl on this machine'

const KVCTL = [process.execPath, program('kvctl')]

/** Runs kvctl at these members; words are split at blanks. */
function kvctl(members: readonly Place[], words: string, input = ''): Promise<Result> {
  const env = environment({ ETCDCTL_ENDPOINTS: members.map(({ client }) => client).join() })
  const argv = [...KVCTL, ...words.split(' ')]
  return run(argv, { env, input, timeoutMs: 60_000 })
}

/** Runs it until it prints this: a member that was asked may be behind, or not there yet. */
function until(members: readonly Place[], words: string, wanted: RegExp): Promise<RegExpExecArray> {
  const look = async () => {
    const { stdout, stderr } = await kvctl(members, words)
    const done = wanted.exec(stdout)
    return done === null ? { seen: `${stdout}${stderr}` } : { done }
  }
  return waitFor(`kvctl ${words} to print ${wanted}`, look, { timeoutMs: 60_000 })
}

async function newPlace(name: string): Promise<Place> {
  const [client = '', peer = ''] = (await choosePorts([0, 0])).map(
    (port) => `http://127.0.0.1:${port}`,
  )
  return { name, client, peer }
}

function joining(initialCluster: string): string[] {
  return ['--initial-cluster', initialCluster, '--initial-cluster-state', 'existing']
}

/** What cluster-health prints when so many members are well, and nothing else. */
function allHealthy(count: number): RegExp {
  const line = 'member [0-9a-f]+ is healthy: got healthy result from http://127.0.0.1:\\d+\\n'
  return new RegExp(`^(?:${line}){${count}}cluster is healthy\\n$`)
}

test('members are added, moved and removed while the cluster stays well', async (t) => {
  const directory = t.testdir()
  const { members, initialCluster } = await startCluster(t, directory)
  t.match(await kvctl(members, 'cluster-health'), { code: 0, stdout: allHealthy(3), stderr: '' })
  const { stdout: list } = await kvctl(members, 'member list')
  for (const { name, peer, client } of members)
    t.match(list, `: name=${name} peerURLs=${peer} clientURLs=${client} isLeader=`)
  t.equal(list.match(/isLeader=true/g)?.length, 1)
  await kvctl(members, 'set /before 1')

  const place = await newPlace('m4')
  const added = await kvctl(members, `member add m4 ${place.peer}`)
  const [, id = '', name, cluster = '', state] =
    /^Added member named m4 with ID ([0-9a-f]+) to cluster\n\nETCD_NAME="(.*)"\nETCD_INITIAL_CLUSTER="(.*)"\nETCD_INITIAL_CLUSTER_STATE="(.*)"\n$/.exec(
      added.stdout,
    ) ?? []
  t.same([added.code, name, state], [0, 'm4', 'existing'])
  const told = cluster.split(',').toSorted()
  t.same(told, [...initialCluster.split(','), `m4=${place.peer}`].toSorted())
  await until(members, 'member list', new RegExp(`^${id}\\[unstarted\\]: peerURLs=`, 'm'))

  const first = launchMember(t, directory, place, joining(cluster))
  await until([place], '--no-sync get /before', /^1$/m)
  await until(members, 'cluster-health', allHealthy(4))

  const moved = { ...place, peer: (await newPlace('m4')).peer }
  t.same(await kvctl(members, `member update ${id} ${moved.peer}`), {
    code: 0,
    stdout: `Updated member with ID ${id} in cluster\n`,
    stderr: '',
  })
  await first.kvd.stop(5000)
  await kvctl(members, 'set /moved 2')
  const second = launchMember(t, directory, moved, joining(cluster))
  await until([moved], '--no-sync get /moved', /^2$/m)
  await until(members, 'member list', new RegExp(`^${id}: name=m4 peerURLs=${moved.peer} `, 'm'))
  await until(members, 'cluster-health', allHealthy(4))

  t.match(await kvctl(members, `member remove ${id}`), {
    code: 0,
    stdout: `Removed member ${id} from cluster\n`,
  })
  t.equal(await second.kvd.ended, 'exit status 0', 'it ends by itself')
  await until(members, 'cluster-health', allHealthy(3))
})

test('cluster-health tells who is away, and when there is no majority', async (t) => {
  const directory = t.testdir()
  const { members, initialCluster } = await startCluster(t, directory)
  const [one, two, three] = members
  if (one === undefined || two === undefined || three === undefined) throw new Error('three')
  const restart = (place: Place) =>
    launchMember(t, directory, place, ['--initial-cluster', initialCluster])

  three.kvd.kill()
  await three.kvd.ended
  const away = new RegExp(
    `^member [0-9a-f]+ is unreachable: \\[${three.client}\\] are all unreach`,
    'm',
  )
  const minus = await until([one], 'cluster-health', /^cluster is healthy$/m)
  t.match(minus.input, away)
  t.equal(minus.input.match(/is healthy: got healthy result/g)?.length, 2)
  t.match(await kvctl([one, two], 'set /two still'), { code: 0, stdout: 'still\n' })

  two.kvd.kill()
  await two.kvd.ended
  const none = await until([one], 'cluster-health', /^cluster is unhealthy$/m)
  t.match(none.input, `is unhealthy: got unhealthy result from ${one.client}\n`)
  t.match(none.input, away)
  t.equal((await kvctl([one], 'cluster-health')).code, 5)

  for (const place of [two, three]) restart(place)
  await until([one], 'cluster-health', allHealthy(3))
  for (const place of members) await until([place], '--no-sync get /two', /^still$/m)
})

test('a backup of a member, made while it is written to, begins a new cluster', async (t) => {
  const directory = t.testdir()
  const { members } = await startCluster(t, directory)
  const [, source] = members
  if (source === undefined) throw new Error('three')
  for (let n = 0; n < 20; n += 1) await write(source, `/before/${n}`, 'v'.repeat(100))
  const over = new AbortController()
  let written = 0
  const writing = (async () => {
    for (; !over.signal.aborted; written += 1) await write(source, `/during/${written}`, 'v')
  })()
  const place = await newPlace(source.name)
  const restored = join(directory, 'restored')
  const copy = await backUp(source.data, restored, '/before/19')
  over.abort()
  await writing
  for (const { kvd } of members) kvd.kill()
  mkdirSync(join(restored, place.name))
  renameSync(copy, join(restored, place.name, 'kvd'))

  const alone = ['--initial-cluster', `${place.name}=${place.peer}`]
  const forced = launchMember(t, restored, place, [...alone, '--force-new-cluster'])
  await until([place], 'cluster-health', allHealthy(1))
  const before = await kvctl([place], 'ls /before')
  t.equal(before.stdout.match(/before/g)?.length, 20, 'what was there before')
  const during = await kvctl([place], 'ls /during')
  const numbers = during.stdout.match(/\d+/g)?.map(Number) ?? []
  const sorted = numbers.toSorted((left, right) => left - right)
  t.same(sorted, [...sorted.keys()], `${sorted.length} of ${written}, none is missing among them`)
  t.match(await kvctl([place], 'set /after 1'), { code: 0, stdout: '1\n' })
  await forced.kvd.stop(5000)
  launchMember(t, restored, place, alone)
  await until([place], 'cluster-health', allHealthy(1))

  const [, id] = await until([place], 'member list', /^([0-9a-f]+): name=m2 /)
  t.equal((await kvctl([place], `member update ${id} ${place.peer}`)).code, 0, 'it has moved')
  const next = await newPlace('n2')
  const { stdout } = await kvctl([place], `member add n2 ${next.peer}`)
  const [, cluster = ''] = /ETCD_INITIAL_CLUSTER="(.*)"/.exec(stdout) ?? []
  launchMember(t, restored, next, joining(cluster))
  await until([place], 'cluster-health', allHealthy(2))
  await until([next], '--no-sync get /after', /^1$/m)
})

/** Backs up until the copy has this key, for the disk is told a moment later what is committed. */
function backUp(data: string, parent: string, key: string): Promise<string> {
  let tries = 0
  const look = async () => {
    const copy = join(parent, `copy-${tries}`)
    tries += 1
    await must([...KVCTL, 'backup', '--data-dir', data, '--backup-dir', copy])
    const dump = ['--dump', 'image', '--data-dir', copy]
    const image = await must([process.execPath, program('kvd'), ...dump])
    return image.includes(`"${key}"`) ? { done: copy } : { seen: image }
  }
  return waitFor(`a backup to have ${key}`, look)
}

/** One write through a member; rejects unless it was acknowledged. */
async function write({ client }: Place, key: string, value: string): Promise<void> {
  const form = new URLSearchParams({ value })
  const answer = await fetch(`${client}/v2/keys${key}`, { method: 'PUT', body: form })
  await answer.arrayBuffer()
  if (!answer.ok) throw new Error(`${key}: ${answer.status}`)
}

test('a tree exported from one cluster is the same when imported in another', async (t) => {
  const directory = t.testdir()
  const [from, to] = await Promise.all(
    ['from', 'to'].map((name) => startCluster(t, `${directory}/${name}`)),
  )
  if (from === undefined || to === undefined) throw new Error('two')
  for (const words of ['mkdir /empty', 'set /a/b/c deep', 'set /ünï code', 'set /_hidden/x h'])
    t.equal((await kvctl(from.members, words)).code, 0, words)
  const tree = await kvctl(from.members, 'export --hidden /_hidden /')
  t.match(tree, { code: 0, stdout: /"deep"/, stderr: '' })
  t.match(tree.stdout, /ünï/)
  t.match(tree.stdout, /_hidden/)
  const imported = await kvctl(to.members, 'import --json -', tree.stdout)
  t.same(imported, { code: 0, stdout: 'finished importing 3 keys\n', stderr: '' })
  const again = await kvctl(to.members, 'export --hidden /_hidden /')
  t.equal(again.stdout, tree.stdout)
})

test("Debian's etcdctl works with a cluster", { skip: noEtcdctl }, async (t) => {
  const { members } = await startCluster(t, t.testdir())
  for (const { client } of members) {
    // One member at a time: what the next one reads it may not have applied yet.
    const steps = KEY_STEPS.map(([args, ...wanted]) => [`--no-sync ${args}`, ...wanted] as const)
    await walk(t, client, steps)
  }
  const [first] = members
  const id = '[0-9a-f]+'
  const url = 'http://127\\.0\\.0\\.1:\\d+'
  const line = (name: string) =>
    `${id}: name=${name} peerURLs=${url} clientURLs=${url} isLeader=(?:true|false)\\n`
  await walk(t, members.map(({ client }) => client).join(), [
    ['set /shared by-all', 'by-all\n'],
    ['get --quorum /shared', 'by-all\n'],
    ['cluster-health', allHealthy(3)],
    ['member list', new RegExp(`^(?:${line('m[123]')}){3}$`)],
    [
      'member add m4 http://127.0.0.1:4',
      new RegExp(
        `^Added member named m4 with ID ${id} to cluster\n\nETCD_NAME="m4"\nETCD_INITIAL_CLUSTER="[^"]*m4=http://127\\.0\\.0\\.1:4[^"]*"\nETCD_INITIAL_CLUSTER_STATE="existing"\n$`,
      ),
    ],
    [`member update 1234 ${first?.peer}`, '', 1],
  ])
  const [, added = ''] = await until(members, 'member list', /^([0-9a-f]+)\[unstarted\]/m)
  await walk(t, first?.client ?? '', [
    [`member update ${added} http://127.0.0.1:5`, `Updated member with ID ${added} in cluster\n`],
    [`member remove ${added}`, `Removed member ${added} from cluster\n`],
    ['rm /shared', 'PrevNode.Value: by-all\n'],
  ])
})
