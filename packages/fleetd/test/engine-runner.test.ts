import { encodeLease, type MachineObject } from '@flotilla/fleet-registry'
import { test, type Test } from 'tap'
import { Contact } from '../src/contact.ts'
import { EngineRunner } from '../src/engine-runner.ts'
import { Metrics } from '../src/metrics.ts'
import { job } from './helpers/jobs.ts'
import { surroundings, type Surroundings } from './helpers/surroundings.ts'

const TTL = 30

interface Fixture extends Surroundings {
  readonly engine: (machineID: string) => EngineRunner
  readonly contact: Contact
  readonly metrics: Metrics
  readonly join: (...ids: string[]) => Promise<void>
  readonly targets: () => Record<string, string>
}

async function fixture(t: Test): Promise<Fixture> {
  const around = await surroundings(t)
  const contact = new Contact(TTL * 750)
  const metrics = new Metrics()
  const { cache, engines, log, now, signal, store } = around
  return {
    ...around,
    contact,
    metrics,
    engine: (machineID) =>
      new EngineRunner({
        cache,
        registry: engines,
        machineID,
        intervalMs: 2000,
        agentTTLSeconds: TTL,
        contact,
        metrics,
        log,
        now,
        date: now,
        signal,
      }),
    join: async (...ids) => {
      for (const id of ids) await around.agents.putMachine(record(id), TTL)
      await around.caughtUp()
    },
    targets: () => {
      const keys = Object.entries(store.tree('/fleet/job'))
      return Object.fromEntries(keys.filter(([key]) => key.endsWith('/target')))
    },
  }
}

function record(id: string): MachineObject {
  return { id, publicIP: '10.0.0.1', version: 'v1.0.0', metadata: new Map() }
}

async function submit(around: Fixture, ...names: string[]): Promise<void> {
  for (const name of names) await around.units.putUnit(name, job(name).file.options, 'launched')
  await around.caughtUp()
}

test('one engine leads, schedules, and sees its own decisions in the next pass', async (t) => {
  const around = await fixture(t)
  await around.join('A', 'B')
  await submit(around, 'a.service', 'b.service')
  const [one, two] = [around.engine('A'), around.engine('B')]
  await one.pass()
  await around.caughtUp()
  await two.pass()
  t.same([one.isLeader, two.isLeader], [true, false])
  t.same(around.targets(), { 'a.service/target': 'A', 'b.service/target': 'B' })
  t.equal(around.store.tree('/fleet/engine')['version'], '1')
  const before = around.store.asked.length
  await one.pass()
  t.same(around.store.asked.slice(before), [], 'nothing to do: nothing is asked')
  around.pass(2)
  await one.pass()
  t.same(around.store.asked.slice(before), [['refresh', '/fleet/lease/engine-leader']])
  t.match(around.metrics.text(), /fleet_engine_task_count_total\{type="attemptscheduleunit"\} 2/)
  t.match(around.metrics.text(), /fleet_engine_leader_start_time 1000/)
})

test('another engine takes over when the lease is given up, and when it runs out', async (t) => {
  const around = await fixture(t)
  await around.join('A', 'B')
  const [one, two] = [around.engine('A'), around.engine('B')]
  await one.pass()
  await one.release()
  await around.caughtUp()
  await two.pass()
  t.same([one.isLeader, two.isLeader], [false, true])
  around.pass(11)
  await around.caughtUp()
  await one.pass()
  t.equal(one.isLeader, true)
  await two.pass()
  t.equal(two.isLeader, false, 'the old leader notices when it renews')
})

test('a lease of its own machine is taken on, one of an older engine is stolen', async (t) => {
  const around = await fixture(t)
  await around.join('A')
  const key = '/fleet/lease/engine-leader'
  await around.store.set(key, encodeLease({ machineID: 'A', version: 1 }), { ttl: 10 })
  await around.caughtUp()
  const one = around.engine('A')
  await one.pass()
  t.equal(one.isLeader, true, 'left by a fleetd of this machine that was killed')
  await around.store.set(key, 'B', { ttl: 0.01 })
  await around.caughtUp()
  const two = around.engine('C')
  await two.pass()
  t.equal(two.isLeader, true)
  t.match(around.store.tree('/fleet/lease')['engine-leader'], /"MachineID":"C"/)
})

test('a newer engine version makes it do nothing', async (t) => {
  const around = await fixture(t)
  await around.store.set('/fleet/engine/version', '2')
  await around.caughtUp()
  const one = around.engine('A')
  await one.pass()
  t.equal(one.isLeader, false)
})

test('units of a lost machine move when the engine has been in contact for a TTL', async (t) => {
  const around = await fixture(t)
  await around.join('A', 'B')
  await submit(around, 'a.service')
  const one = around.engine('B')
  await one.pass()
  t.same(around.targets(), { 'a.service/target': 'A' })
  for (let at = 0; at < 16; at++) {
    around.pass(2)
    await around.agents.refreshMachine('B', TTL)
    await one.pass()
  }
  await around.caughtUp()
  await one.pass()
  t.same(around.targets(), { 'a.service/target': 'B' })
  t.match(around.metrics.text(), /reconcile_failure_count_total\{type="machine_away"\} 1/)
})

test('an outage of the store moves nothing, however long it was', async (t) => {
  const around = await fixture(t)
  await around.join('A', 'B')
  await submit(around, 'a.service')
  const one = around.engine('B')
  await one.pass()
  for (let at = 0; at < 20; at++) {
    around.pass(2)
    for (const id of ['A', 'B']) await around.agents.refreshMachine(id, TTL)
    await one.pass()
  }
  around.store.isAway = true
  for (let at = 0; at < 30; at++) {
    around.pass(2)
    await t.rejects(one.pass())
  }
  around.store.comeBack()
  t.same(Object.keys(around.store.tree('/fleet/machines')), [], 'all records have expired')
  await around.join('B')
  await one.pass()
  t.equal(one.isLeader, true)
  for (let at = 0; at < 10; at++) {
    around.pass(2)
    await around.agents.refreshMachine('B', TTL)
    await one.pass()
  }
  t.same(around.targets(), { 'a.service/target': 'A' }, 'there is time to come back')
  for (let at = 0; at < 10; at++) {
    around.pass(2)
    await around.agents.refreshMachine('B', TTL)
    await one.pass()
  }
  t.same(around.targets(), { 'a.service/target': 'B' }, 'but not for ever')
})

test('units of a machine that leaves on purpose move at once', async (t) => {
  const around = await fixture(t)
  await around.join('A', 'B')
  await submit(around, 'a.service')
  const one = around.engine('B')
  await one.pass()
  await around.agents.removeMachine('A')
  await around.caughtUp()
  await one.pass()
  t.same(around.targets(), { 'a.service/target': 'B' })
})

test('a copy that is behind costs no machine its units', async (t) => {
  const around = await fixture(t)
  await around.join('A', 'B')
  await submit(around, 'a.service')
  const one = around.engine('B')
  await one.pass()
  // The copy has seen A leave; that A is back it has not heard.
  await around.agents.removeMachine('A')
  await around.caughtUp()
  around.store.isMute = true
  await around.store.set('/fleet/machines/A/object', '{"ID":"A","PublicIP":"10.0.0.1"}')
  await one.pass()
  t.same(around.targets(), { 'a.service/target': 'A' })
  t.match(around.log.lines.join(''), 'registry copy was out of date')
  t.ok(around.cache.snapshot.machine('A'), 'it has been read anew')
})
