// "CoreOS in depth, part two", rows B4, B5 and B6 of the article list, and D5's ports: from the article's
// cloud-configs, with our own discovery service in the place of discovery.etcd.io. As there is no cloudinit
// yet, the test puts the machine's address for $private_ipv4 and hands the etcd2 section on as variables.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from '../../src/harness/cluster.ts'
import { waitFor } from '../../src/harness/deadline.ts'
import type { Machine } from '../../src/harness/machine.ts'
import { HOST_ADDRESS } from '../../src/harness/network.ts'
import { enterSandbox } from '../../src/harness/sandbox.ts'
import type { Child } from '../../src/launch/child.ts'
import { startKvd } from '../../src/launch/local-processes.ts'
import { ARTICLES_SKIP, article, storeVariables } from '../helpers/cloud-config.ts'
import {
  ask,
  clientURL,
  endpointsOf,
  membersSeenBy,
  untilWritable,
  type StoreMember,
} from '../helpers/store.ts'
import { bootCluster } from '../helpers/walkthrough.ts'

const entry = await enterSandbox('articles')
const { default: tap, test } = await import('tap')
tap.setTimeout(300_000)
const SERVICE = `http://${HOST_ADDRESS}:2379`
/** A thirtieth of the default, so that the test need not wait for the other twenty-nine. */
const REFRESH_MS = '1000'

/** What became of the machines: discovery decides it. */
interface Roles {
  readonly cluster: Cluster
  readonly discovery: Child
  readonly token: string
  readonly members: readonly Machine[]
  /** Of the machines that would have been members the one that came too late. */
  readonly late: Machine
  readonly worker: Machine
  readonly reader: Machine
}

if ('reason' in entry) tap.plan(0, entry.reason)
else if (ARTICLES_SKIP !== false) tap.plan(0, ARTICLES_SKIP)
else {
  const prepare = async (machine: Machine): Promise<void> => {
    await machine.install('kvd')
    await machine.install('kvctl')
  }
  const cluster = await bootCluster(entry.sandbox, tap, { machines: 6, prepare })
  const roles = await discover(cluster, join(entry.sandbox.directory, 'discovery'))
  becomeMembers(roles)
  servePorts(roles)
  passOn(roles)
  replace(roles)
}

/**
 * The article's central cloud-config, and one line of its other one: without it members would tell clients
 * and proxies, as etcd's do, that they are at localhost.
 */
function central({ address }: Machine): Record<string, string> {
  const three = storeVariables(article('cloud-config-three.yml'), address)
  const advertised = 'ETCD_ADVERTISE_CLIENT_URLS'
  return {
    ...storeVariables(article('cloud-config-central.yml'), address),
    [advertised]: three[advertised] ?? '',
  }
}

/** Starts the store as the article's `units` section does: `etcd2.service`, command start. */
async function startStore(machine: Machine, variables: Record<string, string>): Promise<void> {
  await machine.install('kvd', { ...variables, ETCD_PROXY_REFRESH_INTERVAL: REFRESH_MS })
  await machine.must(['systemctl', 'enable', 'kvd.service'])
  await machine.start('etcd2.service')
}

/** Starts everything at once, as machines that boot at the same time do. */
async function discover(cluster: Cluster, directory: string): Promise<Roles> {
  mkdirSync(directory)
  const peer = `http://${HOST_ADDRESS}:2380`
  const flags = ['--discovery-service']
  const discovery = startKvd(directory, { clients: [SERVICE], peer, flags })
  const made = async () => {
    const { status, text } = await ask(`${SERVICE}/new?size=3`)
    return status === 200 ? { done: text } : { seen: text }
  }
  const token = await waitFor('a token', made)
  const [worker, reader] = [cluster.machine(5), cluster.machine(6)]
  const proxy = storeVariables(article('cloud-config-proxy.yml'), worker.address)
  const candidates = cluster.machines.slice(0, 4)
  const own = { ETCD_DISCOVERY: token }
  await Promise.all([
    ...candidates.map((machine) => startStore(machine, { ...central(machine), ...own })),
    startStore(worker, { ...proxy, ...own }),
    startStore(reader, { ...proxy, ...own, ETCD_PROXY: 'readonly' }),
  ])
  await untilWritable(worker)
  const names = (await membersSeenBy(worker)).map((one) => one.name)
  const members = candidates.filter(({ machineID }) => names.includes(machineID))
  const [late, ...others] = candidates.filter((machine) => !members.includes(machine))
  if (late === undefined || others.length > 0) throw new Error(`members are ${names.join()}`)
  return { cluster, discovery, token, members, late, worker, reader }
}

function becomeMembers({ discovery, token, members, late, worker, reader }: Roles): void {
  test('B4: of four machines with one token for three, three are the cluster', async (t) => {
    const seen = await membersSeenBy(worker)
    const identities = members.map(({ machineID }) => machineID)
    t.same(seen.map(({ name }) => name).toSorted(), identities, 'named as their machines')
    t.match((await ask(`${token}/_config/size`)).text, '"value":"3"')
    for (const machine of members) {
      t.same(await endpointsOf(machine), [], `${machine.name} is no proxy`)
      t.match(await machine.must(['ls', '/var/lib/etcd2']), /^member\n/m)
      const health = await machine.must(['kvctl', 'cluster-health'])
      t.match(
        health,
        /^(?:member \S+ is healthy: got healthy result from \S+\n){3}cluster is healthy\n$/,
      )
    }
  })

  test('B4: the fourth falls back to being their proxy', async (t) => {
    t.match(await late.journal('kvd'), 'etcdmain: discovery cluster full, falling back to proxy')
    t.equal(await late.must(['ls', '/var/lib/etcd2']), 'proxy\n')
    const own = members.flatMap(({ address }) => [
      `http://${address}:2379`,
      `http://${address}:4001`,
    ])
    t.same((await endpointsOf(late)).toSorted(), own)
    t.equal(await late.must(['kvctl', '--no-sync', 'set', '/b4', 'late']), 'late\n')
    for (const machine of members)
      t.equal(await machine.must(['kvctl', 'get', '--quorum', '/b4']), 'late\n')
  })

  test('B4: a member waits for the others however long they take', async (t) => {
    const show = 'systemctl show --property=TimeoutStartUSec --value etcd2.service'
    t.equal(await late.must(show.split(' ')), 'infinity\n')
  })

  test('B4: once they have met, nobody needs the discovery service', async (t) => {
    await discovery.stop(5000)
    for (const machine of [...members, late, worker, reader]) {
      await machine.must(['systemctl', 'restart', 'etcd2.service'], { timeoutMs: 60_000 })
      await waitFor(`${machine.name} to serve`, async () => {
        const { status, text } = await ask(`${clientURL(machine)}/v2/keys/b4?quorum=true`)
        return status === 200 ? { done: true } : { seen: text }
      })
    }
    t.same(await endpointsOf(members[0] ?? late), [], 'a member is still a member')
    t.equal((await endpointsOf(late)).length, 6, 'a proxy still a proxy')
    const said = 'discovery token ignored since a cluster has already been initialized'
    for (const machine of members) t.match(await machine.journal('kvd'), said)
  })
}

function servePorts({ members, late, worker }: Roles): void {
  test('B5, D5: clients are served at the official and at the legacy port', async (t) => {
    await worker.must(['kvctl', 'set', '/b5', 'ports'])
    for (const machine of [...members, late, worker])
      for (const host of ['127.0.0.1', machine.address])
        for (const port of [2379, 4001]) {
          const url = `http://${host}:${port}/v2/keys/b5?quorum=true`
          t.match(
            await machine.must(['curl', '-sL', url]),
            '"value":"ports"',
            `${machine.name} ${url}`,
          )
        }
  })

  test('B5, D5: peers are served at the official and at the legacy port', async (t) => {
    const seen = await membersSeenBy(worker)
    for (const machine of members) {
      const [official, legacy] = [2380, 7001].map((port) => `http://${machine.address}:${port}`)
      const known = seen.find(({ name }) => name === machine.machineID)
      t.same(known?.peerURLs, [official], '$private_ipv4 is the address')
      const answer = await ask(`${official}/members`)
      t.equal(answer.status, 200)
      t.same(await ask(`${legacy}/members`), answer)
      for (const { name } of seen) t.match(answer.text, `"name":"${name}"`)
    }
  })
}

function passOn({ members, worker, reader }: Roles): void {
  test('B6: a readwrite proxy passes on all, a readonly one reads alone', async (t) => {
    t.equal(await worker.must(['kvctl', '--no-sync', 'set', '/b6', 'written']), 'written\n')
    t.equal(await reader.must(['kvctl', '--no-sync', 'get', '/b6']), 'written\n')
    const key = `${clientURL(reader)}/v2/keys/b6`
    t.equal((await ask(key, 'refused')).status, 501)
    const removal = await fetch(key, { method: 'DELETE' })
    t.equal(removal.status, 501)
    t.equal(await worker.must(['kvctl', '--no-sync', 'get', '/b6']), 'written\n')
  })

  test('B6: a proxy turns to one member after the other', async (t) => {
    const seen = new Set<string>()
    const look = async () => {
      const [first = ''] = await endpointsOf(worker)
      seen.add(new URL(first).hostname)
      return seen.size === members.length ? { done: true } : { seen: [...seen].join(' ') }
    }
    t.ok(await waitFor('each member to have been the first', look))
    t.same(
      [...seen].toSorted(),
      members.map(({ address }) => address),
    )
  })
}

/** The variables that `kvctl member add` prints for the machine that it has added. */
function printedVariables(text: string): Record<string, string> {
  const lines = [...text.matchAll(/^(ETCD_\w+)="(.*)"$/gm)]
  return Object.fromEntries(lines.map(([, name = '', value = '']) => [name, value]))
}

function replace({ members, late, worker, reader }: Roles): void {
  const [staying, other, gone] = members
  if (staying === undefined || other === undefined || gone === undefined)
    throw new Error('no three')

  test('B6: a machine dies, and the proxies go on with the two others', async (t) => {
    await gone.powerCut()
    await untilWritable(worker)
    t.equal((await ask(`${clientURL(reader)}/v2/keys/b6`)).status, 200)
  })

  test('B6: a proxy takes its place, and the proxies learn of it', async (t) => {
    const dead = (await membersSeenBy(worker)).find(({ name }) => name === gone.machineID)
    const remove = await worker.must(['kvctl', '--no-sync', 'member', 'remove', dead?.id ?? ''])
    t.equal(remove, `Removed member ${dead?.id} from cluster\n`)
    const { ETCD_DISCOVERY: _full, ...own } = central(late)
    const peer = own['ETCD_INITIAL_ADVERTISE_PEER_URLS'] ?? ''
    const add = ['kvctl', '--no-sync', 'member', 'add', late.machineID, peer]
    const printed = printedVariables(await worker.must(add))
    t.match(printed, { ETCD_NAME: late.machineID, ETCD_INITIAL_CLUSTER_STATE: 'existing' })

    await late.must(['systemctl', 'stop', 'etcd2.service'])
    await late.must(['rm', '-r', '/var/lib/etcd2/proxy'])
    await startStore(late, { ...own, ...printed })
    const isThere = (seen: readonly StoreMember[]) =>
      seen.some(({ name, clientURLs }) => name === late.machineID && clientURLs.length === 2)
    await waitFor('the new member to have told its name', async () => {
      const seen = await membersSeenBy(worker)
      return isThere(seen) ? { done: true } : { seen: JSON.stringify(seen) }
    })
    const listens = async () => ({ done: await endpointsOf(late) })
    const endpoints = await waitFor('the new member to serve clients', listens)
    t.same(endpoints, [], 'it is no proxy any more')
    const now = [staying, other, late].map(({ address }) => address).toSorted()
    for (const proxy of [worker, reader]) {
      const look = async () => {
        const hosts = (await endpointsOf(proxy)).map((url) => new URL(url).hostname)
        const seen = [...new Set(hosts)].toSorted()
        return seen.join() === now.join() ? { done: seen } : { seen: seen.join() }
      }
      t.same(await waitFor(`${proxy.name} to know the members of now`, look), now)
    }
  })

  test('B6: the new member counts: another one may die', async (t) => {
    const look = async () => {
      const seen = await late.journal('kvd')
      return seen.includes('has caught up and counts') ? { done: true } : { seen }
    }
    await waitFor('the new member to have caught up', look)
    await other.powerCut()
    await untilWritable(worker)
    t.equal(await worker.must(['kvctl', '--no-sync', 'set', '/b6', 'two']), 'two\n')
    t.match((await ask(`${clientURL(reader)}/v2/keys/b6?quorum=true`)).text, '"value":"two"')
  })
}
