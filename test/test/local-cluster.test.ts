// `npm start` as its user meets it: one kvd and three fleetd, no root, no systemd.
import { EventEmitter } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import tap, { test } from 'tap'
import { member, textOf } from '../src/harness/json.ts'
import { ROOT } from '../src/harness/paths.ts'
import { readOrEmpty, run } from '../src/harness/process.ts'
import { interruption } from '../src/launch/console.ts'
import { LocalCluster } from '../src/launch/local-cluster.ts'
import { Launcher, untilGone } from './helpers/launcher.ts'

tap.setTimeout(300_000)
const UP = /^hello\.service is running on (m\d) after ([\d.]+) s$/m
const READY = /^Ctrl-C stops everything/m
const TTL = { FLOTILLA_AGENT_TTL: '5s' }

/** The directory that the launcher said it uses. */
function directoryOf(launcher: Launcher): string {
  const [, directory] = /^starting .* in (\/\S+)$/m.exec(launcher.stdout) ?? []
  if (directory === undefined) throw new Error('the launcher named no directory')
  return directory
}

/** The fleetd of a machine, from the list that the launcher prints. */
function fleetdOf(launcher: Launcher, machine: string): number {
  const line = new RegExp(`^${machine} .* process (\\d+)$`, 'm').exec(launcher.stdout)
  return Number(line?.[1])
}

test('hello.service runs, and what is printed can be pasted', async (t) => {
  const launcher = new Launcher(t, [], TTL)
  const [, machine = '', seconds] = await launcher.prints(UP)
  t.comment(`running on ${machine} after ${seconds} s`)
  t.ok(Number(seconds) < 15, 'within 5 s on an idle computer; three times that on a busy one')
  await launcher.prints(READY)

  const commands = [...launcher.stdout.matchAll(/^ {2}((?:node|curl) .*)$/gm)].map(
    ([, it = '']) => it,
  )
  t.equal(commands.length, 7)
  for (const command of commands) {
    const { code, stdout, stderr } = await run(['sh', '-c', command])
    t.equal(code, 0, command)
    t.not(stdout, '', `${command}: prints something (${stderr.trim()})`)
  }
  const status = await run(['sh', '-c', commands.find((it) => it.includes('status')) ?? ''])
  t.match(status.stdout, /hello\.service - Says Hello World once a second/)
  t.match(status.stdout, /Active: active \(running\)/)
  t.match(status.stdout, /Hello World/)

  await t.test('a machine that dies loses its units to another', async (tt) => {
    const fleetd = fleetdOf(launcher, machine)
    const before = launcher.processes
    process.kill(fleetd, 'SIGKILL')
    const moved = /^hello\.service is running on (m\d), ([\d.]+) s after the end of (m\d)$/m
    const [, other, after, dead] = await launcher.prints(moved)
    tt.equal(dead, machine)
    tt.not(other, machine)
    tt.comment(`moved to ${other} after ${after} s (agent_ttl 5s)`)
    tt.match(launcher.stdout, `fleetd of ${machine} ended (signal SIGKILL)`)
    const gone = before.filter((pid) => !launcher.processes.includes(pid))
    tt.ok(await untilGone(gone), 'the old copy has ended with its machine')
    tt.ok(gone.length >= 2, 'which were fleetd and the unit')
  })

  await t.test('Ctrl-C ends it, and nothing is left', async (tt) => {
    const processes = launcher.processes
    tt.ok(processes.length >= 4, `${processes.length} processes`)
    const directory = directoryOf(launcher)
    tt.ok(existsSync(directory))
    launcher.signal('SIGINT')
    tt.equal(await launcher.exit(), 0)
    tt.ok(await untilGone(processes, 1000), 'all had ended before the launcher did')
    tt.notOk(existsSync(directory))
    tt.equal(launcher.stderr, '')
  })
})

test('a store that dies is the end: a clear error, exit status 1, nothing left', async (t) => {
  const launcher = new Launcher(t, [], TTL)
  await launcher.prints(READY)
  const processes = launcher.processes
  const isKvd = (pid: number) => readOrEmpty(`/proc/${pid}/cmdline`).includes('bin/kvd.js')
  const kvd = processes.find(isKvd)
  if (kvd === undefined) throw new Error('there is no kvd')
  process.kill(kvd, 'SIGKILL')
  t.equal(await launcher.exit(), 1)
  t.match(launcher.stderr, /^flotilla: kvd ended \(signal SIGKILL\); it said:\n/)
  t.ok(await untilGone(processes, 1000))
  t.notOk(existsSync(directoryOf(launcher)))
})

test('a start that fails half-way says why and leaves nothing', async (t) => {
  const launcher = new Launcher(t, [], { FLOTILLA_AGENT_TTL: 'nonsense' })
  t.equal(await launcher.exit(), 1)
  t.match(
    launcher.stderr,
    /^flotilla: fleetd of m\d ended \(exit status 1\); it said:\n.*agent_ttl/s,
  )
  t.notOk(existsSync(directoryOf(launcher)))
})

test('a launcher killed with SIGKILL takes everything along', async (t) => {
  const launcher = new Launcher(t, [], TTL)
  await launcher.prints(READY)
  const processes = launcher.processes
  const directory = directoryOf(launcher)
  launcher.signal('SIGKILL')
  t.ok(await untilGone(processes))
  t.notOk(existsSync(directory))
})

test('a cluster that is closed while it starts begins nothing any more', async (t) => {
  const cluster = new LocalCluster()
  const started = cluster.start({ usualPorts: false, agentTTL: '5s' })
  await Promise.all([started, cluster.close()])
  t.same(cluster.children, [])
  t.notOk(existsSync(cluster.directory))
})

test('a signal during the start ends it as well', async (t) => {
  const launcher = new Launcher(t, [], TTL)
  await launcher.prints(/^starting/m)
  const processes = launcher.processes
  launcher.signal('SIGTERM')
  t.equal(await launcher.exit(), 0)
  t.ok(await untilGone(processes, 1000))
  t.notOk(existsSync(directoryOf(launcher)))
})

test('a signal to the shell that npm starts is for the cluster', async (t) => {
  const manifest: unknown = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  const script = textOf(member(member(manifest, 'scripts'), 'start'))
  const [setup, start] = script.split(' && ')
  t.match(setup, /^node scripts\/setup\.mjs/, 'which has been done, and is left out here')
  const launcher = new Launcher(t, [], TTL, ['sh', '-c', `: && ${start}`])
  await launcher.prints(READY)
  const processes = launcher.processes
  t.ok(processes.length >= 4, `${processes.length} processes`)
  launcher.signal('SIGTERM')
  t.equal(await launcher.exit(), 0)
  t.ok(await untilGone(processes, 1000))
  t.notOk(existsSync(directoryOf(launcher)))
})

test('the same signal twice at once is one; a later one is haste', async (t) => {
  const signals = new EventEmitter()
  let nowMs = 1000
  let hurries = 0
  const interrupted = interruption(() => (hurries += 1), { signals, nowMs: () => nowMs })
  signals.emit('SIGINT')
  signals.emit('SIGINT')
  nowMs += 500
  signals.emit('SIGINT')
  t.equal(await interrupted, 'interrupted')
  t.equal(hurries, 0)
  nowMs += 1
  signals.emit('SIGTERM')
  t.equal(hurries, 1)
})

test('the command line is explained and checked', async (t) => {
  const help = new Launcher(t, ['--help'])
  t.equal(await help.exit(), 0)
  t.match(help.stdout, /^usage: npm start -- \[--machines N\]\n/)
  for (const args of [['--machines', '0'], ['--machines', 'x'], ['--machines'], ['--x'], ['x']]) {
    const wrong = new Launcher(t, args)
    t.equal(await wrong.exit(), 2, args.join(' '))
    t.match(wrong.stderr, /^flotilla: .*\nusage: /s)
    t.equal(wrong.stdout, '')
  }
})
