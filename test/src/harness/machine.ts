import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { machineGroups, makeGroups, setFrozen } from './cgroup.ts'
import { waitFor } from './deadline.ts'
import { enterCommand } from './enter.ts'
import {
  type Bind,
  type Identity,
  workspaceBinds,
  writeBelow,
  writeIdentity,
  writeProgram,
} from './machine-files.ts'
import { addressOf, setLink } from './network.ts'
import { type Running, boot } from './nspawn.ts'
import {
  type Result,
  type RunOptions,
  CommandError,
  must,
  readOrEmpty,
  run,
  signal,
} from './process.ts'
import type { Sandbox } from './sandbox.ts'

/** What `systemd-nspawn` ends with when the machine inside asked for a reboot. */
const REBOOT_STATUS = 133
/**
 * One machine: a Debian with systemd as its first process. Its files survive power cuts and reboots and
 * vanish with the sandbox. One boot at a time; every method that talks to it needs it booted.
 */
export class Machine {
  readonly name: string
  readonly address: string
  readonly machineID: string
  readonly #directory: string
  readonly #groups: readonly string[]
  readonly #binds: readonly Bind[]
  #running: Running | undefined

  private constructor(sandbox: Sandbox, identity: Identity, binds: readonly Bind[]) {
    this.name = identity.name
    this.address = addressOf(identity.number)
    this.machineID = identity.machineID
    this.#directory = join(sandbox.directory, identity.name)
    this.#groups = machineGroups(sandbox.runName, identity.name)
    this.#binds = [...workspaceBinds(), ...binds]
  }

  /** Lays the machine's disk; it is not booted yet. `names` are all machines of the cluster. */
  static async create(
    sandbox: Sandbox,
    identity: Identity,
    options: { readonly names: readonly string[]; readonly binds: readonly Bind[] },
  ): Promise<Machine> {
    const machine = new Machine(sandbox, identity, options.binds)
    const at = (name: string) => join(machine.#directory, name)
    for (const name of ['up', 'wk', 'mnt']) mkdirSync(at(name), { recursive: true })
    const layers = `lowerdir=${sandbox.rootfs},upperdir=${at('up')},workdir=${at('wk')}`
    await must(['mount', '-t', 'overlay', 'overlay', '-o', layers, at('mnt')])
    writeIdentity(machine.root, identity, options.names)
    makeGroups(machine.#groups)
    return machine
  }

  /** The machine's root directory as the sandbox sees it. */
  get root(): string {
    return join(this.#directory, 'mnt')
  }

  /** The machine's systemd, in the sandbox's pid numbers; throws while the machine is off. */
  get leader(): number {
    if (this.#running === undefined) throw new Error(`${this.name} is not running`)
    return this.#running.leader
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  /** What the machine printed on its console since it was made. */
  get console(): string {
    return readOrEmpty(join(this.#directory, 'console.log'))
  }

  /** Writes a file in the machine, booted or not. Not below /run or /tmp, which are in its own memory. */
  writeFile(path: string, text: string, mode = 0o644): void {
    writeBelow(this.root, path, text, mode)
  }

  /** A file of the machine, booted or not. */
  readFile(path: string): string {
    return readFileSync(join(this.root, path), 'utf8')
  }

  /** Installs one of our programs with its shipped units; `environment` is its service's. */
  async install(name: string, environment: Readonly<Record<string, string>> = {}): Promise<void> {
    writeProgram(this.root, name, environment)
    if (!this.isRunning) return
    await this.must(['systemd-sysusers'])
    await this.must(['systemctl', 'daemon-reload'])
  }

  /** Has installed units started at boot; works on a machine that is off, too. */
  async enable(...units: string[]): Promise<void> {
    await must(['systemctl', `--root=${this.root}`, 'enable', ...units])
  }

  /** Powers the machine on and waits until systemd has nothing left to start (60 s at most). */
  async boot(): Promise<void> {
    if (this.isRunning) throw new Error(`${this.name} is running already`)
    const { nspawn, exited, leader } = await boot({
      name: this.name,
      root: this.root,
      groups: this.#groups,
      binds: this.#binds,
      logFile: join(this.#directory, 'console.log'),
    })
    const ended = exited.then((code) => {
      this.#running = undefined
      return code
    })
    this.#running = { nspawn, exited: ended, leader }
  }

  /** Runs a command in the machine to its end, whatever its exit status. */
  run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
    return run([...enterCommand(this.leader, stringsOf(options.env)), ...argv], {
      ...options,
      env: process.env,
    })
  }

  /** Like `run`, but an exit status other than 0 rejects. Gives the standard output. */
  async must(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const result = await this.run(argv, options)
    if (result.code === 0) return result.stdout
    throw new CommandError([`${this.name}:`, ...argv], `exit status ${result.code}`, result)
  }

  /** Starts units and waits until systemd says they are started. */
  async start(...units: string[]): Promise<void> {
    const { code } = await this.run(['systemctl', 'start', ...units], { timeoutMs: 60_000 })
    if (code === 0) return
    const status = await this.run(['systemctl', 'status', '--no-pager', '-l', '-n', '40', ...units])
    throw new Error(`${this.name}: cannot start ${units.join(' ')}\n${status.stdout}`)
  }

  /** Waits until a unit's ActiveState is as wanted; when it does not become so, its status is in the error. */
  async waitUnit(unit: string, want: string, timeoutMs = 30_000): Promise<void> {
    const look = async () => {
      const property = ['systemctl', 'show', '--property=ActiveState', '--value', unit]
      const seen = (await this.run(property)).stdout.trim()
      return seen === want ? { done: undefined } : { seen }
    }
    try {
      await waitFor(`${this.name}: ${unit} to be ${want}`, look, { timeoutMs })
    } catch (error) {
      const status = await this.run(['systemctl', 'status', '--no-pager', '-l', unit])
      throw new Error(`${String(error)}\n${status.stdout}`, { cause: error })
    }
  }

  /** The journal of one unit, or of the whole boot. */
  async journal(unit?: string): Promise<string> {
    const which = unit === undefined ? ['-b'] : ['-u', unit]
    return (await this.run(['journalctl', ...which, '-o', 'short-precise', '--no-pager'])).stdout
  }

  /** Everything one would want to see after a failure. A machine that is off has only its console. */
  async evidence(): Promise<string> {
    const parts = [`=== ${this.name}: console`, this.console]
    if (this.isRunning) {
      const failed = await this.run(['systemctl', '--failed', '--no-pager'])
      parts.push('--- failed units', failed.stdout, '--- journal', await this.journal())
    }
    return parts.join('\n')
  }

  /**
   * All processes die at once. What was written stays, as the page cache survives: this is a crash, not
   * a lost write. (systemd-nspawn itself is never killed: the machine would live on as an orphan.)
   */
  async powerCut(): Promise<void> {
    const { leader, exited } = this.#on()
    signal(leader, 'SIGKILL')
    await setFrozen(this.#groups, false) // a frozen process does not die before it is thawed
    await exited
  }

  /** An orderly shutdown. */
  async powerOff(): Promise<void> {
    const { nspawn, exited } = this.#on()
    nspawn.kill('SIGTERM')
    await exited
  }

  /** `systemctl reboot` and the boot that follows. */
  async reboot(): Promise<void> {
    const { exited } = this.#on()
    await this.run(['systemctl', 'reboot'])
    const code = await exited
    if (code !== REBOOT_STATUS) throw new Error(`${this.name}: rebooting ended with ${code}`)
    await this.boot()
  }

  /** Stops the machine's processes where they stand; the kernel still answers for it. */
  freeze(): Promise<void> {
    return setFrozen(this.#groups, true)
  }

  thaw(): Promise<void> {
    return setFrozen(this.#groups, false)
  }

  /** Takes the network cable out. */
  unplug(): Promise<void> {
    return setLink(this.name, 'down')
  }

  plug(): Promise<void> {
    return setLink(this.name, 'up')
  }

  #on(): Running {
    if (this.#running === undefined) throw new Error(`${this.name} is not running`)
    return this.#running
  }
}

function stringsOf(env: NodeJS.ProcessEnv = {}): Record<string, string> {
  const set = Object.entries(env).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value]],
  )
  return Object.fromEntries(set)
}
