import { getEventListeners } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { spawnSync } from 'node:child_process'
import { FlagError, OptionError } from '@flotilla/daemon'
import { decodeMachine, type MachineObject } from '@flotilla/fleet-registry'
import { test, type Test } from 'tap'
import { ConfigError, readConfig } from '../src/config.ts'
import { parseDurationMs } from '../src/config-values.ts'
import { steadyClock } from '../src/clock.ts'
import { Contact } from '../src/contact.ts'
import { defaultInterface, readMachineID } from '../src/identity.ts'
import { eachLimit, errorText, Loop } from '../src/loop.ts'
import { Membership } from '../src/membership.ts'
import { surroundings, type Surroundings } from './helpers/surroundings.ts'

const BIN = fileURLToPath(new URL('../../bin/fleetd.js', import.meta.url))

test('environment over file over default', (t) => {
  const file = {
    name: 'fleet.conf',
    text: '# c\nmetadata="a=1, b=2"\npublic_ip=10.0.0.1\nagent_ttl=1m30s\nverbosity=1\nstrange=1\n',
  }
  const { config, options } = readConfig({ FLEET_PUBLIC_IP: '10.0.0.2', FLEET_LISTEN: '' }, file)
  t.match(config, {
    publicIP: '10.0.0.2',
    agentTTLSeconds: 90,
    verbosity: 1,
    engineIntervalMs: 2000,
    unitManager: 'systemd',
    listen: [],
    tokenLimit: 100,
    store: {
      requestTimeoutMs: 1000,
      endpoints: ['http://127.0.0.1:2379', 'http://127.0.0.1:4001'],
    },
  })
  t.same(
    [...config.metadata],
    [
      ['a', '1'],
      ['b', '2'],
    ],
  )
  t.equal(options.source('public_ip'), 'environment')
  t.end()
})

test('values that fleetd cannot work with are refused', (t) => {
  const refused = (name: string, value: string): void => {
    t.throws(() => readConfig({ [name]: value }), `${name}=${value}`)
  }
  refused('FLEET_AGENT_TTL', '30')
  refused('FLEET_AGENT_TTL', '-1s')
  refused('FLEET_ENGINE_RECONCILE_INTERVAL', 'often')
  refused('FLEET_ETCD_REQUEST_TIMEOUT', '0')
  refused('FLEET_UNIT_MANAGER', 'upstart')
  refused('FLEET_TOKEN_LIMIT', '0')
  refused('FLEET_TOKEN_LIMIT', '65536')
  t.throws(() => readConfig({ FLEET_DISABLE_ENGINE: 'maybe' }), { name: OptionError.name })
  t.throws(() => readConfig({}, { name: 'f', text: 'nonsense' }), { name: OptionError.name })
  t.equal(new ConfigError('x').code, 'CONFIG')
  t.ok(FlagError)
  t.end()
})

test('durations are those of Go', (t) => {
  const cases = [
    ['30s', 30_000],
    ['1m30s', 90_000],
    ['1.5h', 5_400_000],
    ['.5s', 500],
    ['100ms', 100],
    ['0', 0],
    ['', undefined],
    ['5', undefined],
    ['s', undefined],
    ['1s2', undefined],
  ] as const
  for (const [text, ms] of cases) t.equal(parseDurationMs(text), ms, text)
  t.end()
})

test('the machine ID must be there; the address is that of the default route', async (t) => {
  const dir = t.testdir({ id: 'abc\n', empty: '\n' })
  t.equal(await readMachineID(join(dir, 'id')), 'abc')
  await t.rejects(readMachineID(join(dir, 'empty')), /is empty/)
  const routes =
    'Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n' +
    'eth1\t0000FEA9\t0\t1\t0\t0\t0\t0000FFFF\neth0\t00000000\t0100000A\t3\t0\t0\t0\t00000000\n'
  t.equal(defaultInterface(routes), 'eth0')
  t.equal(defaultInterface('Iface\n'), undefined)
})

test('a clock that is set back or a machine that slept does not make a lease look younger', (t) => {
  const times = [
    ['both clocks go', 1000, 1000, 1000],
    ['the wall clock is set back', -3_600_000, 2000, 3000],
    ['it goes on from there', 500, 500, 3500],
    ['the machine slept: the monotonic clock stood still', 60_000, 10, 63_500],
    ['the wall clock is set on', 3_600_000, 1000, 3_663_500],
    ['nothing happens', 0, 0, 3_663_500],
  ] as const
  let [wall, monotonic] = [1_000_000, 77]
  const now = steadyClock(
    () => wall,
    () => monotonic,
  )
  t.equal(now(), 0)
  for (const [what, wallMs, monotonicMs, passedMs] of times) {
    wall += wallMs
    monotonic += monotonicMs
    t.equal(now(), passedMs, what)
  }
  t.end()
})

test('contact begins anew after a failure and after a gap', (t) => {
  const contact = new Contact(1000)
  t.equal(contact.heldForMs(0), 0)
  contact.succeeded(10_000)
  contact.succeeded(10_900)
  t.equal(contact.heldForMs(11_000), 1000)
  t.equal(contact.heldForMs(12_000), 0, 'nobody was looking')
  contact.succeeded(12_500)
  t.equal(contact.heldForMs(12_600), 100)
  contact.failed()
  t.equal(contact.heldForMs(12_600), 0)
  t.end()
})

test('a loop makes one pass of many triggers, and lives on after an error', async (t) => {
  const ending = new AbortController()
  const errors: number[] = []
  let passes = 0
  const loop = new Loop({
    intervalMs: 1,
    pass: async () => {
      await Promise.resolve()
      passes += 1
      if (passes < 3) throw new Error('broken')
      if (passes === 3) for (let at = 0; at < 5; at++) loop.trigger()
      if (passes === 5) ending.abort()
    },
    onError: (_, failures) => errors.push(failures),
  })
  await loop.run(ending.signal)
  t.equal(passes, 5)
  t.same(errors, [1, 2])
  const seen: number[] = []
  const failing = eachLimit([1, 2, 3, 4], 2, async (it) => {
    await Promise.resolve()
    seen.push(it)
    if (it === 2) throw new Error('two')
  })
  await t.rejects(failing, { message: 'two' })
  t.same(seen, [1, 2, 3, 4], 'the others are done all the same')
  t.equal(errorText(new Error('a', { cause: new Error('b') })), 'a: b')
  t.equal(errorText('x'), 'x')
})

/** Node's own sets are no instances of Set. */
function isFilled(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'size' in value && value.size !== 0
}

test('a loop leaves nothing behind at the signal that lives as long as it', async (t) => {
  const ending = new AbortController()
  const { signal } = ending
  let passes = 0
  const loop = new Loop({
    intervalMs: 1,
    pass: async () => {
      await Promise.resolve()
      passes += 1
      if (passes < 20) return
      const held = Object.getOwnPropertySymbols(signal).map((key): unknown =>
        Reflect.get(signal, key),
      )
      t.notOk(held.some(isFilled), 'no signals derived from it')
      t.same(getEventListeners(signal, 'abort'), [])
      ending.abort()
    },
    onError: (error) => t.fail(String(error)),
  })
  await loop.run(signal)
  t.equal(passes, 20)
})

interface Fixture extends Surroundings {
  readonly membership: Membership
  readonly returns: () => number
  url: string
}

async function member(t: Test, publicIP = '10.0.0.1'): Promise<Fixture> {
  const around = await surroundings(t)
  let returns = 0
  const fixture = { ...around, url: '', returns: () => returns }
  const describe = (): MachineObject => ({
    id: 'M',
    publicIP,
    version: 'v1.0.0',
    metadata: new Map([['a', '1']]),
  })
  const membership = new Membership({
    registry: around.agents,
    describe,
    apiURL: () => fixture.url,
    ttlSeconds: 1,
    contact: new Contact(1000),
    log: around.log,
    now: around.now,
    onReturn: () => (returns += 1),
  })
  return Object.assign(fixture, { membership })
}

test('a machine registers, keeps its record and leaves', async (t) => {
  const around = await member(t)
  around.url = 'http://10.0.0.1:1'
  t.equal(around.membership.isRegistered, false)
  await around.membership.join(around.signal)
  t.equal(around.membership.isRegistered, true)
  t.equal(around.store.tree('/fleet/flotilla')['api/M'], 'http://10.0.0.1:1')
  t.equal(
    decodeMachine(around.store.tree('/fleet/machines')['M/object'] ?? '')?.publicIP,
    '10.0.0.1',
  )
  await around.membership.leave()
  t.same(around.store.tree('/fleet/machines'), {})
  t.same(around.store.tree('/fleet/flotilla'), {})
})

test('the record of a predecessor is taken over, that of a stranger is waited for', async (t) => {
  const around = await member(t)
  const foreign = { id: 'M', publicIP: '10.9.9.9', version: 'v1.0.0', metadata: new Map() }
  await around.agents.putMachine(foreign, 30)
  const joining = around.membership.join(around.signal)
  const ending = new AbortController()
  const watch = around.store.watch('/fleet/machines', { recursive: true, signal: ending.signal })
  const next = watch.next()
  // The first try is refused; when the stranger's record has expired the next one succeeds.
  while (!around.log.lines.some((line) => line.includes('machine ID is in use'))) {
    await Promise.resolve()
  }
  around.pass(31)
  await next
  ending.abort()
  await joining
  t.match(around.store.tree('/fleet/machines')['M/object'], /10\.0\.0\.1/)
  const successor = await member(t)
  await successor.agents.putMachine({ ...foreign, publicIP: '10.0.0.1' }, 30)
  await successor.membership.join(successor.signal)
  t.equal(successor.membership.isRegistered, true)
})

test('a lost record is written again, and everybody is told', async (t) => {
  const around = await member(t)
  await around.membership.join(around.signal)
  around.pass(5)
  t.same(around.store.tree('/fleet/machines'), {})
  const ending = new AbortController()
  const running = around.membership.run(ending.signal)
  const watch = around.store.watch('/fleet/machines', {
    recursive: true,
    signal: ending.signal,
    afterIndex: around.cache.snapshot.index + 1,
  })
  await watch.next()
  while (around.returns() === 0) await new Promise(setImmediate)
  ending.abort()
  await running
  t.match(around.store.tree('/fleet/machines')['M/object'], /"ID":"M"/)
})

function fleetd(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [BIN, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'], FLEET_UNIT_MANAGER: 'embedded' },
  })
}

test('the command line is that of the original', (t) => {
  t.match(fleetd('-version'), { status: 0, stdout: 'fleetd version v1.0.0\n', stderr: '' })
  t.match(fleetd('--version'), { status: 0, stdout: 'fleetd version v1.0.0\n' })
  t.match(fleetd('version'), { status: 0, stdout: 'fleetd version v1.0.0\n' })
  t.match(fleetd('start', 'x'), {
    status: 1,
    stderr: /takes no arguments. Did you mean to invoke fleetctl instead\?/,
  })
  t.match(fleetd('-nonsense'), { status: 2, stderr: /flag provided but not defined: -nonsense/ })
  t.match(fleetd('-help'), { status: 0, stderr: /Usage of fleetd/ })
  const dir = t.testdir({})
  t.match(fleetd('-config', join(dir, 'none')), {
    status: 1,
    stderr: /unable to use provided config file/,
  })
  writeFileSync(join(dir, 'bad.conf'), 'agent_ttl=never\n')
  t.match(fleetd('-config', join(dir, 'bad.conf')), {
    status: 1,
    stderr: /agent_ttl must be a duration/,
  })
  t.end()
})
