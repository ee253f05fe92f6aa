import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

const readyTimeoutMs = 30_000
const stopTimeoutMs = 15_000
const logBytesMax = 64 << 10

/** A program that runs in a directory of its own, until it is stopped or the bench ends. */
export class Daemon {
  readonly #child: ChildProcess
  #log = ''

  private constructor(child: ChildProcess) {
    this.#child = child
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.#log = (this.#log + chunk).slice(-logBytesMax)
    })
    // Whatever ends the bench, a signal too, ends the servers: nobody else knows of them.
    const killAtExit = (): boolean => child.kill('SIGKILL')
    process.prependOnceListener('exit', killAtExit)
    child.once('exit', () => process.off('exit', killAtExit))
  }

  /** Rejects when there is no such program. */
  static async start(command: string, args: readonly string[], cwd: string): Promise<Daemon> {
    const child = spawn(command, [...args], { stdio: ['ignore', 'ignore', 'pipe'], cwd })
    const daemon = new Daemon(child)
    await once(child, 'spawn')
    return daemon
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** The last part of what it said. */
  get log(): string {
    return this.#log
  }

  /** Waits until it takes writes at a client URL. */
  async untilWritable(url: string): Promise<void> {
    const deadline = performance.now() + readyTimeoutMs
    while (performance.now() < deadline) {
      if (!this.isRunning)
        throw new Error(`ended with ${this.#child.exitCode ?? this.#child.signalCode}`)
      const answer = await fetch(`${url}/v2/keys/ready`, { method: 'PUT' }).catch(() => undefined)
      await answer?.arrayBuffer()
      if (answer?.ok) return
      await sleep(20)
    }
    throw new Error(`no answer at ${url} after ${readyTimeoutMs} ms`)
  }

  /** Sends a signal and waits for the end; after a while of waiting SIGKILL follows. */
  async end(signal: NodeJS.Signals): Promise<void> {
    if (!this.isRunning) return
    const ended = once(this.#child, 'exit')
    this.#child.kill(signal)
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), stopTimeoutMs)
    await ended
    clearTimeout(timer)
  }
}
