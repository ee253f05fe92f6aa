/**
 * The life of a service, as systemd 252 `core/service.c` has it:
 *
 *     dead ──start──▶ condition ─▶ start-pre ─▶ start ─▶ start-post ─▶ running ──▶ (exited, with RemainAfterExit=)
 *      ▲ ▲              │ a command fails, or its time is up │            │ stop, or the main process ends
 *      │ │              ▼                                    ▼            ▼
 *      │ └── failed   stop-sigterm ◀────────────────────────────────────  stop
 *      │      ▲         │ time is up: stop-sigkill
 *      │      │         ▼
 *      │      └─────  stop-post ─▶ final-sigterm ─▶ final-sigkill ─▶ dead or failed
 *      │                                                               │ Restart= applies
 *      └───────────────────────── auto-restart ◀───────────────────────┘
 *
 * Pure: step() takes what happened and returns what to do. A `spawn` must be answered by `spawned` or `spawn-failed`
 * and a `kill` by `killed`, before anything else is stepped.
 */
import assert from 'node:assert'
import type { ExitStatus } from './exit-status.ts'
import { logText } from './exit-status.ts'
import {
  AFTER_LAST_EXIT,
  countStart,
  isFailure,
  PHASE_STATES,
  restartRefusal,
  RESUME_WITH,
  resultOf,
  shallRestart,
  timeoutIn,
  unitTitle,
} from './machine-rules.ts'
import type { Step } from './machine-rules.ts'
import type { Action, Input, Job, MachineState, Result, Role, SubState } from './machine-state.ts'
import { activeStateOf, alive, isDown, newest } from './machine-state.ts'
import type { Phase } from './phases.ts'
import type { Service } from './service.ts'

const ERROR = 3
const WARNING = 4
const NOTICE = 5
const INFO = 6

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** One service. Its state is only changed by step() and configure(). */
export class ServiceMachine {
  #service: Service
  #now = 0
  #actions: Action[] = []
  /** Set while a `spawn` or `kill` waits for its answer. */
  #pending: Extract<Action, { type: 'spawn' | 'kill' }> | undefined
  readonly #state: Writable<MachineState>

  constructor(service: Service, state: MachineState) {
    this.#service = service
    this.#state = { ...state }
  }

  /** A copy that later steps do not change. */
  get state(): MachineState {
    return { ...this.#state, processes: [...this.#state.processes] }
  }

  get service(): Service {
    return this.#service
  }

  /** The unit file was read anew; commands that run go on with the new ones. */
  configure(service: Service): void {
    this.#service = service
  }

  step(input: Input, nowMs: number): Action[] {
    this.#now = nowMs
    this.#actions = []
    this.#dispatch(input)
    this.#announce()
    return this.#actions
  }

  #dispatch(input: Input): void {
    switch (input.type) {
      case 'start':
        return this.#start()
      case 'stop':
        return this.#stop()
      case 'reset-failed':
        if (this.#state.sub === 'failed') this.#enter('dead')
        this.#state.result = 'success'
        this.#state.limitCount = 0
        return undefined
      case 'timer':
        return this.#timer()
      case 'resume':
        return this.#resume()
      case 'spawned':
        return this.#spawned(input.pid, input.hasExeced)
      case 'spawn-failed':
        return this.#spawnFailed(input.reason)
      case 'exited':
        return input.role === 'main'
          ? this.#mainExited(input.exit)
          : this.#controlExited(input.exit)
      case 'killed': {
        assert(this.#pending?.type === 'kill')
        this.#pending = undefined
        return input.isWaiting ? undefined : this.#gone()
      }
      case 'gone':
        return this.#gone()
    }
  }

  // Jobs

  #start(): void {
    const { sub, job } = this.#state
    const active = activeStateOf(sub)
    if (active === 'active') this.#state.job = undefined
    else if (job?.type !== 'start') {
      this.#state.job = {
        type: 'start',
        isRunning: sub !== 'auto-restart' && active === 'activating',
        isAnnounced: false,
      }
      if (isDown(sub)) this.#runStart()
    }
  }

  #runStart(): void {
    // The file may have been changed after the start was accepted.
    const isFit = this.#service.problem === undefined
    this.#state.job = isFit ? { type: 'start', isRunning: true, isAnnounced: false } : undefined
    if (!isFit) return undefined
    const limit = countStart(this.#service, this.#state, this.#now)
    if (limit === undefined) {
      this.#log(WARNING, 'Start request repeated too quickly.')
      return this.#enterDead('start-limit-hit', false)
    }
    Object.assign(this.#state, limit)
    Object.assign(this.#state, { result: 'success', isRestartForbidden: false, processes: [] })
    if (this.#state.forgetsRestarts) this.#state.restarts = 0
    this.#state.forgetsRestarts = false
    this.#actions.push({ type: 'begin' })
    this.#runPhase('ExecCondition')
  }

  #stop(): void {
    const { sub } = this.#state
    this.#state.isRestartForbidden = true
    if (isDown(sub)) {
      this.#state.job = undefined
      return undefined
    }
    this.#state.job = {
      type: 'stop',
      isRunning: true,
      isAnnounced: activeStateOf(sub) !== 'active',
    }
    if (sub === 'auto-restart') {
      this.#arm(Infinity)
      return this.#enter('dead')
    }
    if (activeStateOf(sub) === 'activating') return this.#goTo('stop-sigterm', 'success')
    return activeStateOf(sub) === 'active' ? this.#goTo('stop', 'success') : undefined
  }

  /** systemd says `Starting` only when the job is not done at once, and nothing while a process is being made. */
  #announce(): void {
    const { job } = this.#state
    if (job === undefined || !job.isRunning || job.isAnnounced || this.#pending !== undefined)
      return
    this.#state.job = { ...job, isAnnounced: true }
    this.#say(
      INFO,
      `${job.type === 'start' ? 'Starting' : 'Stopping'} ${unitTitle(this.#service)}...`,
    )
  }

  /** Ends or begins the job that the new state allows to. */
  #updateJob(job: Job): void {
    const { sub } = this.#state
    const active = activeStateOf(sub)
    if (job.type === 'start' && active === 'active') return this.#finishJob(this.#startedText())
    if (!isDown(sub)) return undefined
    if (job.type === 'stop') return this.#finishJob(`Stopped ${unitTitle(this.#service)}.`)
    if (!job.isRunning) return this.#runStart()
    if (sub === 'failed')
      return this.#finishJob(`Failed to start ${unitTitle(this.#service)}.`, ERROR)
    if (this.#state.result === 'exec-condition') {
      return this.#finishJob(
        `Condition check resulted in ${unitTitle(this.#service)} being skipped.`,
      )
    }
    return this.#finishJob(this.#startedText())
  }

  #finishJob(message: string, priority = INFO): void {
    this.#state.job = undefined
    this.#say(priority, message)
  }

  #startedText(): string {
    return `${this.#service.type === 'oneshot' ? 'Finished' : 'Started'} ${unitTitle(this.#service)}.`
  }

  // Processes

  /** Runs the commands of a phase, or goes on as if they had all ended well. */
  #runPhase(phase: Phase): void {
    return this.#service.commands[phase].length > 0
      ? this.#spawn(phase, 0)
      : this.#afterPhase(phase)
  }

  #afterPhase(phase: Phase): void {
    switch (phase) {
      case 'ExecCondition':
        return this.#runPhase('ExecStartPre')
      case 'ExecStartPre':
        return this.#runPhase('ExecStart')
      case 'ExecStart':
        return this.#runPhase('ExecStartPost')
      case 'ExecStartPost':
        return this.#enterRunning('success')
      case 'ExecStop':
        return this.#goTo('stop-sigterm', 'success')
      case 'ExecStopPost':
        return this.#goTo('final-sigterm', 'success')
    }
  }

  #spawn(phase: Phase, index: number): void {
    const { timeoutStartMs, timeoutStopMs, type } = this.#service
    const isStop = phase === 'ExecStop' || phase === 'ExecStopPost'
    const isUntimed = phase === 'ExecStart' && type === 'simple'
    const startMs = isUntimed ? Infinity : timeoutStartMs
    this.#enter(PHASE_STATES[phase])
    this.#arm(isStop ? timeoutStopMs : startMs)
    this.#ask({ type: 'spawn', role: phase === 'ExecStart' ? 'main' : 'control', phase, index })
  }

  #spawned(pid: number, hasExeced: boolean): void {
    const { role, phase, index } = this.#takeSpawn()
    const { type } = this.#service
    this.#state.processes = [...this.#state.processes, { role, phase, index, pid, exit: undefined }]
    const isStarted = type === 'simple' || (type === 'exec' && hasExeced)
    if (role === 'main' && isStarted) this.#runPhase('ExecStartPost')
  }

  #spawnFailed(reason: string): void {
    const { phase } = this.#takeSpawn()
    const task = PHASE_STATES[phase]
    this.#log(WARNING, `Failed to run '${task}' task: ${reason}`)
    if (phase === 'ExecCondition' || phase === 'ExecStartPre')
      return this.#enterDead('resources', true)
    if (phase === 'ExecStartPost') return this.#goTo('stop', 'resources')
    return this.#goTo(phase === 'ExecStopPost' ? 'final-sigterm' : 'stop-sigterm', 'resources')
  }

  #takeSpawn(): Extract<Action, { type: 'spawn' }> {
    const pending = this.#pending
    assert(pending?.type === 'spawn')
    this.#pending = undefined
    return pending
  }

  /** Notes the end of a process and says what it means; undefined when no such process is known. */
  #noteExit(role: Role, exit: ExitStatus): Result | undefined {
    const record = alive(this.#state, role)
    if (record === undefined) return undefined
    this.#state.processes = this.#state.processes.map((other) =>
      other === record ? { ...other, exit } : other,
    )
    const result = resultOf(this.#service, record, exit)
    const who = role === 'main' ? 'Main' : 'Control'
    if (exit.code === 'unknown') {
      this.#log(
        NOTICE,
        `${who} process ${record.pid} is gone; only its parent, an earlier manager, could have read its exit status.`,
      )
    } else if (isFailure(result)) {
      const priority = exit.code === 'exited' ? NOTICE : WARNING
      this.#log(priority, `${who} process exited, ${logText(exit)}`)
    }
    this.#fail(result)
    return result
  }

  #next(role: Role): { readonly phase: Phase; readonly index: number } | undefined {
    const last = newest(this.#state, role)
    if (last === undefined || this.#service.commands[last.phase][last.index + 1] === undefined)
      return undefined
    return { phase: last.phase, index: last.index + 1 }
  }

  #mainExited(exit: ExitStatus): void {
    const result = this.#noteExit('main', exit)
    if (result === undefined) return undefined
    const { sub } = this.#state
    const next = this.#next('main')
    if (sub === 'start') {
      if (result !== 'success') return this.#goTo('stop-sigterm', result)
      return next === undefined
        ? this.#runPhase('ExecStartPost')
        : this.#spawn(next.phase, next.index)
    }
    if (sub === 'running') return this.#enterRunning(result)
    if (sub !== 'start-post') return this.#afterExit(result)
    return alive(this.#state, 'control') === undefined ? this.#goTo('stop', result) : undefined
  }

  #controlExited(exit: ExitStatus): void {
    const result = this.#noteExit('control', exit)
    const phase = newest(this.#state, 'control')?.phase
    if (result === undefined || phase === undefined) return undefined
    const { sub } = this.#state
    if (PHASE_STATES[phase] !== sub) return this.#afterExit(result)
    const next = this.#next('control')
    if (result === 'success' && next !== undefined) return this.#spawn(next.phase, next.index)
    if (sub === 'stop-post') return this.#afterExit(result)
    if (result !== 'success' || sub === 'stop') return this.#goTo('stop-sigterm', result)
    return this.#afterPhase(phase)
  }

  /** A process ended while the unit goes down: on, unless the other one still runs. */
  #afterExit(result: Result): void {
    const next = AFTER_LAST_EXIT[this.#state.sub]
    const isLast =
      alive(this.#state, 'main') === undefined && alive(this.#state, 'control') === undefined
    if (next !== undefined && isLast) this.#goTo(next, result)
  }

  #gone(): void {
    const { sub } = this.#state
    const { killMode, sendSigkill } = this.#service
    // KillMode=mixed sends SIGTERM to the main process only: the rest is still due its SIGKILL.
    const isRestDue = killMode === 'mixed' && sendSigkill
    if (sub === 'stop-sigterm' && isRestDue) return this.#goTo('stop-sigkill', 'success')
    if (sub === 'final-sigterm' && isRestDue) return this.#goTo('final-sigkill', 'success')
    const next = AFTER_LAST_EXIT[sub]
    return next === undefined || sub === 'stop-post' ? undefined : this.#goTo(next, 'success')
  }

  // Timer

  #timer(): void {
    if (this.#state.sub === 'auto-restart') return this.#restart()
    const timeout = timeoutIn(this.#state.sub, this.#service.sendSigkill)
    if (timeout === undefined) return undefined
    this.#log(WARNING, timeout.message)
    return this.#goTo(timeout.next, 'timeout')
  }

  #restart(): void {
    const refusal = restartRefusal(this.#service)
    if (refusal !== undefined) {
      this.#log(WARNING, refusal)
      return this.#enterDead('resources', false)
    }
    this.#state.restarts += 1
    this.#state.forgetsRestarts = false
    this.#log(INFO, `Scheduled restart job, restart counter is at ${this.#state.restarts}.`)
    this.#state.job = undefined
    this.#enter('dead')
    this.#say(INFO, `Stopped ${unitTitle(this.#service)}.`)
    this.#runStart()
  }

  #resume(): void {
    const { sub } = this.#state
    if (sub === 'auto-restart') return this.#arm(this.#service.restartMs)
    if (sub === 'running') return this.#arm(this.#service.runtimeMaxMs)
    const step = RESUME_WITH[sub]
    return step === undefined ? undefined : this.#goTo(step, 'success')
  }

  // States

  #enter(sub: SubState): void {
    const before = activeStateOf(this.#state.sub)
    const after = activeStateOf(sub)
    this.#state.sub = sub
    if (before !== after) {
      const wasDown = before === 'inactive' || before === 'failed'
      if (before === 'active') this.#state.activeExitMs = this.#now
      if (after === 'active') this.#state.activeEnterMs = this.#now
      if (wasDown && !isDown(sub)) this.#state.inactiveExitMs = this.#now
      if (!wasDown && isDown(sub)) this.#state.inactiveEnterMs = this.#now
    }
    if (this.#state.job !== undefined) this.#updateJob(this.#state.job)
  }

  #fail(result: Result): void {
    if (this.#state.result === 'success') this.#state.result = result
  }

  #enterRunning(result: Result): void {
    this.#fail(result)
    if (this.#state.result !== 'success') return this.#goTo('stop-sigterm', result)
    if (alive(this.#state, 'main') !== undefined) {
      this.#arm(this.#service.runtimeMaxMs)
      return this.#enter('running')
    }
    if (!this.#service.remainAfterExit) return this.#goTo('stop', 'success')
    this.#arm(Infinity)
    return this.#enter('exited')
  }

  #goTo(step: Step, result: Result): void {
    this.#fail(result)
    switch (step) {
      case 'stop':
        return this.#runPhase('ExecStop')
      case 'stop-post':
        return this.#runPhase('ExecStopPost')
      case 'dead':
        return this.#enterDead(result, true)
      case 'failed':
        return this.#enterDead(result, false)
      case 'stop-sigterm':
      case 'stop-sigkill':
      case 'final-sigterm':
      case 'final-sigkill':
        return this.#enterSignal(step)
    }
  }

  #enterSignal(sub: Exclude<Step, 'stop' | 'stop-post' | 'dead' | 'failed'>): void {
    this.#enter(sub)
    const { killMode, killSignal, finalKillSignal, timeoutStopMs } = this.#service
    const isFinal = sub.endsWith('sigkill')
    this.#arm(timeoutStopMs)
    const isMainOnly = killMode === 'process' || (killMode === 'mixed' && !isFinal)
    const scope = killMode === 'none' ? 'none' : isMainOnly ? 'main' : 'all'
    this.#ask({ type: 'kill', signal: isFinal ? finalKillSignal : killSignal, scope, isFinal })
  }

  #enterDead(result: Result, mayRestart: boolean): void {
    this.#fail(result)
    this.#arm(Infinity)
    const final = this.#state.result
    if (final === 'success') this.#log(INFO, 'Deactivated successfully.')
    else if (final === 'exec-condition') this.#log(INFO, "Skipped due to 'exec-condition'.")
    else this.#log(WARNING, `Failed with result '${final}'.`)
    const restarts =
      mayRestart && this.#state.job?.type !== 'stop' && shallRestart(this.#service, this.#state)
    const queued = this.#state.job?.isRunning === false
    // Processes that outlive the unit (KillMode=) are none of its business any more.
    this.#state.processes = this.#state.processes.map((record) =>
      record.exit === undefined ? { ...record, exit: { code: 'unknown', status: 0 } } : record,
    )
    this.#state.forgetsRestarts = !restarts
    this.#enter(isFailure(final) ? 'failed' : 'dead')
    if (!restarts || queued) return
    this.#enter('auto-restart')
    this.#arm(this.#service.restartMs)
  }

  // Actions

  #ask(action: Extract<Action, { type: 'spawn' | 'kill' }>): void {
    assert(this.#pending === undefined)
    this.#pending = action
    this.#actions.push(action)
  }

  #arm(ms: number): void {
    this.#actions.push({ type: 'arm', ms })
  }

  /** A line about the unit, which begins with its name. */
  #log(priority: number, message: string): void {
    this.#say(priority, `${this.#service.name}: ${message}`)
  }

  #say(priority: number, message: string): void {
    this.#actions.push({ type: 'log', priority, message })
  }
}
