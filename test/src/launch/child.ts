import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { readOrEmpty } from '../harness/process.ts'

/** How a process ended, in words: "exit status 1", "signal SIGKILL". */
export type Ending = string

/** What to run and where its output goes. */
export interface ChildOptions {
  readonly name: string
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  /** Both output streams go here, so that nothing blocks on us and the log outlives the process. */
  readonly logFile: string
}

const LOG_LINES = 20

/** A long-running process that this program owns. */
export class Child {
  readonly name: string
  /** Resolves when the process has ended, however it did. */
  readonly ended: Promise<Ending>
  readonly #process: ChildProcess
  readonly #logFile: string
  #stopping = false

  constructor(options: ChildOptions) {
    const [command = '', ...args] = options.argv
    const log = openSync(options.logFile, 'a')
    this.name = options.name
    this.#logFile = options.logFile
    this.#process = spawn(command, args, {
      env: options.env,
      stdio: ['ignore', log, log],
      // Ctrl-C in a terminal goes to the whole group: the order of shutdown is ours to choose.
      detached: true,
    })
    closeSync(log)
    this.ended = new Promise((resolve) => {
      this.#process.on('error', (error) => resolve(error.message))
      this.#process.on('exit', (code, signal) =>
        resolve(signal === null ? `exit status ${code}` : `signal ${signal}`),
      )
    })
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** True once `stop` was called: an end is then no surprise. */
  get isStopping(): boolean {
    return this.#stopping
  }

  get isRunning(): boolean {
    const { exitCode, signalCode, pid } = this.#process
    return pid !== undefined && exitCode === null && signalCode === null
  }

  /** The last lines it printed, for the message when it failed. */
  get lastWords(): string {
    return readOrEmpty(this.#logFile).trimEnd().split('\n').slice(-LOG_LINES).join('\n')
  }

  /** SIGKILL, at once. */
  kill(): void {
    this.#stopping = true
    this.#process.kill('SIGKILL')
  }

  /** SIGTERM; after `graceMs` SIGKILL. Resolves when it has ended. Harmless when it already had. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true
    if (!this.isRunning) return
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), graceMs)
    await this.ended
    clearTimeout(timer)
  }
}
