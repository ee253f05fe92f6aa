// "CoreOS: Linux for minimal clusters", rows A2, A4, A5 and A6 of the article list, on three machines with
// real systemd. hello.service is the article's without docker.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from '../../src/harness/paths.ts'
import { enterSandbox } from '../../src/harness/sandbox.ts'
import type { Cluster } from '../../src/harness/cluster.ts'
import type { Machine } from '../../src/harness/machine.ts'
import { waitFor } from '../../src/harness/deadline.ts'
import { bootFleet, fleetctl, label, rows, sleeper, untilPlaced } from '../helpers/walkthrough.ts'

const entry = await enterSandbox('articles')
const { default: tap, test } = await import('tap')
tap.setTimeout(300_000)
/** Long enough that a busy computer keeps up, short enough to wait for. */
const AGENT_TTL = '8s'
const DISKS: Readonly<Record<string, string>> = { m1: 'ssd', m2: 'hdd', m3: 'ssd' }

if ('reason' in entry) tap.plan(0, entry.reason)
else {
  const settings = ({ name }: { name: string }) => ({
    FLEET_AGENT_TTL: AGENT_TTL,
    FLEET_METADATA: `name=${name},disk=${DISKS[name]}`,
  })
  const cluster = await bootFleet(entry.sandbox, tap, settings)
  startAndLook(cluster)
  place(cluster)
  die(cluster)
}

function startAndLook(cluster: Cluster): void {
  const [m1, m2, m3] = [cluster.machine(1), cluster.machine(2), cluster.machine(3)]

  test('A4: submit, load and start, each on a different machine', async (t) => {
    const text = readFileSync(join(ROOT, 'test/examples/hello.service'), 'utf8')
    m1.writeFile('root/hello.service', text)
    const submit = await fleetctl(m1, 'submit /root/hello.service')
    t.same(submit, { code: 0, stdout: 'Unit hello.service inactive\n', stderr: '' })
    const load = await fleetctl(m2, 'load hello.service')
    t.same(load, { code: 0, stdout: `Unit hello.service loaded on ${label(m1)}\n`, stderr: '' })
    const start = await fleetctl(m3, 'start hello.service')
    t.same(start, { code: 0, stdout: `Unit hello.service launched on ${label(m1)}\n`, stderr: '' })
    await m1.waitUnit('hello.service', 'active')
    const again = await fleetctl(m3, 'start hello.service')
    t.same(again, { code: 0, stdout: '', stderr: '' }, 'a launched unit is left alone')
  })

  test('A5: every machine lists the unit files and the units alike', async (t) => {
    for (const machine of cluster.machines) {
      const files = rows((await fleetctl(machine, 'list-unit-files')).stdout)
      t.match(files, [
        ['UNIT', 'HASH', 'DSTATE', 'STATE', 'TARGET'],
        ['hello.service', /^[0-9a-f]{7}$/, 'launched', 'launched', label(m1)],
      ])
      const units = rows((await fleetctl(machine, 'list-units')).stdout)
      t.same(units, [
        ['UNIT', 'MACHINE', 'ACTIVE', 'SUB'],
        ['hello.service', label(m1), 'active', 'running'],
      ])
      const machines = rows((await fleetctl(machine, 'list-machines')).stdout)
      t.same(machines, [
        ['MACHINE', 'IP', 'METADATA'],
        ...cluster.machines.map(({ name, machineID, address }) => [
          `${machineID.slice(0, 8)}...`,
          address,
          `disk=${DISKS[name]},name=${name}`,
        ]),
      ])
    }
  })

  test("A5: status is systemd's own text and the journal's last lines, from any machine", async (t) => {
    await untilSaidTwice(m1)
    for (const machine of cluster.machines) {
      const { code, stdout } = await fleetctl(machine, 'status hello.service')
      t.equal(code, 0)
      t.match(stdout, /^● hello\.service - Says Hello World once a second\n/)
      t.match(stdout, /\n +Loaded: loaded \(\/run\/\S+\/hello\.service; linked-runtime/)
      t.match(stdout, /\n +Active: active \(running\) since .* ago\n/)
      t.match(stdout, /\n +Main PID: \d+ \(sh\)\n/)
      t.match(stdout, /\n +CGroup: \/system\.slice\/hello\.service\n/)
      t.match(stdout, /\n\w{3} \d\d \d\d:\d\d:\d\d m1 sh\[\d+\]: Hello World\n/)
    }
    const journal = await fleetctl(m2, 'journal --lines=2 hello.service')
    t.equal(journal.code, 0)
    t.match(journal.stdout, /m1 sh\[\d+\]: Hello World\n[^\n]*m1 sh\[\d+\]: Hello World\n$/)
    const absent = await fleetctl(m2, 'status absent.service')
    t.match(absent, { code: 1, stderr: 'Unit absent.service does not exist.\n' })
  })

  test('A2: a unit is stopped and started again from elsewhere, and destroyed', async (t) => {
    const stop = await fleetctl(m2, 'stop hello.service')
    t.same(stop, {
      code: 0,
      stdout: `Unit hello.service loaded on ${label(m1)}\n`,
      stderr: 'Successfully stopped units [hello.service].\n',
    })
    await m1.waitUnit('hello.service', 'inactive')
    t.equal((await fleetctl(m3, 'start hello.service')).code, 0)
    await m1.waitUnit('hello.service', 'active')
    const destroy = await fleetctl(m3, 'destroy hello.service')
    t.same(destroy, { code: 0, stdout: 'Destroyed hello.service\n', stderr: '' })
    await m1.waitUnit('hello.service', 'inactive')
  })
}

/** The unit speaks once a second: a fast computer gets here before it has spoken twice. */
function untilSaidTwice(machine: Machine): Promise<true> {
  const look = async () => {
    const { stdout } = await machine.run(['systemctl', 'status', '--no-pager', 'hello.service'])
    const said = stdout.match(/\]: Hello World$/gm) ?? []
    return said.length >= 2 ? { done: true as const } : { seen: stdout }
  }
  return waitFor('hello.service to say Hello World twice', look)
}

function place(cluster: Cluster): void {
  const [m1, m2, m3] = [cluster.machine(1), cluster.machine(2), cluster.machine(3)]

  test('A2: nine units spread over three machines, three on each', async (t) => {
    m2.writeFile('root/nine@.service', sleeper())
    t.equal((await fleetctl(m2, 'submit /root/nine@.service')).code, 0)
    const names = Array.from({ length: 9 }, (_, index) => `nine@${index + 1}.service`)
    t.equal((await fleetctl(m2, `start ${names.join(' ')}`)).code, 0)
    const isRight = (placed: ReadonlyMap<string, readonly string[]>) => placed.size === 9
    const placed = await untilPlaced(cluster, { asked: m3, units: /^nine@/, isRight })
    const counts = cluster.machines.map(
      ({ name }) => [...placed.values()].filter(([where]) => where === name).length,
    )
    t.same(counts, [3, 3, 3])
    for (const machine of cluster.machines) {
      const list = 'list-units --state=running --no-legend --plain nine@*'
      const running = await machine.must(['systemctl', ...list.split(' ')])
      t.equal(running.trim().split('\n').length, 3, `systemd of ${machine.name} runs three`)
    }
    t.equal((await fleetctl(m1, `destroy ${names.join(' ')}`)).code, 0)
  })

  test('A2: machines are chosen by metadata, identity, neighbours and conflicts', async (t) => {
    const files = {
      'metadata.service': sleeper('MachineMetadata=disk=hdd'),
      'pinned.service': sleeper(`MachineID=${m3.machineID}`),
      'peer.service': sleeper('MachineOf=pinned.service'),
      'rival1.service': sleeper('Conflicts=rival*.service'),
      'rival2.service': sleeper('Conflicts=rival*.service'),
      'rival3.service': sleeper('Conflicts=rival*.service'),
      'everywhere.service': sleeper('Global=true'),
      'solid.service': sleeper('Global=true', 'MachineMetadata=disk=ssd'),
    }
    for (const [name, text] of Object.entries(files)) m1.writeFile(`root/${name}`, text)
    const paths = Object.keys(files).map((name) => `/root/${name}`)
    t.equal((await fleetctl(m1, `start ${paths.join(' ')}`)).code, 0)
    const isRight = (placed: ReadonlyMap<string, readonly string[]>) =>
      [...placed.values()].flat().length === 6 + 3 + 2
    const placed = await untilPlaced(cluster, { asked: m2, units: /^[a-z0-9]+\.service$/, isRight })
    t.same(placed.get('metadata.service'), ['m2'])
    t.same(placed.get('pinned.service'), ['m3'])
    t.same(placed.get('peer.service'), ['m3'])
    t.same(placed.get('everywhere.service'), ['m1', 'm2', 'm3'])
    t.same(placed.get('solid.service'), ['m1', 'm3'])
    const rivals = [1, 2, 3].flatMap((number) => placed.get(`rival${number}.service`) ?? [])
    t.same(rivals.toSorted(), ['m1', 'm2', 'm3'])
    t.equal((await fleetctl(m1, `destroy ${Object.keys(files).join(' ')}`)).code, 0)
  })
}

function die(cluster: Cluster): void {
  const [m1, m2] = [cluster.machine(1), cluster.machine(2)]

  test('A6: a machine dies without warning, and its units run elsewhere', async (t) => {
    m1.writeFile(
      'root/moves.service',
      sleeper('MachineMetadata=name=m2', 'MachineMetadata=name=m3'),
    )
    // Two values of one key are alternatives; m1 is none. The store loses one of its three members.
    t.equal((await fleetctl(m1, 'start /root/moves.service')).code, 0)
    await m2.waitUnit('moves.service', 'active')
    const began = performance.now()
    await m2.powerCut()
    const isRight = (placed: ReadonlyMap<string, readonly string[]>) =>
      placed.get('moves.service')?.join() === 'm3'
    await untilPlaced(cluster, { asked: m1, units: /^moves/, isRight })
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    t.pass(`running again ${seconds} s after the power cut (agent_ttl ${AGENT_TTL})`)
    const machines = rows((await fleetctl(m1, 'list-machines --no-legend')).stdout)
    t.equal(machines.length, 2)

    await m2.boot()
    const back = async () => (await fleetctl(m1, 'list-machines --no-legend')).stdout
    const isBack = (text: string) => text.includes(m2.machineID.slice(0, 8))
    const look = async () => {
      const seen = await back()
      return isBack(seen) ? { done: true } : { seen }
    }
    t.ok(await waitFor('m2 to be a member again', look, { timeoutMs: 60_000 }))
    t.equal((await m2.run(['systemctl', 'is-active', 'moves.service'])).stdout, 'inactive\n')
    t.equal((await fleetctl(m1, 'destroy moves.service')).code, 0)
  })
}
