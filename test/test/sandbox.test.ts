import { spawn } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Test, test } from 'tap'
import { hierarchies, runningMachines } from '../src/harness/cgroup.ts'
import { DeadlineError, waitFor } from '../src/harness/deadline.ts'
import { isRequired, preflight, skipLine } from '../src/harness/preflight.ts'
import {
  childrenOf,
  descendantsOf,
  isAlive,
  must,
  pids,
  readOrEmpty,
  run,
} from '../src/harness/process.ts'

const FIXTURE = fileURLToPath(new URL('./fixtures/one-machine.js', import.meta.url))
const reasons = await preflight()
const skip = reasons.length > 0 && !isRequired() ? skipLine(reasons) : false

test('a wait that is not fulfilled says what was last seen', async (t) => {
  let looks = 0
  const look = () => ({ seen: `look ${(looks += 1)}` })
  const wait = waitFor('the sun to rise', look, { timeoutMs: 20, intervalMs: 5 })
  const error: unknown = await wait.catch((reason: unknown) => reason)
  if (!(error instanceof DeadlineError)) throw new Error('it should have failed')
  t.equal(error.seen, `look ${looks}`)
  t.match(error.message, `the sun to rise: not within 20 ms; last seen: look ${looks}`)
})

test('a look that throws is seen, and the wait goes on', async (t) => {
  let looks = 0
  const look = () => {
    looks += 1
    if (looks === 1) throw new Error('too early')
    return { done: looks }
  }
  t.equal(await waitFor('a second look', look, { intervalMs: 1 }), 2)
})

test('a command that takes too long is killed with all that it started', async (t) => {
  const mark = `${process.pid}.5`
  await t.rejects(run(['sh', '-c', `sleep ${mark} & sleep ${mark}`], { timeoutMs: 200 }), {
    message: /not done after 200 ms/,
  })
  const look = () => {
    const left = pids().filter((pid) => readOrEmpty(`/proc/${pid}/cmdline`).includes(mark))
    return left.length === 0 ? { done: true } : { seen: left.join(' ') }
  }
  t.ok(await waitFor('the sleepers to be gone', look))
})

test('a process that could not be started has nothing below it that might be killed', (t) => {
  t.same(childrenOf(0), [])
  t.same(descendantsOf([0]), [])
  t.ok(descendantsOf([process.ppid, 0]).includes(process.pid), 'its neighbours keep theirs')
  t.end()
})

test('a failing command is an error that holds what it printed', async (t) => {
  await t.rejects(must(['sh', '-c', 'echo out; echo err >&2; exit 3']), {
    message: 'sh -c echo out; echo err >&2; exit 3: exit status 3\nout\nerr',
    code: 3,
  })
})

test('a look whether machines can be booted leaves no file behind', async (t) => {
  const directory = t.testdir()
  const before = process.env['TMPDIR']
  process.env['TMPDIR'] = directory
  t.teardown(() => {
    if (before === undefined) delete process.env['TMPDIR']
    else process.env['TMPDIR'] = before
  })
  t.same(await preflight(), reasons, 'and sees the same again')
  t.same(readdirSync(directory), [])
})

test('machines need what is missing, by name', (t) => {
  t.equal(
    skipLine(['root', 'nft']),
    'integration needs root, systemd-nspawn, nft and overlayfs (missing: root, nft)',
  )
  t.end()
})

/** Starts the fixture and waits until its machine is up. */
async function bootFixture(t: Test) {
  const child = spawn(process.execPath, [FIXTURE], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const [line] = await Promise.race([
    once(createInterface({ input: child.stdout }), 'line'),
    exited.then(() => ['(it ended)']),
  ])
  const runName = /^booted (\S+)$/.exec(String(line))?.[1]
  if (runName === undefined) throw new Error(`the fixture did not boot: ${String(line)}`)
  return { child, exited, runName, processes: descendantsOf([child.pid ?? 0]) }
}

/** Everything of a run that could be left on the host. */
function leftovers(runName: string, processes: readonly number[]): string[] {
  return [
    ...processes.filter(isAlive).map((pid) => `process ${pid}`),
    ...hierarchies()
      .map((top) => join(top, runName))
      .filter(existsSync),
    ...[join(tmpdir(), runName)].filter(existsSync),
    ...readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(runName)),
  ]
}

async function nothingLeft(runName: string, processes: readonly number[]): Promise<true> {
  const look = () => {
    const left = leftovers(runName, processes)
    return left.length === 0 ? { done: true as const } : { seen: left.join('\n') }
  }
  return waitFor(`nothing to be left of ${runName}`, look, { timeoutMs: 15_000 })
}

test('a sandbox killed with SIGKILL leaves nothing behind', { skip }, async (t) => {
  const { child, exited, runName, processes } = await bootFixture(t)
  t.ok(processes.length > 5, `${processes.length} processes were running`)
  t.match(runningMachines(runName), [{ runName, machine: 'm1' }])
  t.ok(leftovers(runName, processes).length >= hierarchies().length + processes.length)
  child.kill('SIGKILL')
  await exited
  t.ok(await nothingLeft(runName, processes))
})

test('a signal reaches the inside, whose exit status comes back', { skip }, async (t) => {
  const { child, exited, runName, processes } = await bootFixture(t)
  child.kill('SIGTERM')
  const [code] = await exited
  t.equal(code, 7)
  t.same(leftovers(runName, processes), [], 'and nothing is left when the outer process has ended')
})

test('the inside killed with SIGKILL takes the machines along', { skip }, async (t) => {
  const { exited, runName, processes } = await bootFixture(t)
  const inner = processes.find((pid) => readOrEmpty(`/proc/${pid}/comm`).trim() === 'node')
  if (inner === undefined) throw new Error('no node inside')
  process.kill(inner, 'SIGKILL')
  const [code] = await exited
  t.not(code, 0)
  t.same(leftovers(runName, processes), [])
})
