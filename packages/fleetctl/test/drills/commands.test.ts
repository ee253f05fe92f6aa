import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tap, { test, type Test } from 'tap'
import { FakeFleet } from '../helpers/fake-fleet.ts'
import { fleetctl, type Result } from '../helpers/run.ts'

tap.jobs = 2
tap.setTimeout(120_000)

const UNIT = '[Service]\nExecStart=/bin/sleep 9\n'
const OTHER = '[Service]\nExecStart=/bin/sleep 8\n'
const GLOBAL = `${UNIT}\n[X-Fleet]\nGlobal=true\n`
const LABEL = '01234567.../10.0.0.1'

interface Fixture {
  readonly fleet: FakeFleet
  readonly cwd: string
  readonly run: (...args: string[]) => Promise<Result>
}

type Files = Parameters<Test['testdir']>[0]

async function fixture(t: Test, files: Files = {}): Promise<Fixture> {
  const fleet = new FakeFleet()
  await fleet.listen(t)
  const cwd = t.testdir(files)
  const env = { FLEETCTL_ENDPOINT: fleet.url }
  return { fleet, cwd, run: async (...args) => await fleetctl(args, { cwd, env }) }
}

const ok = (stdout: string, stderr = ''): Result => ({ code: 0, stdout, stderr })
const bad = (stderr: string, stdout = ''): Result => ({ code: 1, stdout, stderr })

test('a reader that has seen enough ends the command without a word', async (t) => {
  const { fleet, cwd } = await fixture(t)
  fleet.add('a.service')
  const env = { FLEETCTL_ENDPOINT: fleet.url }
  for (const command of ['list-units', 'list-unit-files', 'list-machines', 'version']) {
    const result = await fleetctl([command], { cwd, env, isUnread: true })
    t.same(result, { code: 141, stdout: '', stderr: '' }, command)
  }
})

test('a unit that has started is no failure because its machine cannot be looked up', async (t) => {
  const { run, fleet } = await fixture(t, { 'a.service': UNIT })
  fleet.listsMachines = false
  const told = 'Unit a.service inactive\nUnit a.service launched on 01234567...\n'
  t.same(await run('start', 'a.service'), ok(told))
})

test('submit, load, start, stop, unload, destroy', async (t) => {
  const { run, fleet } = await fixture(t, { 'a.service': UNIT })
  t.same(await run('submit', 'a.service'), ok('Unit a.service inactive\n'))
  t.same(await run('submit', 'a'), ok(''), 'once more is silent')
  t.same(await run('load', 'a'), ok(`Unit a.service loaded on ${LABEL}\n`))
  t.same(await run('start', 'a'), ok(`Unit a.service launched on ${LABEL}\n`))
  t.same(await run('start', 'a'), ok(''))
  t.same(
    await run('stop', 'a', 'none'),
    ok(`Unit a.service loaded on ${LABEL}\n`, 'Successfully stopped units [a.service].\n'),
  )
  t.same(await run('stop', 'a'), ok('', 'Successfully stopped units [].\n'))
  t.same(
    await run('unload', 'a'),
    ok('Unit a.service inactive\n', 'Successfully unloaded units [a.service].\n'),
  )
  t.same(await run('unload', 'a'), ok('', 'Successfully unloaded units [].\n'))
  t.same(await run('stop', 'a'), bad('Unable to stop unit a.service in state inactive\n'))
  t.same(await run('destroy', 'a'), ok('Destroyed a.service\n'))
  t.equal(fleet.units.size, 0)
  for (const verb of ['destroy', 'stop', 'unload']) {
    t.same(await run(verb, 'a'), ok('', 'Units not found in registry\n'))
  }
})

test('no units is nothing to do', async (t) => {
  const { run } = await fixture(t)
  for (const verb of ['submit', 'load', 'start', 'stop', 'unload', 'destroy', 'restart']) {
    t.same(await run(verb), ok('', 'No units given\n'), verb)
  }
})

test('global units are triggered, not waited for', async (t) => {
  const { run, fleet } = await fixture(t, { 'g.service': GLOBAL })
  fleet.stuck.add('g.service')
  t.same(await run('start', 'g'), ok('Unit g.service \nTriggered global unit g.service start\n'))
  t.same(
    await run('stop', 'g'),
    ok('Triggered global unit g.service stop\n', 'Successfully stopped units [].\n'),
  )
  t.same(await run('journal', 'g'), bad('Unable to retrieve journal of global unit g.service.\n'))
})

test('waiting can be left out and limited', async (t) => {
  const { run, fleet } = await fixture(t, { 'a.service': UNIT })
  t.same(
    await run('start', '--no-block', 'a'),
    ok('Unit a.service inactive\nTriggered unit a.service start\nTriggered unit a.service start\n'),
  )
  fleet.add('s.service')
  fleet.stuck.add('s.service')
  const error = 'timed out waiting for unit s.service to report state loaded'
  t.same(
    await run('load', 's', '--block-attempts=1'),
    bad(
      `Error waiting for units: ${error}\nError waiting for unit states, exit status: ${error}\n`,
    ),
  )
})

test('start succeeds when systemd is on it, and fails when it does nothing', async (t) => {
  const { run, fleet } = await fixture(t)
  for (const name of ['slow', 'dead']) fleet.add(`${name}.service`)
  fleet.activeStates.set('slow.service', 'activating').set('dead.service', 'inactive')
  t.same(await run('start', 'slow'), ok(`Unit slow.service launched on ${LABEL}\n`))
  const error =
    'Failed to find an active unit dead.service within 2s, err: Failed to fetch states within 2s'
  t.same(
    await run('start', 'dead'),
    bad(
      `Error waiting for units: ${error}\nError waiting for systemd unit states, err: ${error}\n`,
      `Unit dead.service launched on ${LABEL}\n`,
    ),
  )
})

test('a file that differs is a warning, or replaces the unit where that is allowed', async (t) => {
  const { run, fleet, cwd } = await fixture(t, { 'a.service': OTHER, dir: { 'a.service': UNIT } })
  fleet.add('a.service')
  const warning = (file: string): string =>
    `WARNING: Unit a.service in registry differs from local unit file ${file}. Add --replace to override.\n`
  t.same(await run('submit', 'a.service'), ok('', warning('a.service')))
  t.same(await run('submit', 'dir/a.service'), ok(''))
  t.same(
    await run('submit', '--replace', 'dir/a.service'),
    ok('Found same Unit(a.service) in Registry, nothing to do\n'),
  )
  t.same(
    await run('start', 'a', '--replace'),
    ok(`Unit a.service inactive\nUnit a.service launched on ${LABEL}\n`),
  )
  writeFileSync(join(cwd, 'a.service'), UNIT)
  t.same(
    await run('submit', '--replace', 'a'),
    ok(
      '',
      "Warning: can not replace Unit(a.service) in state 'launched', use the appropriate command\n",
    ),
  )
  t.same(
    await run('start', '--replace', 'a'),
    ok(`Unit a.service inactive on ${LABEL}\nUnit a.service launched on ${LABEL}\n`),
  )
  t.match(await run('submit', '--replace', 'gone/a'), {
    code: 1,
    stderr: /no such file or directory/,
  })
})

test('instances come from their template', async (t) => {
  const { run, fleet } = await fixture(t, { 'w@.service': UNIT, 'x@.service': OTHER })
  fleet.add('r@.service', {
    options: [{ section: 'Unit', name: 'Description', value: 'registered' }],
  })
  t.same(
    await run('submit', 'w@1', 'r@1'),
    ok('Unit w@1.service inactive\nUnit r@1.service inactive\n'),
  )
  t.same(await run('cat', 'w@1.service'), ok(UNIT))
  t.same(await run('cat', 'r@1'), ok('[Unit]\nDescription=registered\n'))
  fleet.add('x@1.service')
  t.match(await run('submit', 'x@1'), {
    code: 0,
    stderr: /differs from local template unit file x@\.service\. Add/,
  })
  t.same(
    await run('start', 'n@1'),
    bad(
      'Error creating units: failed getting Unit(n@1.service) from template: unable to find template Unit(n@.service) in Registry or on filesystem\n',
    ),
  )
})

test('units that cannot be created say why', async (t) => {
  const { run } = await fixture(t, {
    'bad.service': '[Service\n',
    'x@.mount': UNIT,
    'odd.service': `${UNIT}[X-Fleet]\nFoo=1\n`,
    'no.service': `${UNIT}[X-Fleet]\nGlobal=1\nMachineOf=a\n`,
  })
  const failed = async (name: string, why: string): Promise<void> => {
    t.same(await run('submit', name), bad(`Error creating units: ${why}\n`))
  }
  await failed('none', 'unable to find Unit(none.service) in Registry or on filesystem')
  await failed(
    'bad.service',
    'failed getting Unit(bad.service) from file: unable to find end of section',
  )
  await failed('x@.mount', 'invalid unit type for template: "mount"')
  await failed('no.service', 'Global cannot be used with Peers')
  t.match(await run('submit', 'odd.service'), {
    code: 0,
    stdout: 'Unit odd.service inactive\n',
    stderr:
      /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d WARN .*: Unit odd\.service: unrecognized requirement in \[X-Fleet\] section: "Foo"\n$/,
  })
})

test('restart stops and starts', async (t) => {
  const { run, fleet } = await fixture(t)
  fleet.add('a.service', {
    desiredState: 'launched',
    currentState: 'launched',
    machineID: fleet.machineID,
    active: 'active',
  })
  fleet.add('i.service')
  const line = `Unit a.service launched on ${LABEL}\n`
  t.match(await run('restart', 'a', 'i'), {
    code: 0,
    stdout: line + line,
    stderr:
      /INFO .*: Unit\(a\.service\) was restarted\.\nUnable to restart unit i\.service in state inactive\n/,
  })
  t.equal(fleet.asked.filter((it) => it.startsWith('PUT')).length, 2)
})

test('lists have the columns that are asked for', async (t) => {
  const { run, fleet } = await fixture(t)
  t.same(
    await run('list-machines'),
    ok(`MACHINE\t\tIP\t\tMETADATA\n01234567...\t10.0.0.1\ta=1,b=2\n`),
  )
  t.same(
    await run('list-machines', '--l', '--no-legend', '--fields=machine'),
    ok(`${fleet.machineID}\n`),
  )
  t.same(await run('list-units'), ok('UNIT\tMACHINE\tACTIVE\tSUB\n'))
  t.same(await run('list-unit-files', '--no-legend'), ok(''))
  const on = {
    desiredState: 'launched',
    currentState: 'launched',
    machineID: fleet.machineID,
    active: 'active',
  }
  fleet.add('a.service', on)
  fleet.add('b.service', { options: [{ section: 'X-Fleet', name: 'Global', value: 'true' }] })
  t.same(
    await run('list-units', '--no-legend', '--fields=unit,machine,active,load,hash'),
    ok(`a.service\t${LABEL}\tactive\tloaded\tabcdef0\n`),
  )
  t.same(
    await run('list-unit-files', '--no-legend', '--fields=unit,global,dstate,target,state,desc'),
    ok(
      `a.service\tfalse\tlaunched\t${LABEL}\tlaunched\t-\nb.service\ttrue\tinactive\tglobal\t\t\t-\t\t-\n`,
    ),
    'over pages of one unit each',
  )
  t.same(await run('list-units', '--fields=desc'), bad('Invalid key in output format: "desc"\n'))
  t.match(await run('list-unit-files', '--fields=tmachine'), { stderr: /deprecated/ })
})

test('status and journal come from the machine of the unit', async (t) => {
  const { run, fleet } = await fixture(t)
  const on = { desiredState: 'launched', currentState: 'launched', machineID: fleet.machineID }
  fleet.add('a.service', on)
  fleet.add('i.service')
  t.same(await run('status', 'a'), { code: 3, stdout: 'status of a.service \n', stderr: '' })
  t.same(await run('journal', '--lines', '7', 'a'), ok('journal of a.service 7\n'))
  t.same(await run('status'), ok(''))
  t.same(await run('status', 'i'), bad('Unit i.service does not appear to be loaded.\n'))
  t.same(await run('status', 'n'), bad('Unit n.service does not exist.\n'))
  t.same(await run('journal', 'i'), bad('Unit i.service does not appear to be running.\n'))
  t.same(await run('journal'), bad('One unit file must be provided.\n'))
  fleet.offersStatus = false
  t.match(await run('status', 'a'), {
    code: 1,
    stderr: /does not offer status, and SSH is not supported/,
  })
})

test('on the machine of the unit systemctl and journalctl are asked', async (t) => {
  const { fleet, cwd } = await fixture(t, {
    bin: {
      systemctl: '#!/bin/sh\necho systemctl "$@"; exit 3\n',
      journalctl: '#!/bin/sh\necho journalctl "$@"\n',
    },
  })
  fleet.add('a.service', {
    desiredState: 'loaded',
    currentState: 'loaded',
    machineID: fleet.machineID,
  })
  const { chmodSync } = await import('node:fs')
  for (const program of ['systemctl', 'journalctl']) chmodSync(join(cwd, 'bin', program), 0o755)
  const env = {
    FLEETCTL_ENDPOINT: fleet.url,
    FLEET_MACHINE_ID: fleet.machineID,
    PATH: `${join(cwd, 'bin')}:${process.env['PATH']}`,
  }
  t.same(await fleetctl(['status', 'a'], { env }), {
    code: 3,
    stdout: 'systemctl status -l a.service\n',
    stderr: '',
  })
  t.same(
    await fleetctl(['journal', '-f', '--output=cat', 'a'], { env }),
    ok('journalctl --unit a.service --no-pager -n 10 --output cat -f\n'),
  )
  const embedded = { ...env, FLEET_UNIT_MANAGER: 'embedded' }
  t.match(await fleetctl(['status', 'a'], { env: embedded }), { stdout: 'status of a.service \n' })
})

test('a server that fails or is not there is named', async (t) => {
  const { run, fleet } = await fixture(t, { 'a.service': UNIT })
  fleet.failure = { status: 500, body: '{"error":{"code":500,"message":""}}' }
  t.same(
    await run('list-units'),
    bad(
      'Error retrieving list of units from repository: googleapi: got HTTP response code 500 with body: {"error":{"code":500,"message":""}}\n',
    ),
  )
  fleet.failure = { status: 409, body: '{"error":{"code":409,"message":"no"}}' }
  t.match(await run('submit', 'a'), {
    code: 1,
    stderr: /error retrieving Unit\(a\.service\) from Registry: googleapi: Error 409: no/,
  })
  t.match(await run('--endpoint=http://127.0.0.1:1', 'list-machines'), {
    code: 1,
    stderr:
      /^Error retrieving list of active machines from fleet API \(Get http:\/\/127\.0\.0\.1:1\/.*\)\nPossible issues:\n {2}etcd is unhealthy/,
  })
  const refused = async (args: string[], why: string): Promise<void> => {
    t.same(await run(...args), bad(`Unable to initialize client: ${why}\n`))
  }
  await refused(['--endpoint=127.0.0.1', 'list-units'], 'URL scheme undefined')
  await refused(
    ['--endpoint=unix://var/x', 'list-units'],
    'unable to connect to host "var" with scheme "unix"',
  )
  await refused(['--driver=bogus', 'list-units'], 'unrecognized driver "bogus"')
  await refused(['--tunnel=h', 'list-units'], '--tunnel is not supported by this release')
  await refused(
    ['--endpoint=https://h', '--ca-file=/none', 'list-units'],
    "open /none: ENOENT: no such file or directory, open '/none'",
  )
})

test('the store itself can be asked', async (t) => {
  const { run } = await fixture(t)
  const result = await run('--driver=etcd', '--endpoint=http://127.0.0.1:1', 'list-machines')
  t.equal(result.code, 1)
  t.match(
    result.stderr,
    /ERROR .*: error attempting to check latest fleet version in Registry: client: etcd cluster is unavailable.*\nError retrieving list of active machines from fleet API \(client: etcd cluster .*\n\)\nPossible issues:/,
  )
})

test('version, help, verify and what nobody knows', async (t) => {
  const { run } = await fixture(t)
  for (const word of ['version', '--version', '-v'])
    t.same(await run(word), ok('fleetctl version v1.0.0\n'))
  t.match(await run(), { code: 0, stdout: /list-unit-files/ })
  t.match(await run('--help'), { code: 0, stdout: /--endpoint/ })
  t.match(await run('start', '--help'), { code: 0, stdout: /--block-attempts/ })
  t.match(await run('verify', 'x'), { code: 2, stderr: /Command "verify" is deprecated/ })
  t.match(await run('nope'), { code: 1, stderr: /unknown command "nope" for "fleetctl"/ })
  t.match(await run('list-units', '--nope'), { code: 1, stderr: /unknown flag: --nope/ })
})

test('ssh finds its machine and says that it cannot go there', async (t) => {
  const { run, fleet } = await fixture(t)
  fleet.add('a.service', { machineID: fleet.machineID })
  t.same(await run('ssh'), bad('Unable to proceed: one machine or unit must be provided\n'))
  t.same(
    await run('ssh', 'zzz'),
    bad('Unable to proceed: could not find matching unit or machine\n'),
  )
  t.same(
    await run('ssh', '--machine=a', '--unit=b'),
    bad('Both machine and unit flags provided, please specify only one.\n'),
  )
  for (const target of ['0123', 'a.service', '--machine=0123', '--unit=a']) {
    t.match(await run('ssh', target, 'true'), {
      code: 1,
      stderr: /SSH_AUTH_SOCK environment variable is not set/,
    })
  }
})

test('fd-forward copies both ways', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'fleetctl-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const path = join(dir, 's')
  const server = createServer((socket) => {
    socket.once('data', (data) => socket.end(`got ${String(data)}`))
    // A client that is told nothing more may hang up without ceremony.
    socket.once('error', () => socket.destroy())
  })
  server.listen(path)
  await once(server, 'listening')
  t.teardown(() => server.close())
  t.same(await fleetctl(['fd-forward']), bad('Provide a single argument\n'))
  t.match(await fleetctl(['fd-forward', join(dir, 'none')]), {
    code: 1,
    stderr: /^Failed dialing remote address: /,
  })
  t.same(await fleetctl(['fd-forward', path], { stdin: 'x', keepsStdin: true }), ok('got x'))
  t.match(await fleetctl(['fd-forward', path]), { code: 0 }, 'the end of stdin is the end')
})
