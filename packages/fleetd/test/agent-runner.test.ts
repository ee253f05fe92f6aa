import { join } from 'node:path'
import { encodeUnitState } from '@flotilla/fleet-registry'
import { test, type Test } from 'tap'
import { AgentRunner } from '../src/agent-runner.ts'
import { dumpState } from '../src/dump.ts'
import { Publisher } from '../src/publisher.ts'
import { FakeManager } from './helpers/fake-manager.ts'
import { job } from './helpers/jobs.ts'
import { surroundings, type Surroundings } from './helpers/surroundings.ts'

const TTL = 30

interface Fixture extends Surroundings {
  readonly manager: FakeManager
  readonly publisher: Publisher
  readonly agent: AgentRunner
  /** An agent without memory over the same machine, as after a restart. */
  readonly successor: () => AgentRunner
  /** One pass, and everything it has to say is in the store. */
  readonly turn: () => Promise<void>
  readonly submit: (
    name: string,
    state: 'inactive' | 'loaded' | 'launched',
    fleet?: string,
  ) => Promise<void>
}

async function fixture(t: Test): Promise<Fixture> {
  const around = await surroundings(t)
  const { cache, agents, log, store } = around
  const manager = new FakeManager(join(t.testdir(), 'units'))
  const { snapshot } = cache
  const publisher = new Publisher({
    registry: agents,
    machineID: 'M',
    ttlSeconds: TTL,
    log,
    snapshot,
  })
  const machine = { id: 'M', metadata: new Map([['disk', 'ssd']]) }
  const successor = (): AgentRunner =>
    new AgentRunner({ cache, manager, publisher, machine: () => machine, log })
  const agent = successor()
  return {
    ...around,
    manager,
    publisher,
    agent,
    successor,
    turn: async () => {
      await around.caughtUp()
      await agent.pass()
      await publisher.settled()
    },
    submit: async (name, state, fleet = '') => {
      await around.units.putUnit(name, job(name, `${fleet}\nExecStart=x`).file.options, state)
      await store.set(`/fleet/job/${name}/target`, 'M')
    },
  }
}

const state = (around: Fixture, name: string): string =>
  around.store.tree('/fleet/states')[`${name}/M`] ?? ''
const current = async (around: Fixture, name: string): Promise<string | undefined> =>
  (await around.units.unit(name))?.currentState

test('a unit is loaded, started, stopped and unloaded as the registry says', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'loaded')
  await around.turn()
  t.same(around.manager.calls, [
    ['load', 'a.service'],
    ['reload', ''],
  ])
  t.match(state(around, 'a.service'), '"activeState":"inactive"')
  t.equal(await current(around, 'a.service'), 'loaded')
  await around.units.setTargetState('a.service', 'launched')
  await around.turn()
  t.same(around.manager.calls.slice(2), [['start', 'a.service']])
  t.equal(await current(around, 'a.service'), 'launched')
  await around.units.setTargetState('a.service', 'loaded')
  await around.turn()
  t.same(around.manager.calls.slice(3), [['stop', 'a.service']])
  t.equal(await current(around, 'a.service'), 'loaded')
  await around.units.destroyUnit('a.service')
  await around.turn()
  t.same(around.manager.calls.slice(4), [
    ['stop', 'a.service'],
    ['unload', 'a.service'],
    ['reload', ''],
  ])
  t.same(around.store.tree('/fleet/job'), {}, 'no heartbeat brings the unit back')
  t.same(around.store.tree('/fleet/states'), {})
  t.same(around.store.tree('/fleet/state'), {})
})

test('global units follow metadata set through the API, also while the record is lost', async (t) => {
  const around = await fixture(t)
  const global = (name: string, metadata: string): Promise<void> =>
    around.submit(name, 'launched', `Global=true\nMachineMetadata=${metadata}`)
  await around.agents.putMachine(
    { id: 'M', publicIP: '', version: '', metadata: new Map([['disk', 'ssd']]) },
    TTL,
  )
  await around.units.setMetadata('M', 'role', 'web')
  await around.units.setMetadata('M', 'disk', '')
  await global('role.service', 'role=web')
  await global('disk.service', 'disk=ssd')
  await around.turn()
  t.same([...around.agent.units().keys()], ['role.service'])
  around.pass(TTL + 1)
  t.notOk(around.store.tree('/fleet/machines')['M/object'])
  await around.turn()
  t.same([...around.agent.units().keys()], ['role.service'])
  t.notOk(around.manager.calls.some(([verb]) => verb === 'stop'))
})

test('a replaced unit is unloaded and loaded anew', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'launched')
  await around.turn()
  around.manager.calls.length = 0
  await around.submit('a.service', 'launched', 'MachineMetadata=disk=ssd')
  await around.turn()
  t.same(
    around.manager.calls.map(([verb]) => verb),
    ['stop', 'unload', 'load', 'reload', 'start'],
  )
  t.equal(await current(around, 'a.service'), 'launched')
})

test('a change of state is published without a pass', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'launched')
  await around.turn()
  around.manager.onChange((name) => around.agent.noticed(name))
  around.manager.set('a.service', 'failed', 'failed')
  around.manager.set('stranger.service', 'active', 'running')
  await around.turn()
  t.match(state(around, 'a.service'), '"activeState":"failed"')
  t.equal(state(around, 'stranger.service'), '')
})

test('what runs already is left alone after a restart; what does not is started', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'launched')
  await around.submit('b.service', 'launched')
  await around.submit('c.service', 'loaded')
  await around.turn()
  around.manager.set('b.service', 'inactive', 'dead')
  around.manager.set('c.service', 'active', 'running')
  around.manager.calls.length = 0
  await around.caughtUp()
  const next = around.successor()
  await next.pass()
  t.same(around.manager.calls, [
    ['load', 'b.service'],
    ['reload', ''],
    ['stop', 'c.service'],
    ['start', 'b.service'],
  ])
})

test('a failed task keeps back its own unit only, and is tried again', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'launched')
  await around.submit('b.service', 'launched')
  around.manager.broken.add('load a.service')
  await around.caughtUp()
  await t.rejects(around.agent.pass(), { message: 'tasks of 1 unit(s) failed' })
  t.same(around.manager.calls.at(-1), ['start', 'b.service'])
  around.manager.broken.clear()
  await around.turn()
  t.equal(await current(around, 'a.service'), 'launched')
})

test('a start that systemd refuses is not asked for again', async (t) => {
  const around = await fixture(t)
  around.manager.broken.add('start a.service')
  await around.submit('a.service', 'launched')
  await around.turn()
  await around.turn()
  t.equal(around.manager.calls.filter(([verb]) => verb === 'start').length, 1)
  t.equal(await current(around, 'a.service'), 'launched', 'that says nothing about systemd')
})

test('a start that systemd has not heard of is asked for again', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'loaded')
  await around.turn()
  await around.units.setTargetState('a.service', 'launched')
  await around.caughtUp()
  around.manager.isAway = true
  await t.rejects(around.agent.pass(), { message: 'tasks of 1 unit(s) failed' })
  await around.publisher.settled()
  t.equal(await current(around, 'a.service'), 'loaded')
  around.manager.isAway = false
  await around.turn()
  t.same(around.manager.calls.at(-1), ['start', 'a.service'])
  t.equal(await current(around, 'a.service'), 'launched')
})

test('a file that somebody spoilt is replaced', async (t) => {
  const around = await fixture(t)
  await around.manager.list()
  await around.manager.load('a.service', '[Unit')
  await around.submit('a.service', 'loaded')
  await around.turn()
  t.match(await around.manager.read('a.service'), /ExecStart/)
})

test('only changes that can concern the machine wake the agent', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'loaded')
  await around.units.putUnit('far.service', job('far.service').file.options, 'launched')
  await around.units.putUnit('g.service', job('g.service', 'Global=true').file.options, 'launched')
  await around.caughtUp()
  const concerns = (name: string): boolean => around.agent.concerns({ type: 'job', name })
  t.same(
    [concerns('a.service'), concerns('far.service'), concerns('g.service')],
    [true, false, true],
  )
  t.ok(around.agent.concerns({ type: 'all' }))
  t.ok(around.agent.concerns({ type: 'machine', name: 'M' }))
  t.notOk(around.agent.concerns({ type: 'machine', name: 'N' }))
  t.notOk(around.agent.concerns({ type: 'state', name: 'a.service' }))
})

test('published keys live on by refreshes and come back after the store lost them', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'launched')
  await around.turn()
  const count = (verb: string): number => around.store.asked.filter(([it]) => it === verb).length
  const sets = count('set')
  around.publisher.republish()
  await around.publisher.settled()
  t.equal(count('set') - sets, 1, 'the heartbeat')
  t.equal(count('refresh'), 2, 'both states')
  around.store.isAway = true
  around.pass(TTL + 1)
  around.publisher.republish()
  around.store.comeBack()
  t.equal(state(around, 'a.service'), '')
  await around.caughtUp()
  around.publisher.republish()
  await around.publisher.settled()
  t.match(state(around, 'a.service'), '"activeState":"active"')
  t.equal(await current(around, 'a.service'), 'launched')
})

test('of many states in a row the last one stays', async (t) => {
  const around = await fixture(t)
  const at = (subState: string) => ({
    loadState: 'loaded',
    activeState: 'active',
    subState,
    machineID: 'M',
    unitHash: 'abc',
  })
  for (let step = 0; step < 100; step++) around.publisher.setState('a.service', at(`s${step}`))
  await around.publisher.settled()
  t.equal(state(around, 'a.service'), encodeUnitState(at('s99')))
  t.ok(around.store.asked.length < 20, 'what nobody would have seen is not written')
  around.publisher.remove('a.service')
  await around.publisher.settled()
  t.equal(state(around, 'a.service'), '')
})

test('a unit that systemd cannot read is replaced and unloaded all the same', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'launched')
  await around.turn()
  around.manager.unreadable.add('a.service')
  await around.submit('a.service', 'launched', 'MachineMetadata=disk=ssd')
  await around.turn()
  t.match(await around.manager.read('a.service'), /disk=ssd/, 'the correction arrives')
  await around.units.setTargetState('a.service', 'loaded')
  await around.turn()
  t.equal(around.agent.units().get('a.service')?.state, 'loaded')
  await around.units.destroyUnit('a.service')
  await around.turn()
  t.same(await around.manager.list(), [])
  t.same(around.store.tree('/fleet/states'), {})
})

test('a unit that refuses to stop stays behind alone when all are purged', async (t) => {
  const around = await fixture(t)
  for (const name of ['a.service', 'b.service', 'c.service']) await around.submit(name, 'launched')
  await around.turn()
  around.manager.broken.add('stop a.service').add('unload b.service')
  around.manager.calls.length = 0
  await around.agent.purge(1000)
  await around.publisher.settled()
  t.same(await around.manager.list(), ['a.service', 'b.service'])
  t.notOk(around.manager.calls.some((call) => call.join(' ') === 'unload a.service'))
  t.same(around.manager.calls.at(-1), ['reload', ''])
  t.equal(state(around, 'c.service'), '')
  t.match(around.log.lines.join(''), /agent: UnloadUnit failed unit=a.service/)
})

test('purging stops and unloads everything', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'launched')
  await around.submit('b.service', 'loaded')
  await around.turn()
  await around.agent.purge(1000)
  await around.publisher.settled()
  t.same(await around.manager.list(), [])
  t.same(around.store.tree('/fleet/states'), {})
  t.equal(around.agent.units().size, 0)
})

test('the dump has the members of fleet 1.0', async (t) => {
  const around = await fixture(t)
  await around.submit('a.service', 'launched')
  await around.turn()
  const hash = around.agent.units().get('a.service')?.hash ?? ''
  t.equal(
    dumpState(around.agent.units(), around.publisher.states()),
    `{"Agent":{"Cache":{"TargetStates":{"a.service":"launched"}}},"UnitStatePublisher":{"Cache":{"a.service":{"LoadState":"loaded","ActiveState":"active","SubState":"running","MachineID":"M","UnitHash":"${hash}","UnitName":""}},"ToPublish":{}},"UnitStateGenerator":{"Subscribed":["a.service"]}}`,
  )
})
