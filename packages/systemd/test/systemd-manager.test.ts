/**
 * The manager of the system's systemd, on a booted machine: run it as root inside one (a container booted with
 * systemd-nspawn will do). Elsewhere it is skipped.
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { connectBus } from '../src/dbus/connection.ts'
import { createSystemdManager } from '../src/dbus/manager.ts'
import type { Value } from '../src/dbus/marshal.ts'
import type { UnitManager } from '../src/manager.ts'
import { busctlJson } from './helpers/busctl.ts'
import { lines, untilLine, untilSub } from './helpers/units.ts'

const run = promisify(execFile)

function reasonToSkip(): string | false {
  if (!existsSync('/run/systemd/system')) return 'systemd is not the init system here'
  if (readFileSync('/proc/1/comm', 'utf8').trim() !== 'systemd') return 'PID 1 is not systemd'
  if (process.getuid?.() !== 0) return 'needs root'
  return existsSync('/run/dbus/system_bus_socket') ? false : 'no system bus'
}

const skip = reasonToSkip()
t.setTimeout(120_000)

/** A manager with a directory of its own, as fleet has /run/fleet/units. */
async function setUp(
  tt: { teardown(fn: () => unknown): void },
  address?: string,
): Promise<{ manager: UnitManager; directory: string }> {
  const directory = await mkdtemp('/run/flotilla-test-')
  const manager = await createSystemdManager({
    unitsDirectory: directory,
    ...(address === undefined ? {} : { address }),
  })
  tt.teardown(async () => {
    for (const name of await manager.list()) {
      await manager.stop(name).catch(() => undefined)
      await manager.unload(name).catch(() => undefined)
    }
    await manager.reload()
    await manager.close()
    await rm(directory, { recursive: true, force: true })
  })
  return { manager, directory }
}

async function property(name: string, key: string): Promise<string> {
  return (await run('systemctl', ['show', '-P', key, name])).stdout.trim()
}

const HELLO = `[Unit]
Description=Hello World

[Service]
ExecStart=/bin/sh -c "while true; do echo Hello World; sleep 1; done"

[Install]
WantedBy=multi-user.target
`

for (const [title, address] of [
  ['the system bus', undefined],
  ["systemd's private socket", 'unix:path=/run/systemd/private'],
] as const) {
  t.test(`a unit lives and dies over ${title}`, { skip }, async (tt) => {
    const { manager, directory } = await setUp(tt, address)
    const name = `hello-${process.pid}-${address === undefined ? 'bus' : 'private'}.service`
    const link = `/run/systemd/system/${name}`
    const wanted = `/run/systemd/system/multi-user.target.wants/${name}`
    await manager.load(name, HELLO)
    await manager.reload()
    tt.same(await manager.list(), [name])
    tt.equal(await manager.read(name), HELLO)
    tt.equal(readlinkSync(link), join(directory, name))
    tt.ok(existsSync(wanted))
    tt.equal(await property(name, 'UnitFileState'), 'enabled-runtime')
    await manager.start(name)
    await untilSub(manager, name, 'running')
    await untilLine(manager, name, 'Hello World')
    const status = await manager.status(name)
    tt.equal(status.exitCode, 0)
    tt.match(status.text, /^● hello-.*\.service - Hello World\n +Loaded: loaded/)
    tt.match(status.text, /Active: active \(running\) since/)
    tt.match(status.text, /Main PID: \d+ \(sh\)/)
    const journal = (await lines(manager, name, 'short')).join('\n')
    tt.match(journal, /systemd\[1\]: Started hello-.*\.service - Hello World\./)
    await manager.start(name)
    await manager.stop(name)
    await untilSub(manager, name, 'dead')
    tt.equal((await manager.status(name)).exitCode, 3)
    await manager.unload(name)
    await manager.reload()
    tt.notOk(existsSync(link) || existsSync(wanted))
    tt.same(await manager.list(), [])
    const states = await manager.states([name])
    tt.same(states.get(name), { loadState: 'not-found', activeState: 'inactive', subState: 'dead' })
    tt.same(await manager.status(name), { text: `Unit ${name} could not be found.\n`, exitCode: 4 })
  })
}

t.test('what systemd refuses', { skip }, async (tt) => {
  const { manager } = await setUp(tt)
  await tt.rejects(manager.start('nosuch.service'), {
    code: 'NO_SUCH_UNIT',
    message: 'Unit nosuch.service not found.',
  })
  const name = `bad-${process.pid}.service`
  await manager.load(name, '[Service]\nExecStart=relative/path\n')
  await manager.reload()
  await tt.rejects(manager.start(name), {
    code: 'BAD_UNIT_SETTING',
    message: `Unit ${name} has a bad unit file setting.`,
  })
  tt.equal((await manager.states([name])).get(name)?.loadState, 'bad-setting')
  await manager.unload(name)
  const install = manager.load(
    `install-${process.pid}.service`,
    '[Service]\nExecStart=/bin/true\n[Install]\nX-A=1\n',
  )
  await tt.rejects(install, { code: 'BAD_UNIT_SETTING' })
  tt.same(await manager.list(), [])
  const journal = lines(manager, name, 'bogus')
  await tt.rejects(journal, { code: 'INVALID_ARGUMENT', message: "Unknown output format 'bogus'." })
})

t.test('the name of a template spoils nothing', { skip }, async (tt) => {
  const { manager } = await setUp(tt)
  await manager.load('tmpl@.service', '[Service]\nExecStart=/bin/sleep infinity\n')
  const states = await manager.states(['tmpl@.service', 'dbus.service'])
  tt.equal(states.get('tmpl@.service')?.loadState, 'not-found')
  tt.equal(states.get('dbus.service')?.loadState, 'loaded')
  await manager.stop('tmpl@.service')
  await manager.unload('tmpl@.service')
  tt.notOk((await manager.list()).includes('tmpl@.service'), 'its file is gone')
})

t.test('a failed unit can be unloaded, its failure is forgotten', { skip }, async (tt) => {
  const { manager } = await setUp(tt)
  const name = `fails-${process.pid}.service`
  await manager.load(name, '[Service]\nExecStart=/bin/false\n')
  await manager.reload()
  await manager.start(name)
  await untilSub(manager, name, 'failed')
  await manager.stop(name)
  await manager.unload(name)
  await manager.reload()
  tt.equal(await property(name, 'ActiveState'), 'inactive')
  await tt.resolves(manager.unload(name), 'unloading what is gone is no error')
})

t.test('following a journal ends with its signal', { skip }, async (tt) => {
  const { manager } = await setUp(tt)
  const name = `follow-${process.pid}.service`
  await manager.load(name, HELLO)
  await manager.reload()
  await manager.start(name)
  const abort = new AbortController()
  const seen: string[] = []
  const follow = { lines: 0, follow: true, output: 'cat', signal: abort.signal }
  for await (const line of manager.journal(name, follow)) {
    seen.push(line)
    if (seen.filter((each) => each === 'Hello World').length === 2) abort.abort()
  }
  tt.ok(seen.length >= 2)
})

t.test(
  'more units start at once than a connection may have calls in flight',
  { skip },
  async (tt) => {
    const { manager } = await setUp(tt)
    const names = Array.from({ length: 128 }, (_, index) => `many-${process.pid}-${index}.service`)
    await Promise.all(
      names.map((name) => manager.load(name, '[Service]\nExecStart=/bin/sleep infinity\n')),
    )
    await manager.reload()
    const began = Date.now()
    const cpu = process.cpuUsage()
    let changes = 0
    manager.onChange(() => {
      changes += 1
    })
    await Promise.all(names.map((name) => manager.start(name)))
    const isUp = async (): Promise<boolean> => {
      const states = await manager.states(names)
      return names.every((name) => states.get(name)?.subState === 'running')
    }
    while (!(await isUp())) await new Promise((next) => setImmediate(next))
    const { user, system } = process.cpuUsage(cpu)
    tt.comment(
      `128 starts: ${Date.now() - began} ms, CPU ${Math.round((user + system) / 1000)} ms, ${changes} changes told`,
    )
    tt.ok(changes >= 128)
    await Promise.all(names.map((name) => manager.stop(name)))
    await Promise.all(names.map((name) => manager.unload(name)))
    await manager.reload()
  },
)

t.test('after the bus daemon was killed the manager goes on', { skip }, async (tt) => {
  const { manager } = await setUp(tt)
  const name = `bus-${process.pid}.service`
  await manager.load(name, '[Service]\nExecStart=/bin/sleep infinity\n')
  await manager.reload()
  const told = new Promise<void>((resolve) => {
    manager.onChange((changed) => changed === name && resolve())
  })
  await run('systemctl', ['kill', '-s', 'KILL', 'dbus.service'])
  await told
  await manager.start(name)
  await untilSub(manager, name, 'running')
  tt.pass('signals arrive again')
  await run('systemctl', ['reset-failed', 'dbus.service'])
  await run('systemctl', ['start', 'dbus.service'])
})

t.test('answers decode to what busctl prints', { skip }, async (tt) => {
  const connection = await connectBus({
    address: 'unix:path=/run/dbus/system_bus_socket',
    isBus: true,
    onSignal: () => undefined,
    onClose: () => undefined,
  })
  tt.teardown(() => connection.close())
  const properties = (path: string, ofInterface: string): readonly string[] => [
    'org.freedesktop.systemd1',
    path,
    'org.freedesktop.DBus.Properties',
    'GetAll',
    's',
    ofInterface,
  ]
  const manager = [
    'org.freedesktop.systemd1',
    '/org/freedesktop/systemd1',
    'org.freedesktop.systemd1.Manager',
  ]
  const units = '/org/freedesktop/systemd1/unit'
  const calls: readonly (readonly [string, readonly string[]])[] = [
    [
      'a(ssssssouso)',
      [...manager, 'ListUnitsByNames', 'as', '2', 'basic.target', 'nosuch.service'],
    ],
    ['a(ss)', [...manager, 'ListUnitFilesByPatterns', 'asas', '0', '1', 'systemd-*']],
    ['a{sv}', properties(`${units}/systemd_2djournald_2eservice`, 'org.freedesktop.systemd1.Unit')],
    [
      'a{sv}',
      properties(`${units}/systemd_2dlogind_2eservice`, 'org.freedesktop.systemd1.Service'),
    ],
    ['a{sv}', properties(`${units}/dbus_2esocket`, 'org.freedesktop.systemd1.Socket')],
    ['a{sv}', properties(`${units}/_2d_2emount`, 'org.freedesktop.systemd1.Mount')],
    ['o', [...manager, 'GetUnit', 's', 'basic.target']],
  ]
  const bodies: Readonly<Record<string, readonly Value[]>> = {
    ListUnitsByNames: [['basic.target', 'nosuch.service']],
    ListUnitFilesByPatterns: [[], ['systemd-*']],
  }
  for (const [
    answer,
    [destination = '', path = '', ofInterface = '', member = '', signature = '', ...args],
  ] of calls) {
    const body = bodies[member] ?? args
    const call = { destination, path, interface: ofInterface, member, signature, body }
    const [value = ''] = await connection.call(call)
    const { stdout } = await run('busctl', [
      '--json=short',
      'call',
      destination,
      path,
      ofInterface,
      member,
      signature,
      ...args,
    ])
    const printed: { readonly type: string; readonly data: readonly unknown[] } = JSON.parse(stdout)
    tt.equal(printed.type, answer)
    tt.match(
      withoutMeters(busctlJson(answer, value)),
      withoutMeters(printed.data[0]),
      `${member} ${path}`,
    )
  }
})

/** Without values that differ from one call to the next, and without the order of lists, which is chance. */
function withoutMeters(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((each) => JSON.stringify(each)).toSorted()
  if (typeof value !== 'object' || value === null) return value
  const meters = /^(Memory|CPUUsage|Tasks|IO|IP|InvocationID)/
  return Object.fromEntries(Object.entries(value).filter(([key]) => !meters.test(key)))
}
