import { test, type Test } from 'tap'
import { Publisher } from '../src/publisher.ts'
import { job } from './helpers/jobs.ts'
import { surroundings, type Surroundings } from './helpers/surroundings.ts'

interface Fixture extends Surroundings {
  /** The publisher of a machine; it hears of changes of the registry. */
  readonly publisher: (machineID: string) => Publisher
  /** Everybody has heard of everything and has nothing more to write. */
  readonly settled: () => Promise<void>
  readonly place: (name: string, machineID: string, fleet?: string) => Promise<void>
  readonly heartbeat: (name: string) => string | undefined
}

async function fixture(t: Test): Promise<Fixture> {
  const around = await surroundings(t)
  const { agents, log, store, cache, units } = around
  const publishers: Publisher[] = []
  return {
    ...around,
    publisher: (machineID) => {
      const options = { registry: agents, machineID, ttlSeconds: 30, log, snapshot: cache.snapshot }
      const publisher = new Publisher(options)
      cache.onChange((change) => publisher.noticed(change))
      publishers.push(publisher)
      return publisher
    },
    settled: async () => {
      for (let round = 0; round < 3; round++) {
        await around.caughtUp()
        await Promise.all(publishers.map((it) => it.settled()))
      }
    },
    place: async (name, machineID, fleet = '') => {
      await units.putUnit(name, job(name, fleet).file.options, 'launched')
      await store.set(`/fleet/job/${name}/target`, machineID)
      await around.caughtUp()
    },
    heartbeat: (name) => store.tree('/fleet/job')[`${name}/job-state`],
  }
}

test('a machine that gives a unit up leaves the heartbeat of its successor alone', async (t) => {
  const around = await fixture(t)
  const [from, to] = [around.publisher('A'), around.publisher('B')]
  await around.place('a.service', 'A')
  from.setLaunched('a.service', true)
  await around.settled()
  t.equal(around.heartbeat('a.service'), 'A')
  await around.place('a.service', 'B')
  to.setLaunched('a.service', true)
  await around.settled()
  t.equal(around.heartbeat('a.service'), 'B')
  from.setLaunched('a.service', false)
  await around.settled()
  t.equal(around.heartbeat('a.service'), 'B')
})

test('a machine that finds a unit running that has moved away does not claim it', async (t) => {
  const around = await fixture(t)
  await around.place('a.service', 'B')
  around.publisher('B').setLaunched('a.service', true)
  await around.settled()
  const back = around.publisher('A')
  back.setLaunched('a.service', true)
  await around.settled()
  back.republish()
  await around.settled()
  t.equal(around.heartbeat('a.service'), 'B')
  await around.place('a.service', 'A')
  await around.settled()
  t.equal(around.heartbeat('a.service'), 'A', 'it does as soon as the unit is its own again')
})

test('a heartbeat that others removed or wrote over comes back at once', async (t) => {
  const around = await fixture(t)
  await around.place('a.service', 'A')
  around.publisher('A').setLaunched('a.service', true)
  await around.settled()
  await around.store.delete('/fleet/job/a.service/job-state')
  await around.settled()
  t.equal(around.heartbeat('a.service'), 'A')
  await around.store.set('/fleet/job/a.service/job-state', 'B')
  await around.settled()
  t.equal(around.heartbeat('a.service'), 'A')
  await around.units.destroyUnit('a.service')
  await around.settled()
  t.equal(around.heartbeat('a.service'), undefined, 'unless the unit was destroyed')
  await around.place('a.service', 'A')
  await around.settled()
  t.equal(around.heartbeat('a.service'), 'A', 'and created anew, too fast for the agent to see')
})

test('the machines of a global unit do not quarrel about its heartbeat', async (t) => {
  const around = await fixture(t)
  const machines = [around.publisher('A'), around.publisher('B')]
  await around.place('g.service', '', 'Global=true')
  for (const machine of machines) machine.setLaunched('g.service', true)
  await around.settled()
  const writes = (): number =>
    around.store.asked.filter(([verb, key]) => verb === 'set' && key.endsWith('/job-state')).length
  t.equal(writes(), 2)
  for (const machine of machines) machine.republish()
  await around.settled()
  t.ok(writes() <= 4)
  const before = writes()
  await around.settled()
  t.equal(writes(), before)
})
