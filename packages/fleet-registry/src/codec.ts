import { decodeObject, encodeGoJSON, fieldsOf, stringField, type Fields } from './go-json.ts'
import type { Machine } from './machine.ts'

/** The version string that a fleet 1.0 machine announces. */
export const FLEET_VERSION = 'v1.0.0'

/** Value of `job/<name>/object`. */
export interface JobObject {
  readonly name: string
  /** Unit hash, 40 hex digits. */
  readonly unitHash: string
}

/** `{"Name":…,"UnitHash":[20 bytes]}` */
export function encodeJobObject(job: JobObject): string {
  return encodeGoJSON({ Name: job.name, UnitHash: [...Buffer.from(job.unitHash, 'hex')] })
}

/** Reads a job object; `undefined` when the text is none. */
export function decodeJobObject(text: string): JobObject | undefined {
  const fields = decodeObject(text)
  const bytes = fields?.get('unithash')
  if (!Array.isArray(bytes) || bytes.length !== 20) return undefined
  return { name: stringField(fields, 'Name'), unitHash: Buffer.from(bytes).toString('hex') }
}

/** Value of `unit/<hash>`: `{"Raw":"<serialised unit>"}`. */
export function encodeUnitObject(text: string): string {
  return encodeGoJSON({ Raw: text })
}

/** The serialised unit in such a value; `undefined` when the text is none. */
export function decodeUnitObject(text: string): string | undefined {
  const raw = decodeObject(text)?.get('raw')
  return typeof raw === 'string' ? raw : undefined
}

/** State of a unit on one machine, as systemd reports it. */
export interface UnitState {
  readonly loadState: string
  readonly activeState: string
  readonly subState: string
  readonly machineID: string
  readonly unitHash: string
}

/** Value of `states/<name>/<machine>` and `state/<name>`; empty (nothing is written) for a unit without hash. */
export function encodeUnitState(state: UnitState): string {
  if (state.unitHash === '') return ''
  const machine = {
    ID: state.machineID,
    PublicIP: '',
    Metadata: null,
    Capabilities: null,
    Version: '',
  }
  return encodeGoJSON({
    loadState: state.loadState,
    activeState: state.activeState,
    subState: state.subState,
    machineState: state.machineID === '' ? null : machine,
    unitHash: state.unitHash,
  })
}

/** Reads a unit state; `undefined` when the text is none. */
export function decodeUnitState(text: string): UnitState | undefined {
  const fields = decodeObject(text)
  if (fields === undefined) return undefined
  return {
    loadState: stringField(fields, 'loadState'),
    activeState: stringField(fields, 'activeState'),
    subState: stringField(fields, 'subState'),
    machineID: stringField(fieldsOf(fields.get('machinestate')), 'ID'),
    unitHash: stringField(fields, 'unitHash'),
  }
}

/** What `machines/<id>/object` holds; without metadata or capabilities the member is `null`. */
export type MachineObject = Pick<Machine, 'id' | 'publicIP' | 'version'> &
  Partial<Pick<Machine, 'metadata' | 'capabilities'>>

/** `{"ID":…,"PublicIP":…,"Metadata":{sorted},"Capabilities":{sorted},"Version":…}` */
export function encodeMachine(machine: MachineObject): string {
  return encodeGoJSON({
    ID: machine.id,
    PublicIP: machine.publicIP,
    Metadata: sortedObject(machine.metadata),
    Capabilities: sortedObject(machine.capabilities),
    Version: machine.version,
  })
}

/** Reads a machine record; `undefined` when the text is none or its ID is empty. */
export function decodeMachine(text: string): Machine | undefined {
  const fields = decodeObject(text)
  const id = stringField(fields, 'ID')
  if (id === '') return undefined
  return {
    id,
    publicIP: stringField(fields, 'PublicIP'),
    metadata: mapField(fields, 'Metadata', (value) => typeof value === 'string'),
    capabilities: mapField(fields, 'Capabilities', (value) => typeof value === 'boolean'),
    version: stringField(fields, 'Version'),
  }
}

function sortedObject<T>(map: ReadonlyMap<string, T> | undefined): Record<string, T> | null {
  if (map === undefined) return null
  return Object.fromEntries([...map].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

function mapField<T>(
  fields: Fields | undefined,
  name: string,
  isWanted: (value: unknown) => value is T,
): Map<string, T> {
  const map = new Map<string, T>()
  const member = fields?.get(name.toLowerCase())
  if (typeof member !== 'object' || member === null || Array.isArray(member)) return map
  for (const [key, value] of Object.entries(member)) if (isWanted(value)) map.set(key, value)
  return map
}

/** Value of the engine's lease. */
export interface Lease {
  readonly machineID: string
  readonly version: number
}

/** `{"MachineID":…,"Version":1}` */
export function encodeLease(lease: Lease): string {
  return encodeGoJSON({ MachineID: lease.machineID, Version: lease.version })
}

/** Reads a lease; a text that is no JSON is a machine ID with version 0 (fleet before engine versions). */
export function decodeLease(text: string): Lease {
  const fields = decodeObject(text)
  if (fields === undefined) return { machineID: text, version: 0 }
  const version = fields.get('version')
  return {
    machineID: stringField(fields, 'MachineID'),
    version: typeof version === 'number' ? version : 0,
  }
}
