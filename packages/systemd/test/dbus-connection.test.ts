import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { CALLS_MAX, connectBus, type Connection, socketPath } from '../src/dbus/connection.ts'
import { busAddresses, createSystemdManager } from '../src/dbus/manager.ts'
import type { Value } from '../src/dbus/marshal.ts'
import type { Message } from '../src/dbus/message.ts'
import type { UnitManager } from '../src/manager.ts'
import { type Answer, type FakeBus, fakeBus } from './helpers/fake-bus.ts'

const CALL = { destination: 'a.b', path: '/a', interface: 'a.b', member: 'M' }
const UNIT_PATH = '/org/freedesktop/systemd1/unit/a_2eservice'
const PROPERTIES = 'org.freedesktop.DBus.Properties'

async function connected(
  tt: { teardown(fn: () => unknown): void },
  answer: (call: Message) => Answer | Promise<Answer>,
  options: {
    onClose?: () => void
    onSignal?: (signal: Message) => void
    callTimeoutMs?: number
  } = {},
): Promise<{ bus: FakeBus; connection: Connection }> {
  const bus = await fakeBus(answer)
  const connection = await connectBus({
    address: bus.address,
    isBus: true,
    onSignal: () => undefined,
    onClose: () => undefined,
    ...options,
  })
  tt.teardown(async () => {
    connection.close()
    await bus.close()
  })
  return { bus, connection }
}

t.test('a call is answered with values or with an error of the peer', async (tt) => {
  const { bus, connection } = await connected(tt, (call) =>
    call.member === 'M'
      ? { signature: 'su', body: ['x', 5] }
      : { error: 'org.freedesktop.systemd1.NoSuchUnit', text: 'Unit a not loaded.' },
  )
  tt.same(await connection.call(CALL), ['x', 5])
  await tt.rejects(connection.call({ ...CALL, member: 'Bad' }), {
    name: 'DBusError',
    code: 'DBUS_ERROR',
    errorName: 'org.freedesktop.systemd1.NoSuchUnit',
    message: 'Unit a not loaded.',
  })
  tt.same(bus.calls, ['Hello', 'M', 'Bad'])
})

t.test('no more than 64 calls wait for an answer at a time', async (tt) => {
  const waiting: (() => void)[] = []
  const { connection } = await connected(tt, async (call) => {
    if (call.member === 'M') await new Promise<void>((release) => waiting.push(release))
    return {}
  })
  const calls = Array.from({ length: 200 }, () => connection.call(CALL))
  let most = 0
  for (let answered = 0; answered < calls.length;) {
    await new Promise((next) => setImmediate(next))
    most = Math.max(most, waiting.length)
    if (waiting.length < Math.min(CALLS_MAX, calls.length - answered)) continue
    waiting.shift()?.()
    answered += 1
  }
  tt.equal((await Promise.all(calls)).length, 200)
  tt.equal(most, CALLS_MAX)
})

t.test(
  'a connection that ends fails the calls in flight, those that queue, and all later ones',
  async (tt) => {
    const closed = { resolve: (): void => undefined }
    const isClosed = new Promise<void>((resolve) => {
      closed.resolve = resolve
    })
    const { bus, connection } = await connected(tt, () => undefined, {
      onClose: () => closed.resolve(),
    })
    const calls = Array.from({ length: CALLS_MAX + 2 }, () =>
      connection.call(CALL).then(
        () => 'answered',
        (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
      ),
    )
    while (bus.calls.length < CALLS_MAX + 1) await new Promise((next) => setImmediate(next))
    bus.drop()
    tt.same(new Set(await Promise.all(calls)), new Set(['DISCONNECTED']))
    await isClosed
    await tt.rejects(connection.call(CALL), { code: 'DISCONNECTED' })
  },
)

t.test('a peer that does not answer in time fails the call only', async (tt) => {
  const { connection } = await connected(tt, (call) => (call.member === 'M' ? undefined : {}), {
    callTimeoutMs: 30,
  })
  await tt.rejects(connection.call(CALL), {
    code: 'DISCONNECTED',
    message: 'Lost systemd: no answer to M.',
  })
  tt.same(await connection.call({ ...CALL, member: 'Other' }), [])
})

t.test('a peer that is no bus is greeted until it wakes up', async (tt) => {
  let wake = (): void => undefined
  const isAwake = new Promise<void>((resolve) => {
    wake = resolve
  })
  const bus = await fakeBus(async () => {
    // systemd keeps the first call in its buffer until the next one comes.
    if (bus.calls.length > 1) wake()
    await isAwake
    return {}
  })
  tt.teardown(() => bus.close())
  const ignore = { onSignal: (): void => undefined, onClose: (): void => undefined }
  const connection = await connectBus({ address: bus.address, isBus: false, ...ignore })
  tt.same([...new Set(bus.calls)], ['Ping'])
  tt.ok(bus.calls.length >= 2)
  connection.close()
  await tt.rejects(connection.call(CALL), { code: 'DISCONNECTED' })
})

t.test('bytes that are no D-Bus end the connection', async (tt) => {
  const closed: { resolve?: () => void } = {}
  const isClosed = new Promise<void>((resolve) => {
    closed.resolve = resolve
  })
  const { bus, connection } = await connected(tt, () => undefined, {
    onClose: () => closed.resolve?.(),
  })
  const call = connection.call(CALL)
  bus.sendAll(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))
  await tt.rejects(call, { code: 'DISCONNECTED' })
  await isClosed
})

t.test('who refuses us, hangs up or is not there is told in one error', async (tt) => {
  // Not testdir(): the path of a unix socket must be short.
  const directory = await mkdtemp(join(tmpdir(), 'bus-'))
  tt.teardown(() => rm(directory, { recursive: true, force: true }))
  const listen = async (name: string, greeting: string | undefined): Promise<string> => {
    const path = join(directory, name)
    const server = createServer((socket) =>
      greeting === undefined ? socket.destroy() : socket.write(greeting),
    )
    server.listen(path)
    await once(server, 'listening')
    tt.teardown(() => server.close())
    return `unix:path=${path}`
  }
  const never = { isBus: true, onSignal: () => undefined, onClose: () => undefined }
  const refused = await listen('refused', 'REJECTED EXTERNAL\r\n')
  const silent = await listen('hangup', undefined)
  const chatty = await listen('chatty', 'x'.repeat(5000))
  for (const address of [
    refused,
    silent,
    chatty,
    `unix:path=${directory}/nobody`,
    'tcp:host=x',
    'x',
  ]) {
    await tt.rejects(connectBus({ ...never, address }), { code: 'DISCONNECTED' }, address)
  }
  const bus = await fakeBus(() => ({}))
  tt.teardown(() => bus.close())
  const second = await connectBus({ ...never, address: `${refused};${bus.address}` })
  tt.same(bus.calls, ['Hello'], 'of several addresses the first that answers is taken')
  second.close()
})

t.test('a connection that fails while it is made is closed', async (tt) => {
  const refusals: readonly (readonly [string, (address: string) => Promise<unknown>])[] = [
    ['Subscribe', (address) => createSystemdManager({ unitsDirectory: tt.testdirName, address })],
    [
      'Ping',
      (address) =>
        connectBus({
          address,
          isBus: false,
          onSignal: () => tt.fail('nobody listens'),
          onClose: () => tt.fail('it never was a connection'),
        }),
    ],
  ]
  for (const [refused, connect] of refusals) {
    const no = { error: 'org.freedesktop.DBus.Error.ServiceUnknown', text: 'systemd is not there' }
    const bus = await fakeBus(({ member }): Answer => (member === refused ? no : {}))
    tt.teardown(() => bus.close())
    await tt.rejects(connect(bus.address), { code: 'DISCONNECTED' }, refused)
    await bus.untilDeserted()
  }
})

t.test('addresses', (tt) => {
  tt.equal(socketPath('unix:path=/run/dbus/system_bus_socket'), '/run/dbus/system_bus_socket')
  tt.equal(socketPath('unix:abstract=/x%20y,guid=1'), '\0/x y')
  tt.throws(() => socketPath('unixexec:path=x'), { code: 'INVALID_ARGUMENT' })
  const system = busAddresses({}, {})
  tt.same(
    system.map(({ address, isBus }) => `${address} ${isBus}`),
    ['unix:path=/run/dbus/system_bus_socket true', 'unix:path=/run/systemd/private false'],
  )
  tt.match(busAddresses({}, { DBUS_SYSTEM_BUS_ADDRESS: 'unix:path=/b' }), [
    { address: 'unix:path=/b' },
  ])
  tt.match(busAddresses({ user: true }, { XDG_RUNTIME_DIR: '/r' }), [
    { address: 'unix:path=/r/bus', isBus: true },
    { address: 'unix:path=/r/systemd/private', isBus: false },
  ])
  tt.same(busAddresses({ address: 'unix:path=/x/systemd/private' }, {}).length, 1)
  tt.end()
})

/** A manager of a systemd that answers as `members` says; everything else is answered with nothing. */
async function managed(
  tt: { teardown(fn: () => unknown): void; testdir(): string },
  members: Readonly<Record<string, (body: readonly Value[]) => Answer>>,
): Promise<{ bus: FakeBus; manager: UnitManager }> {
  const bus = await fakeBus((call) => members[call.member]?.(call.body()) ?? {})
  const manager = await createSystemdManager({ unitsDirectory: tt.testdir(), address: bus.address })
  tt.teardown(async () => {
    await manager.close()
    await bus.close()
  })
  return { bus, manager }
}

const unit = (name: string, ...states: readonly string[]): Value => [
  name,
  '',
  ...states,
  '',
  UNIT_PATH,
  0,
  '',
  '/',
]
const LIST = 'a(ssssssouso)'

t.test('states come in one call, an alias under the name that was asked for', async (tt) => {
  const { manager } = await managed(tt, {
    ListUnitsByNames: () => ({
      signature: LIST,
      body: [
        [
          unit('real.service', 'loaded', 'active', 'running'),
          unit('b.service', 'not-found', 'inactive', 'dead'),
        ],
      ],
    }),
  })
  tt.same(
    await manager.states(['alias.service', 'b.service']),
    new Map([
      ['alias.service', { loadState: 'loaded', activeState: 'active', subState: 'running' }],
      ['b.service', { loadState: 'not-found', activeState: 'inactive', subState: 'dead' }],
    ]),
  )
  tt.same(await manager.states([]), new Map())
})

t.test(
  'a systemd without ListUnitsByNames is asked for all units and the properties of the others',
  async (tt) => {
    const { manager } = await managed(tt, {
      ListUnitsByNames: () => ({ error: 'org.freedesktop.DBus.Error.UnknownMethod', text: 'no' }),
      ListUnits: () => ({
        signature: LIST,
        body: [[unit('a.service', 'loaded', 'active', 'exited')]],
      }),
      GetAll: () => ({
        signature: 'a{sv}',
        body: [
          [
            ['LoadState', { signature: 's', value: 'loaded' }],
            ['ActiveState', { signature: 's', value: 'failed' }],
            ['SubState', { signature: 's', value: 'failed' }],
          ],
        ],
      }),
    })
    const states = await manager.states(['a.service', 'z.service'])
    tt.equal(states.get('a.service')?.subState, 'exited')
    tt.equal(states.get('z.service')?.subState, 'failed')
  },
)

t.test('what systemd refuses has a code and its words', async (tt) => {
  const { manager } = await managed(tt, {
    StartUnit: ([name]) => ({
      error: 'org.freedesktop.systemd1.NoSuchUnit',
      text: `Unit ${typeof name === 'string' ? name : ''} not found.`,
    }),
    StopUnit: () => ({ error: 'org.freedesktop.DBus.Error.AccessDenied', text: 'Access denied' }),
    EnableUnitFiles: () => ({ signature: 'ba(sss)', body: [false, []] }),
    ResetFailedUnit: () => ({
      error: 'org.freedesktop.systemd1.NoSuchUnit',
      text: 'Unit a.service not loaded.',
    }),
    DisableUnitFiles: () => ({ error: 'x.y', text: 'cannot disable' }),
  })
  await tt.rejects(manager.start('a.service'), {
    code: 'NO_SUCH_UNIT',
    message: 'Unit a.service not found.',
  })
  await tt.rejects(manager.stop('a.service'), { code: 'REFUSED', message: 'Access denied' })
  await manager.load('a.service', '[Service]\nExecStart=/bin/true\n')
  tt.same(await manager.list(), ['a.service'])
  await tt.rejects(manager.unload('a.service'), { code: 'REFUSED', message: 'cannot disable' })
  tt.same(await manager.list(), [], 'the file is removed although disabling failed')
  await tt.rejects(manager.load('b.service', '[Service]\nExecStart=/x\n[Install]\nFoo=1\n'), {
    code: 'REFUSED',
  })
  tt.same(await manager.list(), [], 'a unit that cannot be enabled does not stay')
  await tt.rejects(manager.load('../b.service', ''), { code: 'INVALID_NAME' })
})

t.test(
  'signals about a unit are told once a turn, and a new connection tells of all units',
  async (tt) => {
    const { bus, manager } = await managed(tt, {})
    await manager.load('a.service', '[Service]\nExecStart=/bin/true\n')
    const told: string[] = []
    let wake = (): void => undefined
    manager.onChange((name) => {
      told.push(name)
      wake()
    })
    const next = (): Promise<void> =>
      new Promise((resolve) => {
        wake = resolve
      })
    const job: Value[] = [1, '/org/freedesktop/systemd1/job/1', 'b.service', 'done']
    let heard = next()
    for (let index = 0; index < 3; index += 1) {
      bus.signal({
        path: UNIT_PATH,
        interface: PROPERTIES,
        member: 'PropertiesChanged',
        signature: 's',
        body: ['x'],
      })
    }
    await heard
    heard = next()
    bus.signal({
      path: '/org/freedesktop/systemd1',
      interface: 'm',
      member: 'JobRemoved',
      signature: 'uoss',
      body: job,
    })
    await heard
    tt.ok(told.length <= 4 && told.at(-1) === 'b.service' && told[0] === 'a.service', told.join())
    heard = next()
    bus.drop()
    await heard
    tt.equal(told.at(-1), 'a.service', 'signals may have been missed')
    tt.equal(bus.calls.filter((member) => member === 'Subscribe').length, 2)
    heard = next()
    const owner = {
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
      signature: 'sss',
    }
    bus.signal({
      ...owner,
      member: 'NameOwnerChanged',
      body: ['org.freedesktop.systemd1', '', ':1.9'],
    })
    await heard
    tt.equal(bus.calls.filter((member) => member === 'Subscribe').length, 3, 'systemd came back')
    tt.same(
      await manager.states(['a.service']),
      new Map([['a.service', (await manager.states(['a.service'])).get('a.service')]]),
    )
  },
)

t.test('a pattern is no name of a unit', async (tt) => {
  const { manager } = await managed(tt, {})
  await tt.rejects(manager.status('*.service'), { code: 'INVALID_NAME' })
  const journal = manager.journal('*.service', { lines: 1, follow: false, output: 'cat' })
  await tt.rejects(async () => journal[Symbol.asyncIterator]().next(), { code: 'INVALID_NAME' })
})

t.test('no systemd at the start is an error', async (tt) => {
  const nobody = createSystemdManager({
    unitsDirectory: tt.testdir(),
    address: `unix:path=${tt.testdirName}/nobody`,
  })
  await tt.rejects(nobody, { code: 'DISCONNECTED', message: 'Failed to connect to systemd.' })
})
