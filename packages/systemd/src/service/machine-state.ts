import type { ExitStatus } from './exit-status.ts'
import type { Phase } from './phases.ts'

export type SubState =
  | 'dead'
  | 'condition'
  | 'start-pre'
  | 'start'
  | 'start-post'
  | 'running'
  | 'exited'
  | 'stop'
  | 'stop-sigterm'
  | 'stop-sigkill'
  | 'stop-post'
  | 'final-sigterm'
  | 'final-sigkill'
  | 'failed'
  | 'auto-restart'

export type ActiveState = 'inactive' | 'activating' | 'active' | 'deactivating' | 'failed'

export type Result =
  | 'success'
  | 'exit-code'
  | 'signal'
  | 'timeout'
  | 'resources'
  | 'start-limit-hit'
  | 'exec-condition'

/** A main process is the service; control processes are all its other commands. */
export type Role = 'main' | 'control'

const ACTIVE_STATES: Readonly<Record<SubState, ActiveState>> = {
  dead: 'inactive',
  condition: 'activating',
  'start-pre': 'activating',
  start: 'activating',
  'start-post': 'activating',
  running: 'active',
  exited: 'active',
  stop: 'deactivating',
  'stop-sigterm': 'deactivating',
  'stop-sigkill': 'deactivating',
  'stop-post': 'deactivating',
  'final-sigterm': 'deactivating',
  'final-sigkill': 'deactivating',
  failed: 'failed',
  'auto-restart': 'activating',
}

export function activeStateOf(sub: SubState): ActiveState {
  return ACTIVE_STATES[sub]
}

/** True when no process of the unit is expected to be alive. */
export function isDown(sub: SubState): boolean {
  return sub === 'dead' || sub === 'failed'
}

/** A command that was run in the present or last activation. */
export interface ProcessRecord {
  readonly role: Role
  readonly phase: Phase
  /** Which command of the phase. */
  readonly index: number
  /** 0 when it could not even be created. */
  readonly pid: number
  readonly exit: ExitStatus | undefined
}

/** What the manager wants of a unit: systemd's job. It is queued until the unit can act on it, then running. */
export interface Job {
  readonly type: 'start' | 'stop'
  readonly isRunning: boolean
  /** True once `Starting ...` or `Stopping ...` was logged. */
  readonly isAnnounced: boolean
}

/** What happened to a service. */
export type Input =
  | { readonly type: 'start' | 'stop' | 'reset-failed' | 'timer' }
  /** A new manager took over a state in which nothing was starting: timers and signals are due again. */
  | { readonly type: 'resume' }
  /** The process of the last `spawn` exists; `hasExeced` is false when it will end without having run its program. */
  | { readonly type: 'spawned'; readonly pid: number; readonly hasExeced: boolean }
  /** It could not be created, e.g. for a missing EnvironmentFile=. */
  | { readonly type: 'spawn-failed'; readonly reason: string }
  | { readonly type: 'exited'; readonly role: Role; readonly exit: ExitStatus }
  /** Whether the last `kill` reached a process whose end is to be waited for. */
  | { readonly type: 'killed'; readonly isWaiting: boolean }
  /** No process of the unit is left. */
  | { readonly type: 'gone' }

/** What is to be done for it, in order. */
export type Action =
  /** A new activation begins: new invocation ID. */
  | { readonly type: 'begin' }
  | { readonly type: 'spawn'; readonly role: Role; readonly phase: Phase; readonly index: number }
  /** `main`: the main and control processes only; `all`: whatever belongs to the unit. */
  | {
      readonly type: 'kill'
      readonly signal: number
      readonly scope: 'main' | 'all' | 'none'
      readonly isFinal: boolean
    }
  /** Replaces the unit's only timer; Infinity disarms it. */
  | { readonly type: 'arm'; readonly ms: number }
  | { readonly type: 'log'; readonly priority: number; readonly message: string }

/** All that a service's machine knows; plain data, kept on disk for the manager's successor. Times are ms since 1970. */
export interface MachineState {
  readonly sub: SubState
  readonly result: Result
  readonly job: Job | undefined
  readonly processes: readonly ProcessRecord[]
  /** The stop was asked for, so Restart= does not apply. */
  readonly isRestartForbidden: boolean
  readonly restarts: number
  /** The counter is cleared at the next start that is no automatic restart. */
  readonly forgetsRestarts: boolean
  readonly limitBeginMs: number
  readonly limitCount: number
  readonly activeEnterMs: number | undefined
  readonly activeExitMs: number | undefined
  readonly inactiveEnterMs: number | undefined
  readonly inactiveExitMs: number | undefined
}

export const INITIAL_STATE: MachineState = {
  sub: 'dead',
  result: 'success',
  job: undefined,
  processes: [],
  isRestartForbidden: false,
  restarts: 0,
  forgetsRestarts: false,
  limitBeginMs: 0,
  limitCount: 0,
  activeEnterMs: undefined,
  activeExitMs: undefined,
  inactiveEnterMs: undefined,
  inactiveExitMs: undefined,
}

/** The running process of a role, if any. */
export function alive(state: MachineState, role: Role): ProcessRecord | undefined {
  return state.processes.find((record) => record.role === role && record.exit === undefined)
}

/** The newest process of a role, alive or not. */
export function newest(state: MachineState, role: Role): ProcessRecord | undefined {
  return state.processes.findLast((record) => record.role === role)
}
