import assert from 'node:assert'
import type { ChildProcess } from 'node:child_process'
import { closeSync } from 'node:fs'
import { constants } from 'node:os'
import { basename, join } from 'node:path'
import type { Command } from '../service/command-line.ts'
import { signalName } from '../service/exit-status.ts'
import { ServiceMachine } from '../service/machine.ts'
import type { Action, Input, MachineState, Role } from '../service/machine-state.ts'
import { alive, INITIAL_STATE, isDown, newest } from '../service/machine-state.ts'
import type { Service } from '../service/service.ts'
import type { Account } from './accounts.ts'
import type { Clock } from './clock.ts'
import type { Journal } from './journal.ts'
import type { LaunchFailure } from './launch.ts'
import { environmentOf, errorText, type Launch, prepareLaunch, startProcess } from './launch.ts'
import { type OutputSource, parseOutput, UnitOutput } from './output.ts'
import { ProcessTable } from './process-table.ts'
import { signalProcess } from './processes.ts'
import { RateLimit } from './rate-limit.ts'
import { removeState, type StoredUnit, writeState } from './state-file.ts'

/** What the runners of a manager share. */
export interface RunnerContext {
  readonly clock: Clock
  readonly account: Account
  /** Variables that every unit gets. */
  readonly environment: ReadonlyMap<string, string>
  readonly bootID: string
  /** Where the records of units are kept. */
  readonly statesDirectory: string
  /** Where their named pipes are. */
  readonly outputDirectory: string
  /** A unit's state may have changed. */
  readonly onChange: (name: string) => void
}

type Spawn = Extract<Action, { type: 'spawn' }>
type Kill = Extract<Action, { type: 'kill' }>

/** How often processes are looked for that are not the manager's own children. */
const LOOK_MS = 100

const SIGTERM = 15
const SIGKILL = 9
const SIGHUP = 1
const SIGCONT = 18

/** One service: its machine, and the processes, timer, pipes and record that the machine decides about. */
export class Runner {
  readonly #context: RunnerContext
  readonly #journal: Journal
  readonly #machine: ServiceMachine
  readonly #table: ProcessTable
  readonly #output: UnitOutput
  readonly #limit = new RateLimit()
  readonly #children = new Map<number, ChildProcess>()
  readonly #inbox: Input[] = []
  #waiters: (() => void)[] = []
  #cancelTimer: (() => void) | undefined
  #lookTimer: NodeJS.Timeout | undefined
  #isStepping = false
  #hasStateProblem = false
  #isClosed = false

  constructor(service: Service, journal: Journal, context: RunnerContext, stored?: StoredUnit) {
    this.#context = context
    this.#journal = journal
    this.#machine = new ServiceMachine(service, stored?.state ?? INITIAL_STATE)
    this.#table = new ProcessTable(stored?.table)
    this.#output = new UnitOutput(join(context.outputDirectory, service.name), (line, source) => {
      this.#take(line, source)
    })
  }

  get state(): MachineState {
    return this.#machine.state
  }

  get service(): Service {
    return this.#machine.service
  }

  get journal(): Journal {
    return this.#journal
  }

  get table(): ProcessTable {
    return this.#table
  }

  configure(service: Service): void {
    this.#machine.configure(service)
  }

  /** Makes what processes need and what cannot be made at once; before the first request. */
  async prepare(): Promise<void> {
    await this.#output.prepare()
  }

  request(type: 'start' | 'stop' | 'reset-failed'): void {
    this.#send({ type })
  }

  /** Goes on with a unit that a manager left behind: what still runs is watched, what ended unseen is made up for. */
  resume(): void {
    for (const role of ['main', 'control'] as const) {
      // Also of a process that has ended: what it started in the background may live and write, and stops when nobody
      // reads.
      const process = newest(this.state, role)
      if (process === undefined) continue
      const command = this.service.commands[process.phase][process.index]
      this.#output.open(role, { pid: process.pid, identifier: this.#identifierOf(command) })
    }
    this.#send({ type: 'resume' })
    this.#look()
  }

  /** Resolves when the unit is down. */
  async whenDown(): Promise<void> {
    if (isDown(this.state.sub)) return
    await new Promise<void>((resolve) => this.#waiters.push(resolve))
  }

  /** Kills every process of the unit, whatever the unit says. */
  killAll(): void {
    for (const { pid } of this.#table.members()) signalProcess(pid, SIGKILL)
  }

  /** Writes a line of the manager's own into the unit's journal. */
  log(priority: number, message: string): void {
    const timeMs = this.#context.clock.now()
    this.#journal.append({ timeMs, pid: process.pid, identifier: 'systemd', priority, message })
  }

  /** Lets go of the unit; its processes run on, and the manager's process may end before them. */
  close(): void {
    this.#isClosed = true
    this.#cancelTimer?.()
    clearTimeout(this.#lookTimer)
    for (const child of this.#children.values()) child.removeAllListeners().unref()
    this.#output.close()
  }

  /** Closes, and leaves nothing for a successor but the journal. */
  async forget(): Promise<void> {
    this.close()
    removeState(this.#context.statesDirectory, this.service.name)
    await this.#output.remove()
  }

  // Steps

  #send(input: Input): void {
    if (this.#isClosed) return
    this.#inbox.push(input)
    if (this.#isStepping) return
    this.#isStepping = true
    try {
      for (let next = this.#inbox.shift(); next !== undefined; next = this.#inbox.shift()) {
        this.#step(next)
      }
    } finally {
      this.#isStepping = false
    }
    this.#persist()
    this.#scheduleLook()
    this.#context.onChange(this.service.name)
    if (isDown(this.state.sub)) for (const resolve of this.#waiters.splice(0)) resolve()
  }

  /** One step and its actions. The answers to a spawn or kill go before whatever arrived meanwhile. */
  #step(input: Input): void {
    for (const action of this.#machine.step(input, this.#context.clock.now())) {
      switch (action.type) {
        case 'begin':
          this.#table.begin()
          // Before any process exists, so that a successor finds those that this manager did not come to note.
          this.#persist()
          break
        case 'spawn':
          this.#inbox.unshift(this.#spawn(action))
          break
        case 'kill':
          this.#inbox.unshift({ type: 'killed', isWaiting: this.#kill(action) })
          break
        case 'arm':
          this.#arm(action.ms)
          break
        case 'log':
          this.log(action.priority, action.message)
          break
      }
    }
  }

  #arm(ms: number): void {
    this.#cancelTimer?.()
    this.#cancelTimer =
      ms === Infinity
        ? undefined
        : this.#context.clock.after(ms, () => this.#send({ type: 'timer' }))
  }

  /** A disk that refuses costs the successor its knowledge, not the unit its life. */
  #persist(): void {
    const { bootID, statesDirectory } = this.#context
    const { state } = this.#machine
    const stored = { version: 1, bootID, state, table: this.#table.store() } as const
    try {
      writeState(statesDirectory, this.service.name, stored)
      this.#hasStateProblem = false
    } catch (error) {
      if (this.#hasStateProblem) return
      this.#hasStateProblem = true
      this.log(
        4,
        `${this.service.name}: Failed to keep the state for a later manager: ${errorText(error)}`,
      )
    }
  }

  /** A line of output, unless the unit writes more than it may. */
  #take(bytes: Buffer, source: OutputSource): void {
    const timeMs = this.#context.clock.now()
    const { isAllowed, suppressed } = this.#limit.take(timeMs)
    if (suppressed > 0) {
      const message = `Suppressed ${suppressed} messages from ${this.service.name}`
      this.#journal.append({ timeMs, pid: 0, identifier: 'systemd-journald', priority: 6, message })
    }
    const line = isAllowed ? parseOutput(bytes) : undefined
    if (line !== undefined) this.#journal.append({ ...line, ...source, timeMs })
  }

  // Processes

  #spawn({ role, phase, index }: Spawn): Input {
    const command = this.service.commands[phase][index]
    assert(command !== undefined)
    const { account, environment } = this.#context
    const variables = this.#variables(phase)
    let all: ReadonlyMap<string, string>
    try {
      all = environmentOf(this.service, { account, environment, variables })
    } catch (error) {
      const reason = errorText(error)
      this.log(4, `${this.service.name}: Failed to load environment files: ${reason}`)
      return { type: 'spawn-failed', reason }
    }
    const launch = prepareLaunch(this.service, command, all)
    return 'step' in launch
      ? this.#failSoon(role, command, launch)
      : this.#launch(role, command, launch)
  }

  #launch(role: Role, command: Command, launch: Launch): Input {
    const source = { pid: 0, identifier: this.#identifierOf(command) }
    const fail = (error: unknown): Input =>
      this.#failSoon(role, command, { status: 203, step: 'EXEC', reason: errorText(error) })
    let child: ChildProcess
    try {
      child = this.#create(role, launch, source)
    } catch (error) {
      return fail(error)
    }
    const { pid } = child
    // Some errors are thrown, others come later: then there is no pid.
    child.once('error', (error) => pid ?? fail(error))
    if (pid === undefined) return { type: 'spawned', pid: 0, hasExeced: false }
    this.#output.open(role, { ...source, pid })
    this.#table.add(pid)
    this.#children.set(pid, child)
    child.once('exit', (code, signal) => {
      this.#children.delete(pid)
      const status = signal === null ? (code ?? 0) : constants.signals[signal]
      this.#ended(role, pid, { code: signal === null ? 'exited' : 'killed', status })
    })
    return { type: 'spawned', pid, hasExeced: true }
  }

  #create(role: Role, launch: Launch, source: OutputSource): ChildProcess {
    const writer = this.#output.open(role, source).openWriter()
    const { stdout, stderr } = this.service
    try {
      return startProcess(launch, {
        stdout: stdout === 'null' ? 'ignore' : writer,
        stderr: stderr === 'null' ? 'ignore' : writer,
      })
    } finally {
      closeSync(writer)
    }
  }

  /** A process without a pid, whose end follows when the present step is done. */
  #failSoon(role: Role, command: Command, failure: LaunchFailure): Input {
    setImmediate(() => this.#launchFailed(role, command, failure))
    return { type: 'spawned', pid: 0, hasExeced: false }
  }

  /** The news of a process that failed before it could run its program, told as systemd's own child tells it. */
  #launchFailed(
    role: Role,
    command: Command,
    { status, step, reason, detail }: LaunchFailure,
  ): void {
    if (this.#isClosed || alive(this.state, role)?.pid !== 0) return
    const identifier = `(${basename(command.path)})`
    const { name } = this.service
    const lines = [detail, `Failed at step ${step} spawning ${command.path}: ${reason}`]
    for (const line of lines) {
      if (line === undefined) continue
      const timeMs = this.#context.clock.now()
      this.#journal.append({ timeMs, pid: 0, identifier, priority: 3, message: `${name}: ${line}` })
    }
    this.#send({ type: 'exited', role, exit: { code: 'exited', status } })
  }

  #ended(role: Role, pid: number, exit: Extract<Input, { type: 'exited' }>['exit']): void {
    if (this.#isClosed) return
    this.#output.drain(role)
    this.#table.ended(pid)
    // A process that the unit gave up on (KillMode=none) may end while its successor runs.
    if (alive(this.state, role)?.pid === pid) this.#send({ type: 'exited', role, exit })
  }

  #identifierOf(command: Command | undefined): string {
    return this.service.syslogIdentifier ?? basename(command?.path ?? this.service.name)
  }

  #variables(phase: Spawn['phase']): Map<string, string> {
    const variables = new Map([['INVOCATION_ID', this.#table.invocationID]])
    const main = newest(this.state, 'main')
    if (main !== undefined && main.exit === undefined && phase !== 'ExecStart') {
      variables.set('MAINPID', String(main.pid))
    }
    if (phase !== 'ExecStop' && phase !== 'ExecStopPost') return variables
    variables.set('SERVICE_RESULT', this.state.result)
    const exit = main?.exit
    if (exit === undefined || exit.code === 'unknown') return variables
    const status = exit.code === 'killed' ? signalName(exit.status) : String(exit.status)
    return variables.set('EXIT_CODE', exit.code).set('EXIT_STATUS', status)
  }

  /** Sends the signal; true when a process got it whose end is to be waited for. */
  #kill({ signal, scope, isFinal }: Kill): boolean {
    if (scope === 'none') return false
    const processes = (['main', 'control'] as const).flatMap(
      (role) => alive(this.state, role) ?? [],
    )
    const direct = processes.map(({ pid }) => pid).filter((pid) => pid > 0)
    const members = this.#table.members()
    const targets = scope === 'all' ? members : members.filter(({ pid }) => direct.includes(pid))
    for (const { pid, comm } of targets) {
      if (isFinal) {
        this.log(
          5,
          `${this.service.name}: Killing process ${pid} (${comm}) with signal SIG${signalName(signal)}.`,
        )
      }
      signalProcess(pid, signal)
      if (isFinal) continue
      // A stopped process could not act on the signal.
      if (signal === SIGTERM || signal === SIGHUP) signalProcess(pid, SIGCONT)
      if (this.service.sendSighup) signalProcess(pid, SIGHUP)
    }
    // A process that has ended but whose end was not stepped yet is no target any more, but waited for.
    return targets.length > 0 || direct.length > 0
  }

  // Watching what is nobody's child, or a child's child

  #hasStranger(): boolean {
    return (['main', 'control'] as const).some((role) => {
      const process = alive(this.state, role)
      return process !== undefined && process.pid > 0 && !this.#children.has(process.pid)
    })
  }

  #isWaitingForStragglers(): boolean {
    const { state } = this.#machine
    const isSignalled = state.sub.startsWith('stop-sig') || state.sub.startsWith('final-sig')
    return (
      isSignalled && alive(state, 'main') === undefined && alive(state, 'control') === undefined
    )
  }

  #scheduleLook(): void {
    clearTimeout(this.#lookTimer)
    if (!this.#hasStranger() && !this.#isWaitingForStragglers()) return
    this.#lookTimer = setTimeout(() => this.#look(), LOOK_MS)
  }

  #look(): void {
    if (this.#isClosed) return
    for (const role of ['main', 'control'] as const) {
      const pid = alive(this.state, role)?.pid ?? 0
      if (pid === 0 || this.#children.has(pid) || this.#table.isRunning(pid)) continue
      this.#ended(role, pid, { code: 'unknown', status: 0 })
    }
    if (this.#isWaitingForStragglers()) {
      const left = this.#table.members()
      // Some may have been forked while the others were killed.
      if (this.state.sub.endsWith('sigkill'))
        for (const { pid } of left) signalProcess(pid, SIGKILL)
      if (left.length === 0) this.#send({ type: 'gone' })
    }
    this.#scheduleLook()
  }
}
