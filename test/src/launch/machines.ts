import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Cluster } from '../harness/cluster.ts'
import { waitFor } from '../harness/deadline.ts'
import { HOST_ADDRESS } from '../harness/network.ts'
import { ROOT } from '../harness/paths.ts'
import type { Machine } from '../harness/machine.ts'
import { enterSandbox } from '../harness/sandbox.ts'
import { installFlotilla, untilJoined } from '../harness/software.ts'
import { elapsed, interruption, say } from './console.ts'
import { RUN_KIND } from './exec.ts'

const UNIT = 'hello.service'
const START_MS = 60_000

/**
 * `npm start -- --machines N`: the same cluster on booted machines with real systemd. The sandbox starts
 * this program again inside; gives the exit status there.
 */
export async function runMachines(count: number): Promise<number> {
  const entry = await enterSandbox(RUN_KIND)
  if ('reason' in entry) {
    process.stderr.write(`flotilla: booting machines is not possible here: ${entry.reason}\n`)
    return 1
  }
  const interrupted = interruption(() => process.exit(1))
  let cluster: Cluster | undefined
  const up = (async () => {
    cluster = await Cluster.boot(entry.sandbox, { machines: count, prepare: installFlotilla })
    await bringUp(cluster)
    return interrupted
  })()
  try {
    await Promise.race([interrupted, up])
    say('stopping')
    await cluster?.powerOff()
    return 0
  } catch (error) {
    process.stderr.write(`flotilla: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  }
}

async function bringUp(cluster: Cluster): Promise<void> {
  say(`${cluster.machines.length} machines have booted after ${elapsed()}`)
  const at = (index: number) =>
    cluster.machines[index % cluster.machines.length] ?? cluster.machine(1)
  await untilJoined(cluster)
  say(`all have joined the cluster after ${elapsed()}`)
  const text = readFileSync(join(ROOT, 'test/examples', UNIT), 'utf8')
  at(0).writeFile(`root/${UNIT}`, text)
  await show(at(0), `fleetctl list-machines`)
  await show(at(0), `fleetctl submit /root/${UNIT}`)
  await show(at(1), `fleetctl load ${UNIT}`)
  await show(at(2), `fleetctl start ${UNIT}`)
  const where = await untilRunning(cluster)
  say(`${UNIT} is running on ${where.name} after ${elapsed()}`)
  await untilTold(where)
  await show(where, `fleetctl status ${UNIT}`)
  describe(cluster, where)
}

async function untilRunning(cluster: Cluster): Promise<Machine> {
  return waitFor(
    `${UNIT} to run`,
    async () => {
      for (const machine of cluster.machines) {
        // A line of its own, so that there is something to see; systemd's "Started" has its description.
        const { stdout } = await machine.run(['journalctl', '-q', '-u', UNIT, '-o', 'cat'])
        if (stdout.split('\n').includes('Hello World')) return { done: machine }
      }
      const { stdout } = await cluster.machine(1).run(['fleetctl', 'list-units'])
      return { seen: stdout }
    },
    { timeoutMs: START_MS },
  )
}

/** What journalctl knows already may come to a status a moment later. */
async function untilTold(where: Machine): Promise<void> {
  const look = async () => {
    const { stdout } = await where.run(['fleetctl', 'status', UNIT])
    return stdout.includes(': Hello World\n') ? { done: undefined } : { seen: stdout }
  }
  await waitFor(`the status of ${UNIT} to have its words`, look, { timeoutMs: START_MS })
}

/** Runs a command line in a machine and shows both, as on that machine's terminal. */
async function show(machine: Machine, line: string): Promise<void> {
  const { code, stdout, stderr } = await machine.run(line.split(' '), { timeoutMs: START_MS })
  say(`core@${machine.name} $ ${line}`)
  say(`${stdout}${stderr}`.trimEnd())
  if (code !== 0) throw new Error(`${line}: exit status ${code}\n${await machine.evidence()}`)
}

function describe(cluster: Cluster, where: Machine): void {
  say()
  for (const { name, address, machineID } of cluster.machines)
    say(`${name}  ${address}  machine ${machineID.slice(0, 8)}...`)
  say(`(in a network of their own, in which this program is ${HOST_ADDRESS})`)
  say()
  say('Commands to try in another terminal:')
  for (const command of [
    'm1 fleetctl list-units',
    'm1 kvctl ls --recursive /_coreos.com/fleet',
    `${where.name} journalctl -n 5 -u ${UNIT}`,
    `${where.name} systemctl kill -s KILL fleetd`,
    'm1',
  ])
    say(`  npm start -- exec ${command}`)
  say('Ctrl-C stops everything and leaves nothing behind.')
}
