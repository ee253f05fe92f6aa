import type { UnitOption } from '@flotilla/systemd'
import { isKvError, type KeysApi, type KvNode } from '@flotilla/kv-client'
import {
  decodeJobObject,
  decodeMachine,
  decodeUnitState,
  encodeJobObject,
  encodeUnitObject,
  type UnitState,
} from './codec.ts'
import { isKeyElement, type Keys } from './keys.ts'
import { mergeMetadata, type Machine } from './machine.ts'
import { readUnitFile } from './snapshot.ts'
import { currentState, isJobState, unitFileOf, type JobState, type UnitFile } from './unit.ts'
import { readRequirements } from './requirements.ts'

/** A unit as the API shows it. */
export interface Unit {
  readonly name: string
  readonly file: UnitFile
  readonly isGlobal: boolean
  readonly targetState: JobState
  /** Where it is scheduled and how far it has come; of no meaning for global units. */
  readonly currentState: JobState
  readonly target: string
}

/** A unit's state on one machine, with the unit's name. */
export interface NamedUnitState extends UnitState {
  readonly name: string
}

/** A stored unit that cannot be read: its file is missing or broken, or its target state is unknown. */
export class UnreadableUnitError extends Error {
  override readonly name = 'UnreadableUnitError'
  readonly code = 'UNIT_UNREADABLE'
}

/** More missing unit files than this are fetched with one recursive read. */
const SINGLE_READS_MAX = 8

/** Remembered files that the last list did not need; beyond that they are dropped. */
const SPARE_FILES_MAX = 1000

/**
 * Units, their states and machines, read from the store at every call (linearised, so that any machine of the cluster
 * shows the same), and changed as fleet's API server changes them. Unit files are remembered: their key is their hash.
 */
export class UnitRegistry {
  readonly #client: KeysApi
  readonly #keys: Keys
  readonly #files = new Map<string, UnitFile>()

  constructor(client: KeysApi, keys: Keys) {
    this.#client = client
    this.#keys = keys
  }

  /** All units by name; those that cannot be read are left out. */
  async units(): Promise<Unit[]> {
    const [jobs, states] = await Promise.all([
      this.#read(this.#keys.jobs),
      this.#read(this.#keys.allStates),
    ])
    const records = (jobs?.nodes ?? []).map(jobRecord).filter((record) => record.hash !== '')
    const files = await this.#filesOf(new Set(records.map((record) => record.hash)))
    this.#forgetOthers(files)
    const reported = new Map((states?.nodes ?? []).map((node) => [lastOf(node.key), node]))
    return records
      .flatMap((record) => unitOf(record, files.get(record.hash), reported.get(record.name)) ?? [])
      .toSorted((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** One unit; `undefined` when there is none. Throws UnreadableUnitError. */
  async unit(name: string): Promise<Unit | undefined> {
    if (!isKeyElement(name)) return undefined
    const [job, states] = await Promise.all([
      this.#read(this.#keys.job(name)),
      this.#read(this.#keys.states(name)),
    ])
    if (job === undefined) return undefined
    const record = jobRecord(job)
    if (record.hash === '') return undefined
    const files = await this.#filesOf(new Set([record.hash]))
    const unit = unitOf(record, files.get(record.hash), states)
    if (unit === undefined) throw new UnreadableUnitError(`unit ${name} cannot be read`)
    return unit
  }

  /** Files by hash, without those that are missing or cannot be read. What is known is taken before anything is awaited. */
  async #filesOf(hashes: ReadonlySet<string>): Promise<Map<string, UnitFile>> {
    const files = new Map<string, UnitFile>()
    const missing: string[] = []
    for (const hash of hashes) {
      const known = this.#files.get(hash)
      if (known === undefined) missing.push(hash)
      else files.set(hash, known)
    }
    for (const node of await this.#readFiles(missing)) {
      const [hash, file] = [lastOf(node.key), readUnitFile(node.value ?? '')]
      if (file === undefined) continue
      this.#files.set(hash, file)
      if (hashes.has(hash)) files.set(hash, file)
    }
    return files
  }

  async #readFiles(hashes: readonly string[]): Promise<readonly KvNode[]> {
    if (hashes.length > SINGLE_READS_MAX)
      return (await this.#read(this.#keys.unitFiles))?.nodes ?? []
    const nodes = await Promise.all(hashes.map((hash) => this.#read(this.#keys.unitFile(hash))))
    return nodes.filter((node) => node !== undefined)
  }

  /** Only a list of all units knows which files nobody needs any more. */
  #forgetOthers(needed: ReadonlyMap<string, UnitFile>): void {
    if (this.#files.size <= needed.size + SPARE_FILES_MAX) return
    for (const hash of this.#files.keys()) if (!needed.has(hash)) this.#files.delete(hash)
  }

  /** Stores a unit file and points the unit at it; an existing unit of that name is replaced. */
  async putUnit(
    name: string,
    options: readonly UnitOption[],
    targetState: JobState,
  ): Promise<void> {
    const file = unitFileOf(options)
    try {
      await this.#client.create(this.#keys.unitFile(file.hash), encodeUnitObject(file.text))
    } catch (error) {
      if (!isKvError(error, 105)) throw error
    }
    const object = encodeJobObject({ name, unitHash: file.hash })
    await this.#client.set(this.#keys.jobObject(name), object)
    await this.setTargetState(name, targetState)
  }

  async setTargetState(name: string, state: JobState): Promise<void> {
    await this.#client.set(this.#keys.targetState(name), state)
  }

  /** Removes a unit, not its file. False when there was none. */
  async destroyUnit(name: string): Promise<boolean> {
    if (!isKeyElement(name)) return false
    try {
      await this.#client.delete(this.#keys.job(name), { recursive: true })
      return true
    } catch (error) {
      if (isKvError(error, 100)) return false
      throw error
    }
  }

  /** All unit states, by unit name and machine ID. */
  async unitStates(): Promise<NamedUnitState[]> {
    const root = await this.#read(this.#keys.allStates)
    return (root?.nodes ?? []).flatMap(namedStates).toSorted(byNameAndMachine)
  }

  /** The states of one unit, by machine ID. */
  async statesOf(name: string): Promise<NamedUnitState[]> {
    if (!isKeyElement(name)) return []
    const node = await this.#read(this.#keys.states(name))
    return node === undefined ? [] : namedStates(node).toSorted(byNameAndMachine)
  }

  /** Machines with a live record, by ID, with metadata set through the API laid over their own. */
  async machines(): Promise<Machine[]> {
    const root = await this.#read(this.#keys.machines)
    return (root?.nodes ?? [])
      .flatMap((node) => machineOf(node) ?? [])
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
  }

  /** Sets a metadata key of a machine; an empty value hides the key. The machine need not exist. */
  async setMetadata(machineID: string, key: string, value: string): Promise<void> {
    await this.#client.set(this.#keys.metadata(machineID, key), value)
  }

  /** URL of a machine's fleetd (extension); `undefined` when it has announced none. */
  async apiURL(machineID: string): Promise<string | undefined> {
    return (await this.#read(this.#keys.apiURL(machineID)))?.value
  }

  async #read(key: string): Promise<KvNode | undefined> {
    try {
      return (await this.#client.get(key, { recursive: true, sorted: true, quorum: true })).node
    } catch (error) {
      if (isKvError(error, 100)) return undefined
      throw error
    }
  }
}

/** `undefined` when the unit cannot be read. */
function unitOf(
  record: JobRecord,
  file: UnitFile | undefined,
  states: KvNode | undefined,
): Unit | undefined {
  if (file === undefined || !isJobState(record.targetState)) return undefined
  const hasState = (states?.nodes ?? []).some((node) => lastOf(node.key) === record.target)
  return {
    name: record.name,
    file,
    isGlobal: readRequirements(record.name, file.options).global,
    targetState: record.targetState,
    currentState: currentState({ ...record, hasState }),
    target: record.target,
  }
}

interface JobRecord {
  readonly name: string
  readonly hash: string
  readonly targetState: string
  readonly target: string
  readonly heartbeat: string
}

function jobRecord(node: KvNode): JobRecord {
  const leaves = new Map((node.nodes ?? []).map((leaf) => [lastOf(leaf.key), leaf.value ?? '']))
  return {
    name: lastOf(node.key),
    hash: decodeJobObject(leaves.get('object') ?? '')?.unitHash ?? '',
    targetState: leaves.get('target-state') ?? 'inactive',
    target: leaves.get('target') ?? '',
    heartbeat: leaves.get('job-state') ?? '',
  }
}

function namedStates(node: KvNode): NamedUnitState[] {
  const name = lastOf(node.key)
  return (node.nodes ?? []).flatMap((leaf) => {
    const state = decodeUnitState(leaf.value ?? '')
    return state === undefined ? [] : [{ ...state, name, machineID: lastOf(leaf.key) }]
  })
}

function byNameAndMachine(a: NamedUnitState, b: NamedUnitState): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1
  return a.machineID < b.machineID ? -1 : 1
}

function machineOf(node: KvNode): Machine | undefined {
  const children = new Map((node.nodes ?? []).map((child) => [lastOf(child.key), child]))
  const machine = decodeMachine(children.get('object')?.value ?? '')
  if (machine === undefined) return undefined
  const keys = children.get('metadata')?.nodes ?? []
  const overlay = new Map(keys.map((key) => [lastOf(key.key), key.value ?? '']))
  return { ...machine, metadata: mergeMetadata(machine.metadata, overlay) }
}

function lastOf(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1)
}
