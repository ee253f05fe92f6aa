import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { Endpoint } from './clients.ts'
import type { Program } from './programs.ts'
import { Room } from './rooms.ts'
import { TrialError } from './trial-error.ts'

const CLIENT_PORT = 2379
const PEER_PORT = 2380
const LOG_CHARS_MAX = 1 << 18

/** One member of the cluster under test: a process in its room, which may be down. */
export class Member {
  readonly name: string
  readonly room: Room
  readonly endpoint: Endpoint
  /** Ends that nobody asked for. */
  readonly crashes: string[] = []
  readonly #program: Program
  /** A library in front of the kernel; undefined: the program turns its clock itself. */
  readonly #preload: string | undefined
  #process: ChildProcess | undefined
  #log = ''
  #isAskedToEnd = false
  #renewals = 0
  #flags: readonly string[] = []

  constructor(number: number, room: Room, program: Program) {
    this.name = `m${number}`
    this.room = room
    this.endpoint = { host: room.address, port: CLIENT_PORT }
    this.#program = program
    // Where both ways are there, members differ: one shows what the other might leave out.
    this.#preload = number % 2 === 0 ? program.preload : undefined
  }

  get peerUrl(): string {
    return `http://${this.room.address}:${PEER_PORT}`
  }

  get isRunning(): boolean {
    return this.#process?.exitCode === null && this.#process.signalCode === null
  }

  /** The last part of what it said on stderr, over all its lives. */
  get log(): string {
    return this.#log
  }

  /** How it is started; `members` are all that the cluster begins with. */
  configure(members: readonly Member[], state: 'new' | 'existing' = 'new'): void {
    const { address, disk } = this.room
    const client = `http://${address}:${CLIENT_PORT}`
    const cluster = members.map(({ name, peerUrl }) => `${name}=${peerUrl}`).join(',')
    this.#flags = [
      ['--name', this.name],
      ['--data-dir', `${disk}/data${this.#renewals}`],
      ['--listen-client-urls', client],
      ['--advertise-client-urls', client],
      ['--listen-peer-urls', this.peerUrl],
      ['--initial-advertise-peer-urls', this.peerUrl],
      ['--initial-cluster', cluster],
      ['--initial-cluster-token', 'lin'],
      ['--initial-cluster-state', state],
      this.#program.flags,
    ].flat()
  }

  /** Its next start is that of a member which joins, with an empty directory. */
  renew(members: readonly Member[]): void {
    this.#renewals += 1
    this.configure(members, 'existing')
  }

  /** From now on its end is nothing to complain of. */
  expectEnd(): void {
    this.#isAskedToEnd = true
  }

  /**
   * Waits until the process ends by itself, as it should now.
   * @throws TrialError when it is still there after `limitMs`
   */
  async untilEnded(limitMs: number): Promise<void> {
    const child = this.#process
    this.expectEnd()
    if (child === undefined || !this.isRunning) return
    const signal = AbortSignal.timeout(limitMs)
    const isEnded = await once(child, 'exit', { signal }).then(
      () => true,
      () => false,
    )
    if (!isEnded) throw new TrialError('NOT_GONE', `${this.name} goes on after its removal`)
  }

  /** Starts the process; does not wait until it is ready. */
  async start(environment: NodeJS.ProcessEnv = {}): Promise<void> {
    if (this.isRunning) return
    const [command = '', ...args] = [...this.room.wrapper, ...this.#program.command, ...this.#flags]
    const env = { ...cleanEnvironment(), ...this.#clockEnvironment(), ...environment }
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env })
    this.#process = child
    this.#isAskedToEnd = false
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#log = (this.#log + text).slice(-LOG_CHARS_MAX)
    })
    child.once('exit', (code, signal) => {
      if (!this.#isAskedToEnd) this.crashes.push(`${this.name} ended with ${code ?? signal}`)
    })
    await once(child, 'spawn')
  }

  /** Ends the process and waits for that. */
  async kill(): Promise<void> {
    const child = this.#process
    if (child === undefined || !this.isRunning) return
    this.expectEnd()
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }

  pause(): void {
    this.#process?.kill('SIGSTOP')
  }

  resume(): void {
    this.#process?.kill('SIGCONT')
  }

  get #offsetFile(): string {
    return `${this.room.desk}/clock`
  }

  /** Other programs' variables must not leak in, and each way to turn the clock needs its own. */
  #clockEnvironment(): NodeJS.ProcessEnv {
    const { hooks } = this.#program
    if (hooks === undefined) return {}
    if (this.#preload === undefined) return { [hooks.clockOffsetFile]: this.#offsetFile }
    return {
      LD_PRELOAD: this.#preload,
      FAKETIME_TIMESTAMP_FILE: this.#offsetFile,
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_RESET: '1',
    }
  }

  /** Lets its clock show this much more than the machine's. */
  async turnClock(offsetMs: number): Promise<void> {
    const seconds = offsetMs / 1000
    const text =
      this.#preload === undefined ? String(offsetMs) : `${seconds < 0 ? '' : '+'}${seconds}`
    await this.room.writeFile(this.#offsetFile, text)
  }
}

function cleanEnvironment(): NodeJS.ProcessEnv {
  const own = /^(ETCD|KVD)_|^NOTIFY_SOCKET$|^JOURNAL_STREAM$|^LISTEN_/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)))
}
