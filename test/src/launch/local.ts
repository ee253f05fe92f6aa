import { join } from 'node:path'
import { ROOT, program } from '../harness/paths.ts'
import { commandOf, elapsed, interruption, pasteable, say, show } from './console.ts'
import { LocalCluster, failure } from './local-cluster.ts'
import { type LocalMachine, environment } from './local-processes.ts'

const UNIT = 'hello.service'
const UNIT_FILE = join(ROOT, 'test/examples', UNIT)
/** Units of a machine that fell silent run elsewhere after its TTL and a few passes, even on a busy computer. */
const MOVE_MS = 60_000

/**
 * `npm start`: a local cluster that runs hello.service until a signal comes. Gives the exit status: 0 after
 * a signal, 1 when something could not be started or the store ended. Whichever it is, nothing stays.
 */
export async function runLocal(env: NodeJS.ProcessEnv): Promise<number> {
  const cluster = new LocalCluster()
  const interrupted = interruption(() => cluster.kill())
  try {
    await Promise.race([interrupted, serve(cluster, env, interrupted)])
    say('stopping')
    return 0
  } catch (error) {
    process.stderr.write(`flotilla: ${error instanceof Error ? error.message : String(error)}\n`)
    return 1
  } finally {
    await cluster.close()
  }
}

async function serve(
  cluster: LocalCluster,
  env: NodeJS.ProcessEnv,
  interrupted: Promise<unknown>,
): Promise<void> {
  say(`starting kvd and three fleetd in ${cluster.directory}`)
  await cluster.start({
    usualPorts: env['FLOTILLA_PORTS'] !== 'any',
    agentTTL: env['FLOTILLA_AGENT_TTL'] ?? '10s',
  })
  await Promise.race([bringUp(cluster), ...cluster.children.map(failure)])
  describe(cluster)
  for (const machine of cluster.machines) void followDeath(cluster, machine)
  const [kvd] = cluster.children
  if (kvd !== undefined) await Promise.race([interrupted, failure(kvd), allDead(cluster)])
}

async function bringUp(cluster: LocalCluster): Promise<void> {
  await cluster.untilJoined()
  say(`three machines have joined after ${elapsed()}`)
  const [m1, m2] = cluster.machines
  await fleetctl(m1, 'submit', pasteable(UNIT_FILE))
  await fleetctl(m2, 'start', UNIT)
  const { name } = await cluster.untilRunning(UNIT)
  say(`${UNIT} is running on ${name} after ${elapsed()}`)
}

async function fleetctl(machine: LocalMachine | undefined, ...args: string[]): Promise<void> {
  const flags = ['--endpoint', machine?.endpoint ?? '', ...args]
  const shown = `fleetctl ${flags.join(' ')}`
  await show(shown, [process.execPath, program('fleetctl'), ...flags], {
    env: environment({}),
    cwd: process.cwd(),
  })
}

async function allDead(cluster: LocalCluster): Promise<never> {
  await Promise.all(cluster.machines.map(({ fleetd }) => fleetd.ended))
  if (cluster.machines.some(({ fleetd }) => fleetd.isStopping)) return new Promise(() => undefined)
  throw new Error('every fleetd has ended: there is no machine left')
}

/** A machine that dies while the cluster is up is what the cluster is for: its units run elsewhere then. */
async function followDeath(cluster: LocalCluster, machine: LocalMachine): Promise<void> {
  const how = await machine.fleetd.ended
  if (machine.fleetd.isStopping) return
  say(`${machine.fleetd.name} ended (${how}): its units will run elsewhere`)
  const began = performance.now()
  try {
    const { name } = await cluster.untilRunning(UNIT, MOVE_MS)
    const seconds = ((performance.now() - began) / 1000).toFixed(1)
    say(`${UNIT} is running on ${name}, ${seconds} s after the end of ${machine.name}`)
  } catch (error) {
    if (!machine.fleetd.isStopping) say(String(error))
  }
}

function describe(cluster: LocalCluster): void {
  const [store = ''] = cluster.storeURLs
  const [m1] = cluster.machines
  const endpoint = m1?.endpoint ?? ''
  say()
  say(`store     ${cluster.storeURLs.join('  ')}`)
  for (const { name, machineID, endpoint: api, fleetd } of cluster.machines)
    say(
      `${name}        ${api}  machine ${machineID.slice(0, 8)}...  fleetd is process ${fleetd.pid}`,
    )
  say()
  say('Commands to try in another terminal:')
  for (const command of [
    `${commandOf('kvctl')} --endpoints ${store} set /message "Hello"`,
    `${commandOf('kvctl')} --endpoints ${store} ls --recursive /_coreos.com/fleet`,
    `curl -L ${store}/v2/keys/message`,
    `${commandOf('fleetctl')} --endpoint ${endpoint} list-machines`,
    `${commandOf('fleetctl')} --endpoint ${endpoint} list-units`,
    `${commandOf('fleetctl')} --endpoint ${endpoint} status ${UNIT}`,
    `${commandOf('fleetctl')} --endpoint ${endpoint} journal ${UNIT}`,
  ])
    say(`  ${command}`)
  say('Kill the fleetd that runs it (kill -9 and the process above) and see it run elsewhere.')
  say('Ctrl-C stops everything and leaves nothing behind.')
}
