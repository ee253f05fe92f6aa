/** A unit's state in systemd's own words, e.g. loaded, active, running. */
export interface UnitState {
  readonly loadState: string
  readonly activeState: string
  readonly subState: string
}

/** What `journalctl --unit X --no-pager -n lines --output output [-f]` is asked for. */
export interface JournalOptions {
  /** How many of the newest lines; 0 is none. */
  readonly lines: number
  /** Stay and print what comes. */
  readonly follow: boolean
  /** An output mode of journalctl: short, cat, json ... */
  readonly output: string
  /** Ends the iteration, also while it waits. */
  readonly signal?: AbortSignal
}

/** The text of `systemctl status -l NAME` and systemctl's exit code (0 running, 3 not running, 4 no such unit). */
export interface UnitStatus {
  readonly text: string
  readonly exitCode: number
}

/** Why a manager refuses: the codes are stable, the messages are systemd's where systemd has one. */
export type UnitManagerErrorCode =
  /** No unit of that name. */
  | 'NO_SUCH_UNIT'
  /** The unit's file says something that cannot be done. */
  | 'BAD_UNIT_SETTING'
  /** The manager does not run units of that type. */
  | 'UNSUPPORTED_UNIT'
  | 'INVALID_NAME'
  /** Something that only an own error of the driver's tells, e.g. an output mode of the journal. */
  | 'INVALID_ARGUMENT'
  /** Another manager has the state directory. */
  | 'LOCKED'
  /** The manager was closed. */
  | 'CLOSED'
  /** The connection to systemd is gone or did not answer in time. */
  | 'DISCONNECTED'
  /** systemd answered with another error; `cause` has it. */
  | 'REFUSED'
  /** The host lacks what the manager needs. */
  | 'UNSUPPORTED_HOST'

/** A request that a manager cannot carry out. */
export class UnitManagerError extends Error {
  override readonly name = 'UnitManagerError'
  readonly code: UnitManagerErrorCode

  constructor(code: UnitManagerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** The state of a name that no unit has. */
export const NOT_FOUND: UnitState = {
  loadState: 'not-found',
  activeState: 'inactive',
  subState: 'dead',
}

/** One machine's units: what fleet's agent needs of systemd. `name` is always a full unit name. */
export interface UnitManager {
  /** Units present in the directory that this manager owns, sorted. */
  list(): Promise<readonly string[]>
  /** The text of such a unit as it is on disk; undefined when there is none. */
  read(name: string): Promise<string | undefined>
  /** Writes the unit, whole or not at all, links it for this boot and enables it when it has an [Install] section. */
  load(name: string, text: string): Promise<void>
  /** Disables, forgets a failure and removes the file. The unit must have been stopped (stop() accepted). */
  unload(name: string): Promise<void>
  /** Makes changed files take effect (daemon-reload). */
  reload(): Promise<void>
  /** Resolves when the start job was accepted; not when the unit runs. */
  start(name: string): Promise<void>
  /** Resolves when the stop job was accepted; not when the unit is down. */
  stop(name: string): Promise<void>
  /** The states of all the names asked for; unknown ones have NOT_FOUND. */
  states(names: readonly string[]): Promise<ReadonlyMap<string, UnitState>>
  /** Calls back when a unit's state may have changed (coalesced). Returns the function that unsubscribes. */
  onChange(listener: (name: string) => void): () => void
  status(name: string): Promise<UnitStatus>
  /** Lines without their newline. */
  journal(name: string, options: JournalOptions): AsyncIterable<string>
  close(): Promise<void>
}
