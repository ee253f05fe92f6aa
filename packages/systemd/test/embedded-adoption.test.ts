/** What happens to units when their manager is killed, or closed, and another one takes over. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync, writeFileSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import { createEmbeddedManager } from '../src/embedded/manager.ts'
import type { UnitManager } from '../src/manager.ts'
import {
  type Directories,
  directories,
  isAlive,
  killNow,
  mainPid,
  type Teardown,
  untilGone,
} from './helpers/embedded.ts'
import { lines, until, untilLine, untilSub } from './helpers/units.ts'

t.setTimeout(120_000)
const skip = process.platform === 'linux' ? false : 'needs Linux'
const PROGRAM = resolve(import.meta.dirname, 'helpers/manager-process.js')

/** Units in a directory, and a manager in a process of its own that has started them. */
async function started(
  tt: Teardown,
  units: Readonly<Record<string, string>>,
  wanted: readonly string[],
): Promise<Directories & { readonly child: ChildProcess }> {
  const where = await directories(tt)
  await mkdir(where.unitsDirectory)
  for (const [name, text] of Object.entries(units))
    writeFileSync(join(where.unitsDirectory, name), text)
  const args = [PROGRAM, where.unitsDirectory, where.stateDirectory, ...Object.keys(units)]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  tt.teardown(() => child.kill('SIGKILL'))
  const missing = new Set(wanted)
  for await (const line of createInterface({ input: child.stdout })) {
    missing.delete(line)
    if (missing.size === 0) break
  }
  return { ...where, child }
}

async function kill(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit')
  child.kill('SIGKILL')
  await exit
}

async function takeOver(tt: Teardown, where: Directories): Promise<UnitManager> {
  const { unitsDirectory, stateDirectory } = where
  const manager = await createEmbeddedManager({
    unitsDirectory,
    stateDirectory,
    machineID: 'm',
    killOnClose: true,
    closeTimeoutMs: 2000,
  })
  tt.teardown(() => manager.close())
  return manager
}

interface Stored {
  readonly state: { readonly processes: readonly { readonly role: string; readonly pid: number }[] }
}

/** The main PID that the dead manager has noted. */
async function notedPid({ stateDirectory }: Directories, name: string): Promise<number> {
  const record: Stored = JSON.parse(
    await readFile(join(stateDirectory, 'units', `${name}.json`), 'utf8'),
  )
  return record.state.processes.findLast(({ role }) => role === 'main')?.pid ?? 0
}

const TICKING = `[Unit]
Description=Ticks
[Service]
Restart=always
RestartSec=10ms
ExecStart=/bin/sh -c "i=0; while true; do i=$$((i+1)); echo tick $$i; sleep 0.02; done"
`

t.test(
  'a killed manager leaves its services running; the next one goes on with them',
  { skip },
  async (tt) => {
    const where = await started(tt, { 'tick.service': TICKING }, ['tick.service running'])
    await kill(where.child)
    const pid = await notedPid(where, 'tick.service')
    tt.ok(isAlive(pid))
    const manager = await takeOver(tt, where)
    tt.equal((await manager.states(['tick.service'])).get('tick.service')?.subState, 'running')
    tt.equal(await mainPid(manager, 'tick.service'), pid)
    const status = await manager.status('tick.service')
    tt.match(
      status.text,
      new RegExp(
        `● tick\\.service - Ticks\\n.*\\n.*active \\(running\\) since .*\\n +Main PID: ${pid} \\(sh\\)`,
      ),
    )
    const before = (await lines(manager, 'tick.service')).filter((line) =>
      line.startsWith('tick'),
    ).length
    await untilLine(manager, 'tick.service', `tick ${before + 5}`)
    const ticks = (await lines(manager, 'tick.service')).filter((line) => line.startsWith('tick'))
    tt.same(
      ticks,
      ticks.map((_, index) => `tick ${index + 1}`),
      'no line was lost, none came twice',
    )
    await manager.start('tick.service')
    tt.equal(await mainPid(manager, 'tick.service'), pid, 'starting it again touches nothing')
    killNow(pid)
    await until(manager, 'tick.service', async () => {
      return (await mainPid(manager, 'tick.service')) !== pid
    })
    const log = await lines(manager, 'tick.service')
    tt.ok(
      log.includes(
        `tick.service: Main process ${pid} is gone; only its parent, an earlier manager, could have read its exit status.`,
      ),
    )
    tt.ok(
      log.includes('tick.service: Scheduled restart job, restart counter is at 1.'),
      'Restart= applies to it',
    )
    await manager.stop('tick.service')
    await untilSub(manager, 'tick.service', 'dead')
  },
)

t.test('what a command left in the background is still read', { skip }, async (tt) => {
  const loop = `/bin/sh -c "(i=0; while true; do i=$$((i+1)); echo tick $$i; sleep 0.02; done) &"`
  const table: readonly (readonly [string, string, string])[] = [
    ['main.service', `Type=oneshot\nRemainAfterExit=yes\nExecStart=${loop}`, 'exited'],
    ['control.service', `ExecStart=/bin/sleep 1000\nExecStartPost=${loop}`, 'running'],
    ['left.service', `Type=oneshot\nKillMode=process\nExecStart=${loop}`, 'dead'],
  ]
  const where = await directories(tt)
  const first = await createEmbeddedManager({ ...where, machineID: 'm' })
  for (const [name, text, sub] of table) {
    await first.load(name, `[Service]\n${text}\n`)
    await first.start(name)
    await untilLine(first, name, 'tick 1')
    await untilSub(first, name, sub)
  }
  await first.close()
  const manager = await takeOver(tt, where)
  for (const [name, , sub] of table) {
    tt.equal((await manager.states([name])).get(name)?.subState, sub)
    const ticks = (await lines(manager, name)).filter((line) => line.startsWith('tick')).length
    await untilLine(manager, name, `tick ${ticks + 5}`)
  }
})

t.test('an adopted service can be stopped', { skip }, async (tt) => {
  const where = await started(tt, { 'tick.service': TICKING }, ['tick.service running'])
  await kill(where.child)
  const pid = await notedPid(where, 'tick.service')
  const manager = await takeOver(tt, where)
  await manager.stop('tick.service')
  await untilSub(manager, 'tick.service', 'dead')
  tt.notOk(isAlive(pid))
})

t.test('what ended while nobody looked is made up for', { skip }, async (tt) => {
  const sleeper = '[Service]\nExecStart=/bin/sleep 1000\n'
  const units = {
    'once.service': sleeper,
    'always.service': `${sleeper}Restart=always\nRestartSec=0\n`,
  }
  const where = await started(tt, units, ['once.service running', 'always.service running'])
  await kill(where.child)
  const pids = [await notedPid(where, 'once.service'), await notedPid(where, 'always.service')]
  for (const pid of pids) {
    killNow(pid)
    await untilGone(pid)
  }
  const manager = await takeOver(tt, where)
  await untilSub(manager, 'once.service', 'dead')
  await untilSub(manager, 'always.service', 'running')
  tt.not(await mainPid(manager, 'always.service'), pids[1])
})

t.test(
  'a start that was cut short is begun anew, and what it had started is ended',
  { skip },
  async (tt) => {
    const text =
      '[Service]\nExecStartPre=/bin/sh -c "echo pre; test -e %C || exec sleep 1000"\nExecStart=/bin/sleep 1001\n'
    const where = await started(tt, { 'pre.service': text.replace('%C', '/nonexistent') }, [
      'pre.service start-pre',
    ])
    await kill(where.child)
    const record: Stored = JSON.parse(
      await readFile(join(where.stateDirectory, 'units', 'pre.service.json'), 'utf8'),
    )
    const pid = record.state.processes[0]?.pid ?? 0
    tt.ok(isAlive(pid))
    writeFileSync(join(where.unitsDirectory, 'pre.service'), text.replace('%C', '/'))
    const manager = await takeOver(tt, where)
    await untilSub(manager, 'pre.service', 'running')
    tt.notOk(isAlive(pid))
  },
)

t.test('a stop that was cut short is gone on with', { skip }, async (tt) => {
  const text = `[Service]\nTimeoutStopSec=100ms\nExecStart=/bin/sh -c "trap '' TERM; echo ready; while true; do sleep 0.02; done"\n`
  const where = await directories(tt)
  const first = await createEmbeddedManager({
    ...where,
    machineID: 'm',
    clock: { now: Date.now, after: () => () => undefined },
  })
  await first.load('slow.service', text)
  await first.start('slow.service')
  await untilLine(first, 'slow.service', 'ready')
  await first.stop('slow.service')
  const pid = await mainPid(first, 'slow.service')
  await first.close()
  tt.ok(isAlive(pid))
  const manager = await takeOver(tt, where)
  await untilSub(manager, 'slow.service', 'failed')
  tt.notOk(isAlive(pid))
  tt.ok(
    (await lines(manager, 'slow.service')).includes(
      "slow.service: State 'stop-sigterm' timed out. Killing.",
    ),
  )
})

t.test(
  'a closed manager leaves units as they are: active, exited, failed',
  { skip },
  async (tt) => {
    const where = await directories(tt)
    const first = await createEmbeddedManager({ ...where, machineID: 'm' })
    await first.load('run.service', '[Service]\nExecStart=/bin/sleep 1000\n')
    await first.load(
      'done.service',
      '[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n',
    )
    await first.load('bad.service', '[Service]\nExecStart=/bin/sh -c "exit 3"\n')
    await first.load(
      'again.service',
      '[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=200ms\n',
    )
    for (const name of await first.list()) await first.start(name)
    await untilSub(first, 'done.service', 'exited')
    await untilSub(first, 'bad.service', 'failed')
    await untilSub(first, 'again.service', 'auto-restart')
    await first.close()
    const manager = await takeOver(tt, where)
    const states = await manager.states(await manager.list())
    const subs = [...states].map(([name, { subState }]) => `${name} ${subState}`)
    tt.same(subs, [
      'again.service auto-restart',
      'bad.service failed',
      'done.service exited',
      'run.service running',
    ])
    tt.match(
      (await manager.status('bad.service')).text,
      /Active: failed \(Result: exit-code\) since/,
    )
    await untilLine(
      manager,
      'again.service',
      'again.service: Scheduled restart job, restart counter is at 1.',
    )
  },
)

t.test('processes of a unit whose file is gone are ended', { skip }, async (tt) => {
  const where = await started(tt, { 'tick.service': TICKING }, ['tick.service running'])
  await kill(where.child)
  const pid = await notedPid(where, 'tick.service')
  rmSync(join(where.unitsDirectory, 'tick.service'))
  const manager = await takeOver(tt, where)
  tt.notOk(isAlive(pid))
  tt.same(await manager.list(), [])
})

t.test(
  'a number that another process has now is not taken for the service',
  { skip },
  async (tt) => {
    const where = await started(tt, { 'tick.service': TICKING.replace('always', 'no') }, [
      'tick.service running',
    ])
    await kill(where.child)
    const pid = await notedPid(where, 'tick.service')
    killNow(pid)
    await untilGone(pid)
    const path = join(where.stateDirectory, 'units', 'tick.service.json')
    const record = (await readFile(path, 'utf8')).replaceAll(String(pid), String(process.pid))
    writeFileSync(path, record)
    const manager = await takeOver(tt, where)
    await untilSub(manager, 'tick.service', 'dead')
    tt.ok(isAlive(process.pid), 'and of course not killed')
  },
)

t.test('entries that are no units do not keep a manager from the others', { skip }, async (tt) => {
  const where = await directories(tt)
  await mkdir(join(where.unitsDirectory, 'directory.service'), { recursive: true })
  writeFileSync(join(where.unitsDirectory, 'copy of a.service'), '')
  writeFileSync(join(where.unitsDirectory, 'a.service'), '[Service]\nExecStart=/bin/sleep 1000\n')
  const manager = await takeOver(tt, where)
  tt.same(await manager.list(), ['a.service'])
})

t.test('records of another boot, and those that cannot be read, are void', { skip }, async (tt) => {
  const where = await directories(tt)
  await mkdir(where.unitsDirectory)
  writeFileSync(join(where.unitsDirectory, 'a.service'), '[Service]\nExecStart=/bin/sleep 1000\n')
  await mkdir(join(where.stateDirectory, 'units'), { recursive: true })
  writeFileSync(join(where.stateDirectory, 'units', 'a.service.json'), '{"version":1,"bootID":"x"}')
  writeFileSync(join(where.stateDirectory, 'units', 'b.service.json'), '{"vers')
  const manager = await takeOver(tt, where)
  tt.equal((await manager.states(['a.service'])).get('a.service')?.subState, 'dead')
})
