// `npm start -- --machines 3` as its user meets it: three booted machines with real systemd.
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import tap, { test } from 'tap'
import { hierarchies, runningMachines } from '../src/harness/cgroup.ts'
import { isRequired, preflight, skipLine } from '../src/harness/preflight.ts'
import { Launcher, untilGone } from './helpers/launcher.ts'

tap.setTimeout(300_000)
const reasons = await preflight()
const skip = reasons.length > 0 && !isRequired() ? skipLine(reasons) : false
const READY = /^Ctrl-C stops everything/m

test('hello.service runs under real systemd, and machines can be entered', { skip }, async (t) => {
  const launcher = new Launcher(t, ['--machines', '3'])
  await launcher.prints(READY, 120_000)
  const { stdout } = launcher
  t.match(stdout, /^3 machines have booted after [\d.]+ s$/m)
  const [, where = '', seconds] =
    /^hello\.service is running on (m\d) after (.*)$/m.exec(stdout) ?? []
  t.comment(`running on ${where} after ${seconds}`)
  t.match(stdout, /● hello\.service - Says Hello World once a second\n +Loaded: loaded \(/)
  t.match(stdout, new RegExp(`: Hello World\n`))

  const inside = new Launcher(t, ['exec', 'm2', 'fleetctl', 'list-machines', '--no-legend'])
  t.equal(await inside.exit(), 0)
  t.equal(inside.stdout.trim().split('\n').length, 3)
  const failing = new Launcher(t, ['exec', where, 'sh', '-c', 'exit 9'])
  t.equal(await failing.exit(), 9, 'the exit status comes through')
  const shell = new Launcher(t, ['exec', where, 'systemctl', 'is-active', 'hello.service'])
  t.equal(await shell.exit(), 0)
  t.equal(shell.stdout, 'active\n')
  const absent = new Launcher(t, ['exec', 'm9', 'true'])
  t.equal(await absent.exit(), 1)
  t.equal(absent.stderr, 'flotilla: there is no machine "m9", only m1, m2, m3\n')

  const [{ runName } = { runName: '' }] = runningMachines('flotilla-start-')
  const { processes } = launcher
  t.ok(processes.length > 20, `${processes.length} processes`)
  launcher.signal('SIGINT')
  t.equal(await launcher.exit(), 0)
  t.equal(launcher.stderr, '')
  t.ok(await untilGone(processes, 1000))
  const groups = hierarchies().map((top) => join(top, runName))
  t.same([...groups, join(tmpdir(), runName)].filter(existsSync), [], 'nothing is left')
})

test('without a cluster there is nothing to enter', { skip }, async (t) => {
  const launcher = new Launcher(t, ['exec', 'm1', 'true'])
  t.equal(await launcher.exit(), 1)
  t.match(launcher.stderr, 'flotilla: no cluster is up: start one with npm start -- --machines 3')
})
