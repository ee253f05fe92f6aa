/** Which processes are a unit's, and which one is the manager. */
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { lockDirectory } from '../src/embedded/lock.ts'
import { ProcessTable } from '../src/embedded/process-table.ts'
import { commandLine, hasSession, readProcess, signalProcess } from '../src/embedded/processes.ts'

const skip = process.platform === 'linux' ? false : 'needs Linux'

t.test('processes', { skip }, (tt) => {
  const own = readProcess(process.pid)
  tt.ok(own !== undefined && own.startTicks > 0)
  tt.ok(own !== undefined && commandLine(own).length > 1)
  tt.same(commandLine({ pid: 0, comm: 'kthreadd', session: 0, startTicks: 0 }), ['[kthreadd]'])
  tt.equal(readProcess(2 ** 22 + 1), undefined)
  tt.equal(signalProcess(2 ** 22 + 1, 0), false)
  tt.equal(hasSession(2 ** 22 + 1), false)
  tt.equal(hasSession(own?.session ?? 0), true)
  tt.throws(() => signalProcess(process.pid, 1000))
  tt.end()
})

t.test('a session whose number went to another process is not the unit’s', { skip }, async (tt) => {
  const stranger = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' })
  tt.teardown(() => stranger.kill())
  await once(stranger, 'spawn')
  const pid = stranger.pid ?? 0
  const ticks = readProcess(pid)?.startTicks ?? 0
  const table = (startTicks: readonly (readonly [number, number])[]): ProcessTable =>
    new ProcessTable({ invocationID: 'x', sinceTicks: 0, sessions: [pid], startTicks })
  const members = (startTicks: readonly (readonly [number, number])[]): number[] =>
    table(startTicks)
      .members()
      .map((info) => info.pid)
  tt.same(members([[pid, ticks]]), [pid], 'its own')
  tt.same(members([[pid, ticks - 1]]), [], 'begun at another time')
  tt.same(members([]), [], 'its own has ended')
})

t.test('the lock of a process that is gone counts for nothing', { skip }, (tt) => {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  const own = readProcess(process.pid)?.startTicks ?? 0
  const parent = readProcess(process.ppid)?.startTicks ?? 0
  const gone = [
    `manager.4194305.1.${boot}.lock`,
    `manager.${process.ppid}.${parent + 1}.${boot}.lock`,
    `manager.${process.ppid}.${parent}.0f00.lock`,
  ]
  const directory = tt.testdir(Object.fromEntries(gone.map((name) => [name, ''])))
  const unlock = lockDirectory(directory)
  tt.same(readdirSync(directory), [`manager.${process.pid}.${own}.${boot}.lock`])
  tt.throws(() => lockDirectory(directory), { code: 'LOCKED' })
  unlock()
  tt.same(readdirSync(directory), [])
  writeFileSync(join(directory, `manager.${process.ppid}.${parent}.${boot}.lock`), '')
  tt.throws(() => lockDirectory(directory), {
    code: 'LOCKED',
    message: `${directory} is in use by the manager with PID ${process.ppid}.`,
  })
  tt.equal(readdirSync(directory).length, 1, 'who is refused leaves nothing')
  tt.throws(() => lockDirectory(join(directory, 'x\0')))
  tt.end()
})

t.test(
  'of two managers that lock a directory at once at most one gets it',
  { skip },
  async (tt) => {
    const program = join(import.meta.dirname, 'helpers/lock-process.js')
    const children = [0, 1].map(() => fork(program))
    for (const child of children) tt.teardown(() => child.kill())
    await Promise.all(children.map((child) => once(child, 'message')))
    for (let round = 0; round < 200; round += 1) {
      const directory = join(tt.testdirName, String(round))
      mkdirSync(directory, { recursive: true })
      writeFileSync(join(directory, 'manager.4194305.1.0f00.lock'), '')
      const answers = children.map(async (child) => String(await once(child, 'message')))
      const startMs = Date.now() + 2
      for (const child of children) child.send({ directory, startMs })
      const held = (await Promise.all(answers)).filter((answer) => answer === 'locked')
      if (held.length > 1) tt.fail(`two managers in round ${round}`)
    }
  },
)
