import { createClient, type KvClient } from '@flotilla/kv-client'
import tap, { test, type Test } from 'tap'
import {
  AgentRegistry,
  encodeLease,
  encodeUnitState,
  EngineRegistry,
  parseUnitFile,
  RegistryCache,
  registryKeys,
  UnitRegistry,
  UnreadableUnitError,
  type Change,
} from '../src/index.ts'
import { findEtcd, findKvd, start } from './helpers/programs.ts'

const KEYS = registryKeys('/fleet')
const HELLO = parseUnitFile('[Unit]\nDescription=Hello\n\n[Service]\nExecStart=/bin/sleep 9\n')
const STATE = {
  loadState: 'loaded',
  activeState: 'active',
  subState: 'running',
  unitHash: HELLO.hash,
}
const MACHINE = {
  id: 'M1',
  publicIP: '10.0.0.1',
  version: 'v1.0.0',
  metadata: new Map([['disk', 'ssd']]),
  capabilities: new Map([['GRPC', false]]),
}

const programs = [findKvd(), findEtcd()].filter((program) => program !== undefined)
if (programs.length === 0) tap.fail('neither kvd nor etcd can be started')

for (const program of programs) {
  test(program.name, async (t) => {
    const { port } = await start(t, program)
    const client = createClient({ endpoints: [`http://127.0.0.1:${port}`] })
    t.teardown(() => client.close())
    const clean = async (): Promise<void> => {
      await client.delete('/fleet', { recursive: true }).catch(() => undefined)
    }
    for (const [name, run] of TESTS) {
      await clean()
      await t.test(name, async (inner) => run(inner, client))
    }
  })
}

async function keysBelow(client: KvClient, key: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  const visit = (node: Awaited<ReturnType<KvClient['get']>>['node']): void => {
    if (node.value !== undefined) found[node.key.slice(key.length + 1)] = node.value
    for (const child of node.nodes ?? []) visit(child)
  }
  visit((await client.get(key, { recursive: true, sorted: true })).node)
  return found
}

async function units(t: Test, client: KvClient): Promise<void> {
  const registry = new UnitRegistry(client, KEYS)
  t.same(await registry.units(), [])
  t.equal(await registry.unit('hello.service'), undefined)
  await registry.putUnit('hello.service', HELLO.options, 'inactive')
  await registry.putUnit('other.service', HELLO.options, 'launched')
  t.match(await keysBelow(client, '/fleet/job/hello.service'), { 'target-state': 'inactive' })
  t.match(await registry.unit('hello.service'), {
    file: { hash: HELLO.hash },
    currentState: 'inactive',
    target: '',
    isGlobal: false,
  })
  await client.set('/fleet/job/hello.service/target', 'M1')
  await client.set('/fleet/states/hello.service/M1', '{"loadState":"loaded"}')
  t.equal((await registry.unit('hello.service'))?.currentState, 'loaded')
  await client.set('/fleet/job/hello.service/job-state', 'M1')
  t.same(
    (await registry.units()).map(({ name, currentState }) => [name, currentState]),
    [
      ['hello.service', 'launched'],
      ['other.service', 'inactive'],
    ],
  )
  t.match(await registry.statesOf('hello.service'), [{ machineID: 'M1', loadState: 'loaded' }])
  t.equal((await registry.unitStates()).length, 1)
  await client.set('/fleet/job/other.service/target-state', 'bogus')
  t.same(
    (await registry.units()).map(({ name }) => name),
    ['hello.service'],
  )
  await t.rejects(registry.unit('other.service'), UnreadableUnitError)
  t.equal(await registry.destroyUnit('other.service'), true)
  t.equal(await registry.destroyUnit('other.service'), false)
  t.ok((await client.get(`/fleet/unit/${HELLO.hash}`)).node.value, 'the file stays')
}

async function strangeNames(t: Test, client: KvClient): Promise<void> {
  const registry = new UnitRegistry(client, KEYS)
  await registry.putUnit('hello.service', HELLO.options, 'inactive')
  await client.set('/fleet/states/hello.service/M1', encodeUnitState({ ...STATE, machineID: 'M1' }))
  const before = await keysBelow(client, '/fleet')
  for (const name of ['', '.', '..', '../job', '../../fleet', 'x/../hello.service', '/']) {
    t.equal(await registry.destroyUnit(name), false, `destroy ${name}`)
    t.equal(await registry.unit(name), undefined, `unit ${name}`)
    t.same(await registry.statesOf(name), [], `states of ${name}`)
  }
  t.same(await keysBelow(client, '/fleet'), before)
}

async function manyFiles(t: Test, client: KvClient): Promise<void> {
  const writer = new UnitRegistry(client, KEYS)
  const names = Array.from({ length: 12 }, (_, at) => `u${String(at).padStart(2, '0')}.service`)
  for (const name of names) {
    await writer.putUnit(name, parseUnitFile(`[Unit]\nDescription=${name}\n`).options, 'loaded')
  }
  const reader = new UnitRegistry(client, KEYS)
  t.same(
    (await reader.units()).map((unit) => unit.file.options[0]?.value),
    names,
  )
}

async function machines(t: Test, client: KvClient): Promise<void> {
  const registry = new UnitRegistry(client, KEYS)
  const agent = new AgentRegistry(client, KEYS)
  t.equal(await agent.register(MACHINE, 30), undefined)
  t.match(await agent.register(MACHINE, 30), /"ID":"M1"/, 'the record that is there')
  await registry.setMetadata('M1', 'zone', 'b')
  await registry.setMetadata('M1', 'disk', '')
  t.same([...((await registry.machines())[0]?.metadata ?? [])], [['zone', 'b']])
  t.equal(await agent.refreshMachine('M1', 30), true)
  await agent.putApiURL('M1', 'http://10.0.0.1:1', 30)
  t.equal(await registry.apiURL('M1'), 'http://10.0.0.1:1')
  t.equal(await agent.refreshApiURL('M1', 30), true)
  const engine = new EngineRegistry(client, KEYS)
  t.same(await engine.liveMachines(), ['M1'])
  await agent.removeMachine('M1')
  t.same(await registry.machines(), [])
  t.same(await engine.liveMachines(), [])
  t.equal(await agent.refreshMachine('M1', 30), false)
}

async function states(t: Test, client: KvClient): Promise<void> {
  const agent = new AgentRegistry(client, KEYS)
  const [here, there] = [
    { ...STATE, machineID: 'M1' },
    { ...STATE, machineID: 'M2' },
  ]
  await agent.putState('a.service', { ...here, unitHash: '' }, 30)
  await t.rejects(client.get('/fleet/states'), 'nothing is written without a hash')
  await agent.putState('a.service', here, 30)
  await agent.putState('a.service', there, 30)
  t.equal(await agent.refreshState('a.service', 'M1', 30), true)
  await agent.removeState('a.service', here)
  t.same(Object.keys(await keysBelow(client, '/fleet/states')), ['a.service/M2'])
  t.match((await client.get('/fleet/state/a.service')).node.value, 'M2', "another machine's word")
  await agent.removeState('a.service', there)
  await t.rejects(client.get('/fleet/states/a.service'), 'the empty directory goes too')
  await t.rejects(client.get('/fleet/state/a.service'))
  t.equal(await agent.refreshHeartbeat('a.service', 30), false)
  await agent.putHeartbeat('a.service', 'M1', 30)
  t.equal(await agent.refreshHeartbeat('a.service', 30), true)
  t.ok((await client.get('/fleet/job/a.service/job-state')).node.ttl)
  await agent.removeHeartbeat('a.service', 'M2')
  t.equal((await client.get('/fleet/job/a.service/job-state')).node.value, 'M1', 'not its own')
  await agent.removeHeartbeat('a.service', 'M1')
  await agent.removeHeartbeat('a.service', 'M1')
}

async function placements(t: Test, client: KvClient): Promise<void> {
  const engine = new EngineRegistry(client, KEYS)
  t.ok(await engine.schedule('a.service', 'M1'))
  t.equal(await engine.schedule('a.service', 'M2'), undefined, 'it has a machine')
  t.equal(await engine.unschedule('a.service', 'M2'), undefined, 'not from that machine')
  t.ok(await engine.unschedule('a.service', 'M1'))
  t.equal(await engine.unschedule('a.service', 'M1'), undefined)
  await engine.raiseVersion(0)
  t.equal((await client.get('/fleet/engine/version')).node.value, '1')
  await engine.raiseVersion(0)
  await client.set('/fleet/engine/version', '0')
  await engine.raiseVersion(0)
}

async function lease(t: Test, client: KvClient): Promise<void> {
  const engine = new EngineRegistry(client, KEYS)
  const held = await engine.acquireLease('M1', 10)
  t.equal(await engine.acquireLease('M2', 10), undefined)
  t.match(await engine.readLease(), { machineID: 'M1', version: 1 })
  const renewed = await engine.renewLease(held?.index ?? 0, 10)
  t.ok(renewed)
  t.equal(await engine.renewLease(held?.index ?? 0, 10), undefined, 'every index holds once')
  t.equal(await engine.stealLease('M2', 10), undefined, 'not from an equal')
  await engine.releaseLease(renewed?.index ?? 0)
  t.equal(await engine.readLease(), undefined)
  await client.set('/fleet/lease/engine-leader', encodeLease({ machineID: 'M0', version: 0 }), {
    ttl: 7,
  })
  const stolen = await engine.stealLease('M2', 10)
  t.ok((stolen?.waitMs ?? 0) > 5000, 'the old holder may act for its time')
  t.ok(((await engine.readLease())?.ttl ?? 0) > 10)
}

async function cache(t: Test, client: KvClient): Promise<void> {
  const registry = new UnitRegistry(client, KEYS)
  const cached = new RegistryCache(client, KEYS)
  const ending = new AbortController()
  await cached.load(ending.signal)
  t.same(cached.snapshot.jobs(), [], 'a registry that does not exist is empty')
  const changes: Change[] = []
  const unsubscribe = cached.onChange((change) => changes.push(change))
  const following = cached.follow(ending.signal)
  await registry.putUnit('a.service', HELLO.options, 'launched')
  const { etcdIndex } = await client.get('/fleet/job/a.service/target-state')
  t.equal(await cached.reach(etcdIndex, 5000), true)
  t.equal(await cached.reach(etcdIndex, 0), true, 'at once when it is there')
  t.equal(await cached.reach(etcdIndex + 1000, 1), false)
  t.equal(cached.snapshot.job('a.service')?.targetState, 'launched')
  t.same(changes.slice(-2), [
    { type: 'job', name: 'a.service' },
    { type: 'job', name: 'a.service' },
  ])
  unsubscribe()
  ending.abort()
  await following
}

const TESTS: readonly (readonly [string, (t: Test, client: KvClient) => Promise<void>])[] = [
  ['units are written and read as the API server does it', units],
  ['many unit files are read at once', manyFiles],
  ['a name that is no part of a key names nothing', strangeNames],
  ['machines register, live on and leave', machines],
  ['states and heartbeats belong to the machine that wrote them', states],
  ['a unit is placed once', placements],
  ['the lease has one holder', lease],
  ['the cache follows the store', cache],
]
