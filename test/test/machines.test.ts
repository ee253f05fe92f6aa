// The substrate itself: what a test may rely on when it boots machines. The originals, Debian's etcd
// and plain systemd units, stand in for our daemons here.
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { Cluster } from '../src/harness/cluster.ts'
import { waitFor } from '../src/harness/deadline.ts'
import { installOriginals, which } from '../src/harness/host.ts'
import type { Machine } from '../src/harness/machine.ts'
import { enterSandbox } from '../src/harness/sandbox.ts'

const entry = await enterSandbox('machines', installOriginals)
const { default: tap, test } = await import('tap')
if ('reason' in entry) tap.plan(0, entry.reason)
else await suite(await start())

async function start(): Promise<Cluster> {
  if ('reason' in entry) throw new Error(entry.reason)
  const binds = ['/usr/bin/etcd', '/usr/bin/etcdctl'].filter(existsSync)
  return Cluster.boot(entry.sandbox, {
    machines: 3,
    binds: binds.map((path) => ({ from: path, to: path })),
  })
}

/** A member of a three-member etcd 3.4 with the v2 API, as a transient unit. */
async function startEtcd(machine: Machine, cluster: Cluster): Promise<void> {
  const members = cluster.machines.map(({ name, address }) => `${name}=http://${address}:2380`)
  const own = `http://${machine.address}`
  const command = `systemd-run --quiet --unit=etcd --property=Type=notify
    /usr/bin/etcd --enable-v2 --name ${machine.name} --data-dir /var/lib/etcd
    --initial-cluster ${members.join(',')} --initial-cluster-state new
    --listen-peer-urls ${own}:2380 --initial-advertise-peer-urls ${own}:2380
    --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls ${own}:2379`.split(/\s+/)
  await machine.must(command, { timeoutMs: 30_000 })
}

async function put(machine: Machine, key: string): Promise<number> {
  const response = await fetch(`http://${machine.address}:2379/v2/keys/${key}`, {
    method: 'PUT',
    body: new URLSearchParams({ value: 'yes' }),
    signal: AbortSignal.timeout(3000),
  })
  return response.status
}

async function get(machine: Machine, key: string): Promise<number> {
  const response = await fetch(`http://${machine.address}:2379/v2/keys/${key}`, {
    signal: AbortSignal.timeout(3000),
  })
  return response.status
}

/** How many boots the journal knows. (The kernel's boot_id is the host's and never changes.) */
async function boots(machine: Machine): Promise<number> {
  const list = await machine.must(['journalctl', '--list-boots', '--no-pager', '--quiet'])
  return list.trim().split('\n').length
}

async function suite(cluster: Cluster): Promise<void> {
  const [m1, m2, m3] = [cluster.machine(1), cluster.machine(2), cluster.machine(3)]
  tap.setTimeout(180_000)

  test('three machines have their own names, identities and addresses', async (t) => {
    for (const [index, machine] of cluster.machines.entries()) {
      t.equal(await machine.must(['hostname']), `m${index + 1}\n`)
      t.equal(machine.readFile('etc/machine-id'), `${machine.machineID}\n`)
      t.match(await machine.must(['ip', '-br', 'address']), `10.98.0.${index + 1}/24`)
    }
    const ids = cluster.machines.map((machine) => machine.machineID)
    t.same(ids, ids.toSorted(), 'identities sort like the machines')
    t.equal(new Set(ids.map((id) => id.slice(0, 8))).size, 3, 'and differ in eight digits')
  })

  test('no machine has a failed unit', async (t) => {
    for (const machine of cluster.machines)
      t.equal(await machine.must(['systemctl', '--failed', '--no-legend', '--plain']), '')
  })

  test('the workspace and its node are there, read-only', async (t) => {
    t.equal(await m1.must(['node', '--version']), `${process.version}\n`)
    const touch = await m1.run(['touch', '/usr/local/lib/flotilla/package.json'])
    t.match(touch.stderr, 'Read-only file system')
  })

  test('nothing of the host shows in the environment of a command', async (t) => {
    const lines = (await m1.must(['env'])).trim().split('\n')
    t.same(lines.map((line) => line.split('=')[0]).toSorted(), ['HOME', 'LANG', 'PATH'])
  })

  test('exit status, output and input pass through', async (t) => {
    const result = await m1.run(['sh', '-c', 'cat; echo oops >&2; exit 42'], { input: 'hello' })
    t.same(result, { code: 42, stdout: 'hello', stderr: 'oops\n' })
    await t.rejects(m1.must(['false']), { message: 'm1: false: exit status 1' })
  })

  test('a unit that does not become active is shown with its status', async (t) => {
    m1.writeFile('etc/systemd/system/broken.service', '[Service]\nExecStart=/bin/false\n')
    await m1.must(['systemctl', 'daemon-reload'])
    await m1.run(['systemctl', 'start', 'broken'])
    await m1.waitUnit('broken.service', 'failed')
    const wait = m1.waitUnit('broken.service', 'active', 200)
    await t.rejects(wait, { message: /last seen: failed[^]*status=1\/FAILURE/ })
    await t.rejects(m1.start('absent.service'), { message: /cannot start absent.service/ })
    await m1.must(['systemctl', 'reset-failed'])
  })

  test('the same unit stops in one machine without touching its namesakes', async (t) => {
    const unit =
      '[Service]\nExecStart=/bin/sleep infinity\nExecStopPost=/bin/sh -c "echo stopped >>/var/same"\n'
    for (const machine of cluster.machines) {
      machine.writeFile('etc/systemd/system/same.service', unit)
      await machine.must(['systemctl', 'daemon-reload'])
      await machine.start('same.service')
    }
    await m2.must(['systemctl', 'stop', 'same.service'])
    await m2.waitUnit('same.service', 'inactive')
    await m1.waitUnit('same.service', 'active')
    await m3.waitUnit('same.service', 'active')
    t.match(await m1.journal('same.service'), 'Started same.service')
  })

  test('a power cut ends everything at once and keeps the files', async (t) => {
    const before = await boots(m1)
    await m1.must(['sh', '-c', 'echo kept >/var/kept'])
    await m1.powerCut()
    t.equal(m1.isRunning, false)
    t.throws(() => m1.leader, { message: 'm1 is not running' })
    await m1.boot()
    t.equal(await m1.must(['cat', '/var/kept']), 'kept\n')
    t.equal(await boots(m1), before + 1)
    t.notOk(existsSync(join(m1.root, 'var/same')), 'the running unit was not stopped in order')
  })

  test('a reboot goes through systemd and comes back', async (t) => {
    const before = await boots(m2)
    await m2.reboot()
    t.equal(await boots(m2), before + 1)
  })

  test('a machine is frozen in the middle of its work and thawed again', async (t) => {
    const ticks = "const s = require('node:net').createServer((c) => c.end('tick')); s.listen(7777)"
    await m1.must(['systemd-run', '--quiet', '--unit=ticker', 'node', '-e', ticks])
    const ask = async (): Promise<string> => {
      const socket = connect(7777, m1.address)
      socket.setTimeout(500, () => socket.destroy(new Error('no answer')))
      await once(socket, 'connect')
      let text = ''
      for await (const chunk of socket) text += String(chunk)
      return text
    }
    const look = async () => ({ done: await ask() })
    t.equal(await waitFor('the ticker', look), 'tick')
    await m1.freeze()
    await t.rejects(
      ask(),
      { message: 'no answer' },
      'the kernel connects, the process does not answer',
    )
    await m1.thaw()
    t.equal(await ask(), 'tick')
  })

  const skip = which('etcd') === undefined && 'there is no etcd on this host'
  test('a real three-member etcd sees partitions, and their end', { skip }, async (t) => {
    await Promise.all(cluster.machines.map((machine) => startEtcd(machine, cluster)))
    t.equal(await put(m3, 'together'), 201)

    await cluster.partition([m1, m2], [m3])
    const look = async () => {
      const status = await put(m1, 'majority')
      return status < 300 ? { done: status } : { seen: String(status) }
    }
    t.ok(await waitFor('the majority to take writes', look))
    const refused = await put(m3, 'minority').catch(() => 'no answer')
    t.notOk(refused === 200 || refused === 201, `the minority takes none (${refused})`)
    t.equal(await get(m3, 'together'), 200, 'but the test itself still reaches it')
    t.equal(await get(m3, 'majority'), 404)

    await cluster.heal()
    const seen = async () => {
      const status = await get(m3, 'majority')
      return status === 200 ? { done: true } : { seen: String(status) }
    }
    t.ok(await waitFor('m3 to catch up', seen))

    await cluster.partition([m1, m2], [m3], 2380)
    t.match(await m1.must(['curl', '-s', '-m', '3', `http://${m3.address}:2379/version`]), 'etcd')
    const peer = await m1.run(['curl', '-s', '-m', '1', `http://${m3.address}:2380/version`])
    t.equal(peer.code, 28, 'the peer port of m3 times out')
    await cluster.heal()

    await m3.unplug()
    t.equal((await m1.run(['curl', '-s', '-m', '1', `http://${m3.address}:2379/version`])).code, 28)
    await m3.plug()
    const back = async () => ({ done: await get(m3, 'majority') })
    t.equal(await waitFor('m3 to be back on the net', back), 200)
    // Stopped in order, the last members wait seven seconds for others to take the leadership.
    for (const machine of cluster.machines)
      await machine.run(['systemctl', 'kill', '-sKILL', 'etcd'])
  })

  test('machines shut down in order', async (t) => {
    await cluster.powerOff()
    for (const machine of cluster.machines) t.equal(machine.isRunning, false)
    t.equal(m3.readFile('var/same'), 'stopped\n', 'units were stopped, not killed')
  })
}
