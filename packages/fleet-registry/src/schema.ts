import type { UnitOption } from '@flotilla/systemd'

/** Bodies of the HTTP API v1 (fleet schema/v1-gen.go). Empty members are left out on the wire. */
export interface UnitSchema {
  readonly name?: string
  readonly options?: readonly UnitOption[]
  readonly desiredState?: string
  readonly currentState?: string
  readonly machineID?: string
}

/** State of a unit on one machine. */
export interface UnitStateSchema {
  readonly name?: string
  readonly hash?: string
  readonly machineID?: string
  readonly systemdLoadState?: string
  readonly systemdActiveState?: string
  readonly systemdSubState?: string
}

/** A machine. */
export interface MachineSchema {
  readonly id?: string
  readonly primaryIP?: string
  readonly metadata?: Readonly<Record<string, string>>
}

/** One page of each collection. */
export interface UnitPage {
  readonly units?: readonly UnitSchema[]
  readonly nextPageToken?: string
}
export interface UnitStatePage {
  readonly states?: readonly UnitStateSchema[]
  readonly nextPageToken?: string
}
export interface MachinePage {
  readonly machines?: readonly MachineSchema[]
  readonly nextPageToken?: string
}

/** Body of every error: the message is empty where the original's is. */
export interface ErrorSchema {
  readonly error: { readonly code: number; readonly message: string }
}

/** The same members without those that are empty: `''`, `[]`, `{}` and `undefined`. */
export function omitEmpty(value: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => !isEmpty(member)))
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === '') return true
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0
}
