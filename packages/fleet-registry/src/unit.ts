import { createHash } from 'node:crypto'
import { parseUnit, serializeUnit, type UnitOption } from '@flotilla/systemd'

/** The content of a unit: options, the text they serialise to, and the SHA-1 of that text (40 hex digits). */
export interface UnitFile {
  readonly options: readonly UnitOption[]
  readonly text: string
  readonly hash: string
}

/** A unit file from its options. */
export function unitFileOf(options: readonly UnitOption[]): UnitFile {
  const text = serializeUnit(options)
  return { options, text, hash: sha1(text) }
}

/** A unit file from its text. Throws UnitParseError of `@flotilla/systemd`. */
export function parseUnitFile(text: string | Uint8Array): UnitFile {
  return unitFileOf(parseUnit(text))
}

/** The first `Description=` of `[Unit]`, or an empty text. */
export function unitDescription(options: readonly UnitOption[]): string {
  return (
    options.find((option) => option.section === 'Unit' && option.name === 'Description')?.value ??
    ''
  )
}

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex')
}

/** What a unit is wanted to be, and what it is: not on a machine, on a machine, started there. */
export type JobState = 'inactive' | 'loaded' | 'launched'

const JOB_STATES: ReadonlySet<string> = new Set(['inactive', 'loaded', 'launched'])

/** Whether a text is one of the three job states. */
export function isJobState(text: string): text is JobState {
  return JOB_STATES.has(text)
}

/** Facts from which a unit's current state follows. */
export interface JobFacts {
  /** Machine ID in the heartbeat key `job-state`, empty when there is none. */
  readonly heartbeat: string
  /** Machine ID the unit is scheduled to, empty when there is none. */
  readonly target: string
  /** Whether the target machine has reported the unit's systemd state. */
  readonly hasState: boolean
}

/** Current state of a unit, fleet registry/job_state.go. `launched` says nothing about systemd's ActiveState. */
export function currentState(facts: JobFacts): JobState {
  if (facts.target === '' || !facts.hasState) return 'inactive'
  return facts.heartbeat === facts.target ? 'launched' : 'loaded'
}
