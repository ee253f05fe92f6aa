// "CoreOS in depth, part two", rows B7 and B8 of the article list: the production architecture, three central
// machines with the store and workers that reach it through a proxy of their own. Everything on the workers
// speaks to localhost. locksmith, the third of B8's programs, is not there yet.
import type { Cluster } from '../../src/harness/cluster.ts'
import { waitFor } from '../../src/harness/deadline.ts'
import type { Machine } from '../../src/harness/machine.ts'
import { enterSandbox } from '../../src/harness/sandbox.ts'
import { storeMembers, storeURLs } from '../../src/harness/software.ts'
import { endpointsOf, membersSeenBy } from '../helpers/store.ts'
import { bootFleet, fleetctl, rows, sleeper, untilPlaced } from '../helpers/walkthrough.ts'

const entry = await enterSandbox('articles')
const { default: tap, test } = await import('tap')
tap.setTimeout(300_000)
const ROLES: Readonly<Record<string, string>> = { m4: 'worker', m5: 'worker' }

if ('reason' in entry) tap.plan(0, entry.reason)
else {
  const settings = ({ name }: { name: string }) => ({
    FLEET_AGENT_TTL: '8s',
    FLEET_METADATA: `role=${ROLES[name] ?? 'central'}`,
  })
  const cluster = await bootFleet(entry.sandbox, tap, settings, 5)
  useProxy(cluster)
  separate(cluster)
  survive(cluster)
}

/** Runs `kvctl WORDS` on a machine, at its own store or proxy alone: kvctl would turn to the members else. */
function kvctl(machine: Machine, ...words: readonly string[]): Promise<string> {
  return machine.must(['kvctl', '--no-sync', ...words])
}

/**
 * The endpoints of a proxy, sorted, when there are as many as `count`. One that starts before the last
 * member has published its URLs hears of it with the next refresh, after 30 s.
 */
async function untilSettled(machine: Machine, count: number): Promise<readonly string[]> {
  const look = async () => {
    const seen = (await endpointsOf(machine)).toSorted()
    return seen.length === count ? { done: seen } : { seen: seen.join(' ') }
  }
  return await waitFor(`${count} endpoints at ${machine.name}`, look, { timeoutMs: 60_000 })
}

function useProxy(cluster: Cluster): void {
  const members = storeMembers(cluster.machines)
  const [central, worker] = [cluster.machine(1), cluster.machine(4)]

  test('B7: the store is on the central machines, the workers have proxies', async (t) => {
    for (const machine of cluster.machines) {
      const seen = (await membersSeenBy(machine)).map(({ name }) => name)
      t.same(seen.toSorted(), ['m1', 'm2', 'm3'], `as ${machine.name} sees it`)
      const isMember = members.includes(machine)
      const own = isMember ? [] : members.flatMap(({ address }) => storeURLs(address))
      t.same(await untilSettled(machine, own.length), own)
      t.equal(await machine.must(['ls', '/var/lib/etcd2']), isMember ? 'member\n' : 'proxy\n')
    }
  })

  test('B8: kvctl reads and writes through the proxy as at a member', async (t) => {
    t.equal(await kvctl(worker, 'set', '/b8/message', 'through'), 'through\n')
    t.equal(await kvctl(central, 'get', '--quorum', '/b8/message'), 'through\n')
    t.equal(await kvctl(worker, 'update', '/b8/message', 'again'), 'again\n')
    const swap = ['set', '/b8/message', 'swapped', '--swap-with-value', 'again']
    t.equal(await kvctl(worker, ...swap), 'swapped\n')
    const refused = await worker.run(['kvctl', '--no-sync', 'mk', '/b8/message', 'once more'])
    t.match(refused, { code: 4, stderr: /^Error: {2}105: Key already exists \(\/b8\/message\)/ })
    await kvctl(worker, 'mkdir', '/b8/dir')
    for (const words of ['ls --recursive --sort /', 'member list', 'get /b8/message'])
      t.equal(await kvctl(worker, ...words.split(' ')), await kvctl(central, ...words.split(' ')))
    t.match(await kvctl(worker, 'cluster-health'), /\ncluster is healthy\n$/)
    t.equal(await kvctl(worker, 'rm', '--recursive', '/b8'), '')
  })

  test('B8: a watch through the proxy hears what is written elsewhere', async (t) => {
    const script = 'echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE >>/root/heard'
    const watch = [
      'kvctl',
      '--no-sync',
      'exec-watch',
      '--recursive',
      '/b8',
      '--',
      'sh',
      '-c',
      script,
    ]
    await worker.must(['systemd-run', '--quiet', '--unit=watch', ...watch])
    // It has begun when it hears; what came before is the past.
    const heard = () => worker.must(['sh', '-c', 'cat /root/heard 2>/dev/null || true'])
    const look = async () => {
      await kvctl(central, 'set', '/b8/begun', 'yes')
      const seen = await heard()
      return seen === '' ? { seen } : { done: seen }
    }
    t.match(await waitFor('the watch to begin', look), /^set \/b8\/begun yes\n/)
    await kvctl(cluster.machine(2), 'set', '/b8/x', 'one')
    await kvctl(cluster.machine(3), 'set', '/b8/x', 'two')
    await kvctl(cluster.machine(5), 'rm', '/b8/x')
    const rest = async () => {
      const seen = (await heard()).replaceAll('set /b8/begun yes\n', '')
      return seen.includes('delete') ? { done: seen } : { seen }
    }
    const expected = 'set /b8/x one\nset /b8/x two\ndelete /b8/x\n'
    t.equal((await waitFor('all changes', rest)).replaceAll(' \n', '\n'), expected)
    await worker.must(['systemctl', 'stop', 'watch'])
  })
}

function separate(cluster: Cluster): void {
  const [m4, m5] = [cluster.machine(4), cluster.machine(5)]

  test('B7: metadata and global units keep the roles apart', async (t) => {
    const files = {
      'web@.service': sleeper('MachineMetadata=role=worker'),
      'database.service': sleeper('MachineMetadata=role=central'),
      'agent.service': sleeper('Global=true', 'MachineMetadata=role=worker'),
      'monitor.service': sleeper('Global=true'),
    }
    for (const [name, text] of Object.entries(files)) m4.writeFile(`root/${name}`, text)
    t.equal((await fleetctl(m4, 'submit /root/web@.service')).code, 0)
    const paths = ['database', 'agent', 'monitor'].map((name) => `/root/${name}.service`).join(' ')
    const webs = [1, 2, 3, 4].map((number) => `web@${number}.service`)
    t.equal((await fleetctl(m4, `start ${webs.join(' ')} ${paths}`)).code, 0)
    const isRight = (placed: ReadonlyMap<string, readonly string[]>) =>
      [...placed.values()].flat().length === 4 + 1 + 2 + 5
    const placed = await untilPlaced(cluster, { asked: m5, units: /\.service$/, isRight })
    const where = webs.flatMap((unit) => placed.get(unit) ?? []).toSorted()
    t.same(where, ['m4', 'm4', 'm5', 'm5'], 'the workers share the work')
    t.ok(['m1', 'm2', 'm3'].includes(placed.get('database.service')?.join() ?? ''))
    t.same(placed.get('agent.service'), ['m4', 'm5'])
    t.same(placed.get('monitor.service'), ['m1', 'm2', 'm3', 'm4', 'm5'])
  })

  test('B8: fleetctl prints on a worker what it prints on a member', async (t) => {
    const machines = rows((await fleetctl(m4, 'list-machines --no-legend')).stdout)
    const roles = machines.map(([, address, metadata]) => [address, metadata])
    const role = ({ name }: Machine) => `role=${ROLES[name] ?? 'central'}`
    t.same(
      roles,
      cluster.machines.map((machine) => [machine.address, role(machine)]),
    )
    for (const words of ['list-machines --full', 'list-unit-files', 'list-units'])
      t.same(await fleetctl(m4, words), await fleetctl(cluster.machine(1), words), words)
  })
}

/** One number per start of the unit on the machine. */
function invocation(machine: Machine, unit: string): Promise<string> {
  return machine.must(['systemctl', 'show', '--property=InvocationID', '--value', unit])
}

function survive(cluster: Cluster): void {
  const [m1, m4, m5] = [cluster.machine(1), cluster.machine(4), cluster.machine(5)]

  test('B7: a central machine dies, and the workers work on and take more', async (t) => {
    const before = await Promise.all(
      [m4, m5].map((machine) => invocation(machine, 'agent.service')),
    )
    for (const id of before) t.match(id, /^[0-9a-f]{32}\n$/)
    await m1.powerCut()
    t.equal((await fleetctl(m5, 'start web@5.service')).code, 0)
    const isRight = (placed: ReadonlyMap<string, readonly string[]>) =>
      placed.has('web@5.service') && placed.get('monitor.service')?.join() === 'm2,m3,m4,m5'
    const placed = await untilPlaced(cluster, { asked: m4, units: /^(?:web|monitor)/, isRight })
    t.ok(['m4', 'm5'].includes(placed.get('web@5.service')?.join() ?? ''))
    const after = await Promise.all([m4, m5].map((machine) => invocation(machine, 'agent.service')))
    t.same(after, before, 'what ran was not even restarted')
  })

  test('B7: the machine comes back, and is a member and a part of the fleet again', async (t) => {
    await m1.boot()
    const look = async () => {
      const { stdout } = await m4.run(['kvctl', '--no-sync', 'cluster-health'])
      const isWell = stdout.match(/ is healthy: /g)?.length === 3
      return isWell ? { done: stdout } : { seen: stdout }
    }
    t.match(await waitFor('all members to be healthy', look), /\ncluster is healthy\n$/)
    const isRight = (placed: ReadonlyMap<string, readonly string[]>) =>
      placed.get('monitor.service')?.length === 5
    t.ok(await untilPlaced(cluster, { asked: m5, units: /^monitor/, isRight }))
  })
}
