import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { ROOT } from '../../src/harness/paths.ts'
import { waitFor } from '../../src/harness/deadline.ts'
import { descendantsOf, isAlive, readOrEmpty } from '../../src/harness/process.ts'

const START = fileURLToPath(new URL('../../src/start.js', import.meta.url))

/** A running `npm start`, as its user sees it. */
export class Launcher {
  readonly #child: ChildProcess
  readonly #exit: Promise<number>
  #stdout = ''
  #stderr = ''

  /** Starts it on ports of its own, `how` by `node start.js`. It is killed when the test ends and it still runs. */
  constructor(
    t: Test,
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
    how: readonly [command: string, ...args: string[]] = [process.execPath, START],
  ) {
    const [command, ...first] = how
    this.#child = spawn(command, [...first, ...args], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FLOTILLA_PORTS: 'any', ...env },
    })
    this.#child.stdout?.on('data', (chunk) => (this.#stdout += String(chunk)))
    this.#child.stderr?.on('data', (chunk) => (this.#stderr += String(chunk)))
    this.#exit = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => resolve(code ?? (signal === null ? 0 : 255)))
    })
    t.teardown(() => this.#child.kill('SIGKILL'))
  }

  get stdout(): string {
    return this.#stdout
  }

  get stderr(): string {
    return this.#stderr
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** All processes below it, at this moment. */
  get processes(): readonly number[] {
    return descendantsOf([this.pid])
  }

  /** Waits until what it printed matches, and gives the match. */
  async prints(pattern: RegExp, timeoutMs = 60_000): Promise<RegExpExecArray> {
    const look = () => {
      const match = pattern.exec(this.#stdout)
      if (match !== null) return { done: match }
      return { seen: `${this.#stdout}${this.#stderr}` }
    }
    return waitFor(`the launcher to print ${pattern}`, look, { timeoutMs })
  }

  signal(name: NodeJS.Signals): void {
    this.#child.kill(name)
  }

  /** Its exit status; waits for the end. */
  exit(): Promise<number> {
    return this.#exit
  }
}

/** Waits until none of the processes is left; lists those that stay. */
export function untilGone(processes: readonly number[], timeoutMs = 15_000): Promise<boolean> {
  const look = () => {
    const left = processes.filter(isAlive)
    const words = left.map((pid) => `${pid} ${readOrEmpty(`/proc/${pid}/cmdline`)}`)
    return left.length === 0 ? { done: true } : { seen: words.join('\n').replaceAll('\0', ' ') }
  }
  return waitFor('all processes to end', look, { timeoutMs })
}
