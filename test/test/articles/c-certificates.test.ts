// "CoreOS reaches beta", row C2 of the article list: clients and members authenticate with certificates, both
// ways, and plain text is refused. Three members, a worker with a proxy, and fleet over all of it.
import type { Cluster } from '../../src/harness/cluster.ts'
import { waitFor } from '../../src/harness/deadline.ts'
import { which } from '../../src/harness/host.ts'
import type { Machine } from '../../src/harness/machine.ts'
import { enterSandbox } from '../../src/harness/sandbox.ts'
import { installFlotilla, storeMembers, untilJoined } from '../../src/harness/software.ts'
import { Authority, type Pair } from '../helpers/certificates.ts'
import { bootCluster, fleetctl, rows, sleeper } from '../helpers/walkthrough.ts'

const entry = await enterSandbox('articles')
const { default: tap, test } = await import('tap')
tap.setTimeout(300_000)
const PORTS = [2379, 4001]
const CA = '/etc/kvd/ca.pem'
const OWN = ['/etc/kvd/own.pem', '/etc/kvd/own.key'] as const
const STRANGER = ['/root/stranger.pem', '/root/stranger.key'] as const

/** fleetd shows the certificate of its machine to the store there. */
const FLEET = {
  FLEET_ETCD_SERVERS: 'https://127.0.0.1:2379',
  FLEET_ETCD_CAFILE: CA,
  FLEET_ETCD_CERTFILE: OWN[0],
  FLEET_ETCD_KEYFILE: OWN[1],
}

if ('reason' in entry) tap.plan(0, entry.reason)
else if (which('openssl') === undefined) tap.plan(0, 'there is no openssl command')
else {
  const directory = tap.testdir({})
  const [ours, theirs] = [
    await Authority.create(directory, 'ours'),
    await Authority.create(directory, 'theirs'),
  ]
  const prepare = async (machine: Machine, machines: readonly Machine[]): Promise<void> => {
    const names = `DNS:${machine.name},IP:${machine.address},IP:127.0.0.1`
    machine.writeFile(CA, ours.pem)
    writePair(machine, OWN, await ours.issue(machine.name, names))
    writePair(machine, STRANGER, await theirs.issue(machine.name, names))
    await installFlotilla(machine, machines, FLEET)
    await machine.install('kvd', storeSettings(machine, machines))
  }
  const cluster = await bootCluster(entry.sandbox, tap, { machines: 4, prepare })
  await untilJoined(cluster)
  welcome(cluster)
  refuse(cluster)
  betray(cluster)
}

function writePair(machine: Machine, [cert, key]: readonly [string, string], pair: Pair): void {
  machine.writeFile(cert, pair.cert)
  machine.writeFile(key, pair.key, 0o600)
}

function storeSettings(machine: Machine, machines: readonly Machine[]): Record<string, string> {
  const members = storeMembers(machines)
  const peerURL = ({ address }: Machine): string => `https://${address}:2380`
  const side = (prefix: string) => ({
    [`ETCD_${prefix}CERT_FILE`]: OWN[0],
    [`ETCD_${prefix}KEY_FILE`]: OWN[1],
    [`ETCD_${prefix}TRUSTED_CA_FILE`]: CA,
    [`ETCD_${prefix}CLIENT_CERT_AUTH`]: 'true',
  })
  return {
    ...side(''),
    ...side('PEER_'),
    ETCD_NAME: machine.name,
    ETCD_PROXY: members.includes(machine) ? 'off' : 'on',
    ETCD_INITIAL_CLUSTER: members.map((one) => `${one.name}=${peerURL(one)}`).join(','),
    ETCD_LISTEN_CLIENT_URLS: PORTS.map((port) => `https://0.0.0.0:${port}`).join(','),
    ETCD_ADVERTISE_CLIENT_URLS: `https://${machine.address}:2379`,
    ETCD_LISTEN_PEER_URLS: peerURL(machine),
    ETCD_INITIAL_ADVERTISE_PEER_URLS: peerURL(machine),
  }
}

/** kvctl on a machine, with the certificate of that machine, at the store of that machine. */
function kvctl(machine: Machine, ...words: readonly string[]): Promise<string> {
  const files = ['--ca-file', CA, '--cert-file', OWN[0], '--key-file', OWN[1]]
  return machine.must(['kvctl', '--endpoints', 'https://127.0.0.1:2379', ...files, ...words])
}

/** What curl on a machine gets: the HTTP status, or '000' and curl's own when there was no answer. */
async function curl(machine: Machine, ...words: readonly string[]): Promise<string> {
  const show = ['-s', '-m', '10', '-o', '/dev/null', '-w', '%{http_code}']
  return (await machine.run(['curl', ...show, ...words])).stdout
}

/** curl's words to show a certificate. */
function showing([cert, key]: readonly [string, string]): string[] {
  return ['--cacert', CA, '--cert', cert, '--key', key]
}

function welcome(cluster: Cluster): void {
  const [m1, m3, m4] = [cluster.machine(1), cluster.machine(3), cluster.machine(4)]

  test('C2: kvctl with a certificate reads and writes on each machine', async (t) => {
    for (const machine of cluster.machines) {
      const lines = (await kvctl(machine, 'cluster-health')).trimEnd().split('\n')
      t.equal(lines.pop(), 'cluster is healthy')
      t.equal(lines.length, 3)
      for (const line of lines) t.match(line, /is healthy: got healthy result from https:\/\//)
    }
    t.equal(await kvctl(m4, '--no-sync', 'set', '/secret', 'kept'), 'kept\n')
    t.equal(await kvctl(m3, 'get', '--quorum', '/secret'), 'kept\n')
  })

  test('C2: curl with a certificate is enough, at both ports', async (t) => {
    for (const { address } of cluster.machines)
      for (const port of PORTS) {
        const url = `https://${address}:${port}/v2/keys/secret`
        const text = await m1.must(['curl', '-s', ...showing(OWN), url])
        t.match(text, /^\{"action":"get","node":\{"key":"\/secret","value":"kept",/, url)
      }
  })

  test('C2: fleet works over it', async (t) => {
    m4.writeFile('root/everywhere.service', sleeper('Global=true'))
    t.equal((await fleetctl(m4, 'start /root/everywhere.service')).code, 0)
    for (const machine of cluster.machines) await machine.waitUnit('everywhere.service', 'active')
    const list = rows((await fleetctl(m1, 'list-machines --no-legend')).stdout)
    t.same(
      list.map(([, address]) => address),
      cluster.machines.map(({ address }) => address),
    )
  })
}

function refuse(cluster: Cluster): void {
  const [m1, m4] = [cluster.machine(1), cluster.machine(4)]
  const targets = [
    ...cluster.machines.flatMap(({ address }) =>
      PORTS.map((port) => ({ place: `${address}:${port}`, path: '/v2/keys/secret' })),
    ),
    ...storeMembers(cluster.machines).map(({ address }) => ({
      place: `${address}:2380`,
      path: '/members',
    })),
  ]

  test('C2: plain text is refused at every port', async (t) => {
    for (const { place, path } of targets) {
      t.equal(
        await curl(m4, '-X', 'PUT', '-d', 'value=stolen', `http://${place}${path}`),
        '000',
        place,
      )
      t.equal(await curl(m4, `http://${place}${path}`), '000', place)
    }
    t.equal(await kvctl(m1, 'get', '--quorum', '/secret'), 'kept\n')
  })

  test('C2: whoever shows no certificate is refused at every port', async (t) => {
    for (const { place, path } of targets) {
      t.equal(await curl(m4, '--cacert', CA, `https://${place}${path}`), '000', place)
      t.equal(await curl(m4, ...showing(OWN), `https://${place}${path}`), '200', `${place} else`)
    }
  })

  test('C2: so is who shows one of another authority', async (t) => {
    for (const { place, path } of targets)
      t.equal(await curl(m4, ...showing(STRANGER), `https://${place}${path}`), '000', place)
  })

  test('C2: and a client does not trust a store that its authority has not signed', async (t) => {
    const url = `https://${m1.address}:2379/v2/keys/secret`
    const { code } = await m4.run(['curl', '-s', '--cert', OWN[0], '--key', OWN[1], url])
    t.equal(code, 60, 'curl: the certificate is not trusted')
    const files = ['--cert-file', OWN[0], '--key-file', OWN[1]]
    const endpoint = ['--endpoints', `https://${m1.address}:2379`]
    const untrusting = await m4.run(['kvctl', ...endpoint, ...files, 'get', '/secret'])
    t.equal(untrusting.code, 4)
    t.match(untrusting.stderr, 'cluster is unavailable or misconfigured')
  })
}

function betray(cluster: Cluster): void {
  const [m1, m3] = [cluster.machine(1), cluster.machine(3)]
  const quorumRead = (machine: Machine) =>
    curl(machine, ...showing(OWN), `https://127.0.0.1:2379/v2/keys/secret?quorum=true`)

  test('C2: a member with certificates of another authority takes no part', async (t) => {
    const peers = { ETCD_PEER_CERT_FILE: STRANGER[0], ETCD_PEER_KEY_FILE: STRANGER[1] }
    const honest = storeSettings(m3, cluster.machines)
    await m3.install('kvd', { ...honest, ...peers })
    await m3.must(['systemctl', 'restart', 'kvd'], { timeoutMs: 60_000 })
    t.equal(await kvctl(m1, 'set', '/secret', 'without m3'), 'without m3\n')
    t.equal(await quorumRead(m3), '500', 'it cannot confirm a read')
    const local = await m3.must([
      'curl',
      '-s',
      ...showing(OWN),
      'https://127.0.0.1:2379/v2/keys/secret',
    ])
    t.match(local, '"value":"kept"', 'and has heard of nothing')

    await m3.install('kvd', honest)
    await m3.must(['systemctl', 'restart', 'kvd'], { timeoutMs: 60_000 })
    const look = async () => {
      const status = await quorumRead(m3)
      return status === '200' ? { done: status } : { seen: status }
    }
    t.equal(await waitFor('m3 to be a member again', look), '200')
    t.equal(await kvctl(m3, '--no-sync', 'get', '/secret'), 'without m3\n')
  })
}
