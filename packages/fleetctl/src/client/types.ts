import type { UnitOption } from '@flotilla/systemd'
import type { JobState } from '@flotilla/fleet-registry'

/** A unit as the cluster shows it. */
export interface Unit {
  readonly name: string
  readonly options: readonly UnitOption[]
  readonly desiredState: string
  /** Empty for a global unit. */
  readonly currentState: string
  /** Machine ID, empty when the unit is on no machine or is global. */
  readonly machineID: string
  readonly isGlobal: boolean
}

/** State of a unit on one machine. */
export interface UnitState {
  readonly name: string
  readonly hash: string
  readonly machineID: string
  readonly load: string
  readonly active: string
  readonly sub: string
}

/** A machine of the cluster. */
export interface Machine {
  readonly id: string
  readonly ip: string
  readonly metadata: ReadonlyMap<string, string>
  /** Only the store's driver knows it. */
  readonly version?: string
}

/** A cluster to talk to, through a fleetd's API or through the store itself. Rejects with ClientError. */
export interface Client {
  machines(): Promise<readonly Machine[]>
  units(): Promise<readonly Unit[]>
  unit(name: string): Promise<Unit | undefined>
  states(): Promise<readonly UnitState[]>
  statesOf(name: string): Promise<readonly UnitState[]>
  /** Creates a unit or replaces its content. */
  putUnit(name: string, options: readonly UnitOption[], state: JobState): Promise<void>
  setTargetState(name: string, state: JobState): Promise<void>
  destroyUnit(name: string): Promise<void>
  /** The extension's answer about a unit on a machine; `undefined` when it is not offered. */
  ask(question: Question): Promise<Answer | undefined>
  close(): void
}

/** Status or journal of a unit on a machine. */
export interface Question {
  readonly kind: 'status' | 'journal'
  readonly name: string
  readonly machineID: string
  readonly query?: Readonly<Record<string, string>>
}

/** Text that comes piece by piece, and the exit code of the command that it stands for. */
export interface Answer {
  readonly exitCode: number
  readonly text: AsyncIterable<string>
}

/** A request that failed; the message is what users of the original saw. */
export class ClientError extends Error {
  override readonly name = 'ClientError'
  /** HTTP status, 0 when there was no answer. */
  readonly status: number

  constructor(message: string, status = 0) {
    super(message)
    this.status = status
  }
}
