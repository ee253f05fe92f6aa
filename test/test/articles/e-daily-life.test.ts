// "Containers in daily life", rows E1, E2 and E4 of the article list as far as they need no container:
// the store of three members by command line and by curl, and one unit from load to destroy, with every message.
import type { Cluster } from '../../src/harness/cluster.ts'
import { enterSandbox } from '../../src/harness/sandbox.ts'
import { storeURLs } from '../../src/harness/software.ts'
import { bootFleet, fleetctl, label } from '../helpers/walkthrough.ts'

const entry = await enterSandbox('articles')
const { default: tap, test } = await import('tap')
tap.setTimeout(180_000)

/** The article's croc.service without docker. */
const CROC = `[Unit]
Description=CROC Example Service

[Service]
TimeoutStartSec=0
ExecStartPre=-/bin/false
ExecStart=/bin/sh -c "trap 'exit 0' INT TERM; while true; do echo CROC Cloud; sleep 1; done"
ExecStop=/bin/sh -c "kill -TERM $MAINPID"
`

if ('reason' in entry) tap.plan(0, entry.reason)
else {
  const cluster = await bootFleet(entry.sandbox, tap, () => ({}))
  keys(cluster)
  unit(cluster)
}

function keys(cluster: Cluster): void {
  test('E1: the cluster is healthy, and each machine says so for each of the three members', async (t) => {
    for (const machine of cluster.machines) {
      const { code, stdout } = await machine.run(['kvctl', 'cluster-health'])
      t.equal(code, 0)
      const lines = stdout.trimEnd().split('\n')
      t.equal(lines.pop(), 'cluster is healthy')
      const line =
        /^member [0-9a-f]+ is healthy: got healthy result from http:\/\/10\.98\.0\.(\d):\d+$/
      t.same(new Set(lines.map((text) => line.exec(text)?.[1])), new Set(['1', '2', '3']), stdout)
      t.equal(lines.length, 3)
    }
  })

  test('E2: a key is set on one machine and read on every other, by kvctl and by curl', async (t) => {
    const [m1, m2, m3] = [cluster.machine(1), cluster.machine(2), cluster.machine(3)]
    t.equal(await m2.must(['kvctl', 'set', '/message', 'CROC Cloud']), 'CROC Cloud\n')
    for (const machine of [m1, m3])
      t.equal(await machine.must(['kvctl', 'get', '--quorum', '/message']), 'CROC Cloud\n')
    const url = 'http://127.0.0.1:2379/v2/keys/message'
    const put = await m3.must(['curl', '-sL', url, '-XPUT', '-d', 'value=CROC Cloud'])
    t.match(
      put,
      /^\{"action":"set","node":\{"key":"\/message","value":"CROC Cloud","modifiedIndex":(\d+),"createdIndex":\1\},"prevNode":\{"key":"\/message","value":"CROC Cloud","modifiedIndex":\d+,"createdIndex":\d+\}\}\n$/,
    )
    for (const machine of cluster.machines)
      for (const store of storeURLs(machine.address)) {
        const get = await m1.must(['curl', '-sL', `${store}/v2/keys/message?quorum=true`])
        t.equal(get, put.replace(/"set"/, '"get"').replace(/,"prevNode":\{[^}]*\}/, ''), store)
      }
  })
}

function unit(cluster: Cluster): void {
  const [m1, m2, m3] = [cluster.machine(1), cluster.machine(2), cluster.machine(3)]
  const where = label(m1)

  test('E4: load and start', async (t) => {
    m2.writeFile('root/croc.service', CROC)
    const load = await fleetctl(m2, 'load /root/croc.service')
    t.same(load, {
      code: 0,
      stdout: `Unit croc.service inactive\nUnit croc.service loaded on ${where}\n`,
      stderr: '',
    })
    const start = await fleetctl(m3, 'start croc.service')
    t.same(start, { code: 0, stdout: `Unit croc.service launched on ${where}\n`, stderr: '' })
  })

  test('E4: status while it runs', async (t) => {
    const { code, stdout } = await fleetctl(m3, 'status croc.service')
    t.equal(code, 0)
    t.match(stdout, /^● croc\.service - CROC Example Service\n/)
    t.match(
      stdout,
      /\n +Process: \d+ ExecStartPre=\/bin\/false \(code=exited, status=1\/FAILURE\)\n/,
    )
    t.match(stdout, /\n +Active: active \(running\)/)
    t.match(stdout, /: CROC Cloud\n/)
  })

  test('E4: stop, and status afterwards', async (t) => {
    const stop = await fleetctl(m2, 'stop croc.service')
    t.same(stop, {
      code: 0,
      stdout: `Unit croc.service loaded on ${where}\n`,
      stderr: 'Successfully stopped units [croc.service].\n',
    })
    await m1.waitUnit('croc.service', 'inactive')
    const { code, stdout } = await fleetctl(m3, 'status croc.service')
    t.equal(code, 3, "systemctl's status of a dead unit")
    t.match(stdout, /\n +Active: inactive \(dead\)/)
    t.match(stdout, /: Stopping croc\.service - CROC Example Service\.\.\.\n/)
    t.match(stdout, /: Stopped croc\.service - CROC Example Service\.\n/)
  })

  test('E4: destroy, and nothing is left of it', async (t) => {
    const destroy = await fleetctl(m3, 'destroy croc.service')
    t.same(destroy, { code: 0, stdout: 'Destroyed croc.service\n', stderr: '' })
    const status = await fleetctl(m2, 'status croc.service')
    t.match(status, { code: 1, stderr: 'Unit croc.service does not exist.\n' })
    const list = await fleetctl(m2, 'list-unit-files')
    t.equal(list.stdout.includes('croc'), false)
  })
}
