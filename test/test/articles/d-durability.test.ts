// The collection of articles, row D7 of the article list: what was acknowledged survives the end of a member, of
// all members, and of all machines. The writes per second are printed; the machines' disks are in memory, so
// they are no benchmark. Writes that a disk has not kept are another matter: kvd's own drills lose them.
import { enterSandbox } from '../../src/harness/sandbox.ts'
import type { Cluster } from '../../src/harness/cluster.ts'
import { waitFor } from '../../src/harness/deadline.ts'
import { member, textOf } from '../../src/harness/json.ts'
import type { Machine } from '../../src/harness/machine.ts'
import { installStore } from '../../src/harness/software.ts'
import { ask, clientURL, untilWritable } from '../helpers/store.ts'
import { bootCluster } from '../helpers/walkthrough.ts'
import { Writers, filesBelow } from '../helpers/writers.ts'

const entry = await enterSandbox('articles')
const { default: tap, test } = await import('tap')
tap.setTimeout(300_000)
const DIRECTORY = '/d7'
const CLIENTS = 24
/** Writes before and after each blow. */
const SOME = 500

if ('reason' in entry) tap.plan(0, entry.reason)
else {
  const cluster = await bootCluster(entry.sandbox, tap, { machines: 3, prepare: installStore })
  for (const machine of cluster.machines) await untilWritable(machine)
  const writers = new Writers(cluster.machines.map(clientURL), DIRECTORY, CLIENTS)
  tap.teardown(() => writers.stop())
  suite(cluster, writers)
}

/** What has been acknowledged, and a member does not have as it was acknowledged. */
async function lostAt(
  machine: Machine,
  acknowledged: ReadonlyMap<string, number>,
): Promise<string[]> {
  const look = async () => ({ done: await filesBelow(clientURL(machine), DIRECTORY) })
  const found = await waitFor(`${machine.name} to answer`, look, { timeoutMs: 60_000 })
  return [...acknowledged].flatMap(([key, index]) => (found.get(key) === index ? [] : [key]))
}

function leader(cluster: Cluster): Promise<Machine> {
  const look = async () => {
    const { text } = await ask(`${clientURL(cluster.machine(1))}/v2/members/leader`)
    const name = textOf(member(JSON.parse(text), 'name'))
    const found = cluster.machines.find((machine) => machine.name === name)
    return found === undefined ? { seen: text } : { done: found }
  }
  return waitFor('somebody to lead', look)
}

async function kill(machine: Machine): Promise<void> {
  await machine.must(['systemctl', 'kill', '--signal=KILL', 'kvd.service'])
}

function suite(cluster: Cluster, writers: Writers): void {
  test('D7: a cluster takes writes', async (t) => {
    const began = performance.now()
    await writers.more(4 * SOME)
    const perSecond = (4 * SOME * 1000) / (performance.now() - began)
    t.pass(
      `${Math.round(perSecond)} writes/s by ${CLIENTS} clients of 3 members, all on this computer`,
    )
  })

  test('D7: kill -9 of the leader loses nothing, nor does its restart', async (t) => {
    const victim = await leader(cluster)
    await kill(victim)
    await writers.more(SOME)
    const before = writers.acknowledged
    const others = cluster.machines.filter((machine) => machine !== victim)
    for (const machine of others) t.same(await lostAt(machine, before), [], `at ${machine.name}`)
    await victim.start('kvd.service')
    t.same(await lostAt(victim, before), [], `at ${victim.name}, which was killed`)
  })

  test('D7: kill -9 of all members loses nothing', async (t) => {
    await writers.more(SOME)
    await Promise.all(cluster.machines.map(kill))
    const before = writers.acknowledged
    await Promise.all(cluster.machines.map((machine) => machine.start('kvd.service')))
    for (const machine of cluster.machines)
      t.same(await lostAt(machine, before), [], `at ${machine.name}`)
  })

  test('D7: a power cut of all machines loses nothing', async (t) => {
    await writers.more(SOME)
    await cluster.cutPower()
    const before = writers.acknowledged
    await Promise.all(cluster.machines.map((machine) => machine.boot()))
    for (const machine of cluster.machines)
      t.same(await lostAt(machine, before), [], `at ${machine.name}`)
    await writers.more(SOME)
    await writers.stop()
    for (const machine of cluster.machines)
      t.same(await lostAt(machine, writers.acknowledged), [], `at ${machine.name}, in the end`)
    t.ok(writers.failures > 0, 'and the blows were felt')
    t.comment(`${writers.count} writes acknowledged, ${writers.failures} not`)
  })
}
