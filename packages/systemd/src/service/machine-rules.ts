import type { ExitStatus } from './exit-status.ts'
import { isCleanExit, isInSet } from './exit-status.ts'
import type { MachineState, ProcessRecord, Result, SubState } from './machine-state.ts'
import { newest } from './machine-state.ts'
import type { Phase } from './phases.ts'
import type { Service } from './service.ts'

/** Where a service goes from a state; `failed` is dead without a restart. */
export type Step =
  | 'stop'
  | 'stop-sigterm'
  | 'stop-sigkill'
  | 'stop-post'
  | 'final-sigterm'
  | 'final-sigkill'
  | 'dead'
  | 'failed'

/** The state in which the commands of a phase run. */
export const PHASE_STATES = {
  ExecCondition: 'condition',
  ExecStartPre: 'start-pre',
  ExecStart: 'start',
  ExecStartPost: 'start-post',
  ExecStop: 'stop',
  ExecStopPost: 'stop-post',
} as const satisfies Record<Phase, SubState>

/** What follows a state of going down once no process is left that it waits for. */
export const AFTER_LAST_EXIT: Readonly<Partial<Record<SubState, Step>>> = {
  'stop-sigterm': 'stop-post',
  'stop-sigkill': 'stop-post',
  'stop-post': 'final-sigterm',
  'final-sigterm': 'dead',
  'final-sigkill': 'dead',
}

/** Where a manager that took over goes on in a state of going down: signals are sent again, commands are not. */
export const RESUME_WITH: Readonly<Partial<Record<SubState, Step>>> = {
  stop: 'stop-sigterm',
  'stop-sigterm': 'stop-sigterm',
  'stop-sigkill': 'stop-sigkill',
  'stop-post': 'final-sigterm',
  'final-sigterm': 'final-sigterm',
  'final-sigkill': 'final-sigkill',
}

interface Timeout {
  readonly message: string
  readonly next: Step
}

function startTimeout(sub: SubState): Timeout {
  return { message: `${sub} operation timed out. Terminating.`, next: 'stop-sigterm' }
}

/** What the timer means in each state (systemd 252 `service_dispatch_timer`); auto-restart is a matter of its own. */
export function timeoutIn(sub: SubState, sendSigkill: boolean): Timeout | undefined {
  const all: Readonly<Partial<Record<SubState, Timeout>>> = {
    condition: startTimeout(sub),
    'start-pre': startTimeout(sub),
    start: startTimeout(sub),
    'start-post': startTimeout(sub),
    running: { message: 'Service reached runtime time limit. Stopping.', next: 'stop' },
    stop: { message: 'Stopping timed out. Terminating.', next: 'stop-sigterm' },
    'stop-sigterm': sendSigkill
      ? { message: "State 'stop-sigterm' timed out. Killing.", next: 'stop-sigkill' }
      : { message: "State 'stop-sigterm' timed out. Skipping SIGKILL.", next: 'stop-post' },
    'stop-sigkill': {
      message: 'Processes still around after SIGKILL. Ignoring.',
      next: 'stop-post',
    },
    'stop-post': { message: "State 'stop-post' timed out. Terminating.", next: 'final-sigterm' },
    'final-sigterm': sendSigkill
      ? { message: "State 'final-sigterm' timed out. Killing.", next: 'final-sigkill' }
      : {
          message: "State 'final-sigterm' timed out. Skipping SIGKILL. Entering failed mode.",
          next: 'failed',
        },
    'final-sigkill': {
      message: 'Processes still around after final SIGKILL. Entering failed mode.',
      next: 'dead',
    },
  }
  return all[sub]
}

/** True for results after which the unit is failed. */
export function isFailure(result: Result): boolean {
  return result !== 'success' && result !== 'exec-condition'
}

/** What the end of a process means for the service. */
export function resultOf(service: Service, record: ProcessRecord, exit: ExitStatus): Result {
  const { type, successStatus, commands } = service
  const kind = record.role === 'main' && type !== 'oneshot' ? 'daemon' : 'command'
  const isIgnored = commands[record.phase][record.index]?.ignoresFailure === true
  if (isIgnored || isCleanExit(exit, kind, successStatus)) return 'success'
  if (exit.code !== 'exited') return 'signal'
  return record.phase === 'ExecCondition' && exit.status < 255 ? 'exec-condition' : 'exit-code'
}

/** Whether Restart= and its exceptions ask for another start (systemd 252 `service_shall_restart`). */
export function shallRestart(service: Service, state: MachineState): boolean {
  if (state.isRestartForbidden) return false
  const exit = newest(state, 'main')?.exit
  if (exit !== undefined && isInSet(exit, service.restartPreventStatus)) return false
  if (exit !== undefined && isInSet(exit, service.restartForceStatus)) return true
  const { result } = state
  switch (service.restart) {
    case 'no':
    case 'on-watchdog':
      return false
    case 'always':
      return result !== 'exec-condition'
    case 'on-success':
      return result === 'success'
    case 'on-failure':
      return isFailure(result)
    case 'on-abnormal':
      return isFailure(result) && result !== 'exit-code'
    case 'on-abort':
      return result === 'signal'
  }
}

/** Why a service that shall be restarted cannot be: its file was changed meanwhile (systemd 252 `service_enter_restart`). */
export function restartRefusal({ name, problem }: Service): string | undefined {
  return problem === undefined
    ? undefined
    : `Failed to schedule restart job: Unit ${name} has a bad unit file setting.`
}

/** The start limit's window after one more start; undefined when it is one too many (systemd `ratelimit_below`). */
export function countStart(
  service: Service,
  state: MachineState,
  nowMs: number,
): Pick<MachineState, 'limitBeginMs' | 'limitCount'> | undefined {
  const { startLimitIntervalMs: interval, startLimitBurst: burst } = service
  const { limitBeginMs, limitCount } = state
  if (interval <= 0 || burst <= 0) return { limitBeginMs, limitCount }
  // systemd's clock cannot be set back; with one that was, the window would last as long as the step was.
  const isOver = limitBeginMs + interval < nowMs || nowMs < limitBeginMs
  if (limitCount === 0 || isOver) return { limitBeginMs: nowMs, limitCount: 1 }
  return limitCount < burst ? { limitBeginMs, limitCount: limitCount + 1 } : undefined
}

/** How messages about a unit call it: `hello.service - Hello World`. */
export function unitTitle({ name, description }: Service): string {
  return description === '' || description === name ? name : `${name} - ${description}`
}
