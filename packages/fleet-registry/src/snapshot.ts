import type { KvNode, KvResponse } from '@flotilla/kv-client'
import {
  decodeJobObject,
  decodeLease,
  decodeMachine,
  decodeUnitObject,
  decodeUnitState,
  type Lease,
  type UnitState,
} from './codec.ts'
import { mergeMetadata, type Machine } from './machine.ts'
import { readRequirements, type Requirements } from './requirements.ts'
import { isJobState, parseUnitFile, type JobState, type UnitFile } from './unit.ts'

/** A unit of the cluster with everything that engine and agents decide by. */
export interface Job {
  readonly name: string
  readonly file: UnitFile
  readonly requirements: Requirements
  readonly targetState: JobState
  /** Machine ID the unit is scheduled to, empty when it is not. */
  readonly target: string
}

/** What changed: one part of the registry, or everything (`all`) after a fresh read. */
export type Change =
  | { readonly type: 'all' }
  | { readonly type: 'job' | 'unit' | 'state' | 'machine' | 'api'; readonly name: string }
  | { readonly type: 'lease' | 'version' }

/** The engine's lease as it stands in the store. */
export interface LeaseRecord extends Lease {
  readonly modifiedIndex: number
}

interface JobRecord {
  object?: { readonly name: string; readonly unitHash: string }
  targetState?: string
  target?: string
  jobState?: string
}

interface MachineRecord {
  object?: Machine
  readonly overlay: Map<string, string>
}

/**
 * Copy of a registry in memory: `load` takes a recursive read of the prefix, `apply` the events after it. No I/O.
 * What cannot be read (a unit without file, an unknown target state) is left out, as fleet's own lists do.
 */
export class Snapshot {
  readonly #depth: number
  readonly #jobs = new Map<string, JobRecord>()
  readonly #files = new Map<string, UnitFile | undefined>()
  readonly #states = new Map<string, Map<string, UnitState>>()
  readonly #machines = new Map<string, MachineRecord>()
  readonly #api = new Map<string, string>()
  readonly #departed = new Set<string>()
  readonly #views = new Map<string, Job>()
  #lease: LeaseRecord | undefined
  #engineVersion = 0
  #index = 0
  #loadedIndex = 0

  /** `prefix` as `Keys.prefix` gives it. */
  constructor(prefix: string) {
    this.#depth = prefix.split('/').length
  }

  /** The store's index up to which this copy is complete. */
  get index(): number {
    return this.#index
  }

  get lease(): LeaseRecord | undefined {
    return this.#lease
  }

  /** 0 when the key is missing or no number. */
  get engineVersion(): number {
    return this.#engineVersion
  }

  /** Replaces everything by the tree below the prefix (`undefined`: there is none) as of `index`. */
  load(root: KvNode | undefined, index: number): Change {
    this.#removeArea(undefined)
    if (root !== undefined) this.#loadNode(root)
    this.#index = index
    this.#loadedIndex = index
    return { type: 'all' }
  }

  #loadNode(node: KvNode): void {
    if (node.value !== undefined && node.dir !== true) this.#set(this.#path(node), node)
    for (const child of node.nodes ?? []) this.#loadNode(child)
  }

  #path(node: KvNode): string[] {
    return node.key.split('/').slice(this.#depth)
  }

  /**
   * Applies one event of a recursive watch on the prefix; events that change nothing here give `undefined`. Those that
   * the last read has seen already are passed over: a watch may be behind it.
   */
  apply(response: KvResponse): Change | undefined {
    if (response.node.modifiedIndex <= this.#loadedIndex) return undefined
    const path = this.#path(response.node)
    this.#index = Math.max(this.#index, response.node.modifiedIndex)
    switch (response.action) {
      case 'delete':
      case 'compareAndDelete':
        return this.#remove(path, true)
      case 'expire':
        return this.#remove(path, false)
      default:
        return response.node.dir === true ? undefined : this.#set(path, response.node)
    }
  }

  #set(path: readonly string[], node: KvNode): Change | undefined {
    const [area = '', name = '', leaf = '', last = ''] = path
    const value = node.value ?? ''
    switch (area) {
      case 'job':
        return this.#setJob(name, leaf, value)
      case 'unit':
        // Files are named by their hash, so a second value is a repair by hand: units that have the first are stale.
        if (this.#files.has(name)) this.#views.clear()
        this.#files.set(name, readUnitFile(value))
        return { type: 'unit', name }
      case 'states':
        return this.#setState(name, leaf, value)
      case 'machines':
        return this.#setMachine({ id: name, leaf, key: last, value })
      case 'lease':
        this.#lease = { ...decodeLease(value), modifiedIndex: node.modifiedIndex }
        return { type: 'lease' }
      case 'engine':
        this.#engineVersion = Number.parseInt(value, 10) || 0
        return { type: 'version' }
      case 'flotilla':
        if (name !== 'api') return undefined
        this.#api.set(leaf, value)
        return { type: 'api', name: leaf }
      default:
        return undefined
    }
  }

  #setJob(name: string, leaf: string, value: string): Change | undefined {
    const record = this.#jobs.get(name) ?? {}
    this.#jobs.set(name, record)
    this.#views.delete(name)
    if (leaf === 'object') {
      const object = decodeJobObject(value)
      if (object === undefined) delete record.object
      else record.object = object
    } else if (leaf === 'target-state') record.targetState = value
    else if (leaf === 'target') record.target = value
    else if (leaf === 'job-state') record.jobState = value
    else return undefined
    return { type: 'job', name }
  }

  #setState(name: string, machineID: string, value: string): Change | undefined {
    const state = decodeUnitState(value)
    if (state === undefined) return undefined
    const states = this.#states.get(name) ?? new Map<string, UnitState>()
    this.#states.set(name, states)
    states.set(machineID, state)
    return { type: 'state', name }
  }

  #setMachine(entry: { id: string; leaf: string; key: string; value: string }): Change | undefined {
    const { id, leaf, key, value } = entry
    const record = this.#machines.get(id) ?? { overlay: new Map<string, string>() }
    this.#machines.set(id, record)
    if (leaf === 'metadata') record.overlay.set(key, value)
    else if (leaf === 'object') {
      const machine = decodeMachine(value)
      if (machine === undefined) delete record.object
      else record.object = machine
      this.#departed.delete(id)
    } else return undefined
    return { type: 'machine', name: id }
  }

  /** Removes a key or a whole directory. `isWanted` tells a deletion from an expiry. */
  #remove(path: readonly string[], isWanted: boolean): Change | undefined {
    const [area, name, leaf] = path
    if (area === undefined || name === undefined) return this.#removeArea(area)
    switch (area) {
      case 'job':
        return this.#removeJob(name, leaf)
      case 'unit':
        this.#files.delete(name)
        this.#views.clear()
        return { type: 'unit', name }
      case 'states':
        if (leaf === undefined) this.#states.delete(name)
        else this.#states.get(name)?.delete(leaf)
        return { type: 'state', name }
      case 'machines':
        return this.#removeMachine({ id: name, leaf, key: path[3], isWanted })
      case 'lease':
        this.#lease = undefined
        return { type: 'lease' }
      case 'engine':
        this.#engineVersion = 0
        return { type: 'version' }
      case 'flotilla':
        if (leaf === undefined) this.#api.clear()
        else this.#api.delete(leaf)
        return { type: 'api', name: leaf ?? '' }
      default:
        return undefined
    }
  }

  #removeJob(name: string, leaf: string | undefined): Change {
    const record = this.#jobs.get(name)
    this.#views.delete(name)
    if (leaf === undefined) this.#jobs.delete(name)
    else if (leaf === 'object') delete record?.object
    else if (leaf === 'target-state') delete record?.targetState
    else if (leaf === 'target') delete record?.target
    else if (leaf === 'job-state') delete record?.jobState
    return { type: 'job', name }
  }

  #removeMachine(entry: {
    id: string
    leaf: string | undefined
    key: string | undefined
    isWanted: boolean
  }): Change {
    const { id, leaf, key, isWanted } = entry
    const record = this.#machines.get(id)
    if (leaf === undefined) this.#machines.delete(id)
    else if (leaf === 'object') delete record?.object
    else if (key === undefined) record?.overlay.clear()
    else record?.overlay.delete(key)
    if (isWanted && leaf !== 'metadata') this.#departed.add(id)
    return { type: 'machine', name: id }
  }

  /** A top directory, or the whole prefix, was removed by hand. */
  #removeArea(area: string | undefined): Change {
    const is = (name: string): boolean => area === undefined || area === name
    if (is('job')) this.#jobs.clear()
    if (is('unit')) this.#files.clear()
    if (is('states')) this.#states.clear()
    if (is('machines')) this.#machines.clear()
    if (is('flotilla')) this.#api.clear()
    if (is('lease')) this.#lease = undefined
    if (is('engine')) this.#engineVersion = 0
    this.#views.clear()
    return { type: 'all' }
  }

  /** A unit by name; `undefined` when it is missing or cannot be read. */
  job(name: string): Job | undefined {
    const cached = this.#views.get(name)
    if (cached !== undefined) return cached
    const record = this.#jobs.get(name)
    const file = this.#files.get(record?.object?.unitHash ?? '')
    const targetState = record?.targetState ?? 'inactive'
    if (record?.object === undefined || file === undefined || !isJobState(targetState)) {
      return undefined
    }
    const job: Job = {
      name,
      file,
      requirements: readRequirements(name, file.options),
      targetState,
      target: record.target ?? '',
    }
    this.#views.set(name, job)
    return job
  }

  /** All units that can be read, by name. */
  jobs(): Job[] {
    return [...this.#jobs.keys()].toSorted().flatMap((name) => this.job(name) ?? [])
  }

  /** Whether the job directory holds anything at all, readable or not. */
  hasJob(name: string): boolean {
    return this.#jobs.get(name)?.object !== undefined
  }

  /** Machine ID in a unit's heartbeat key, empty when there is none. */
  heartbeat(name: string): string {
    return this.#jobs.get(name)?.jobState ?? ''
  }

  /** A unit's states by machine ID. */
  states(name: string): ReadonlyMap<string, UnitState> {
    return this.#states.get(name) ?? new Map()
  }

  /** Machines with a live record, by ID, with metadata set through the API laid over their own. */
  machines(): Machine[] {
    return [...this.#machines.keys()].toSorted().flatMap((id) => this.machine(id) ?? [])
  }

  /** A machine with a live record. */
  machine(id: string): Machine | undefined {
    const record = this.#machines.get(id)
    if (record?.object === undefined) return undefined
    return { ...record.object, metadata: mergeMetadata(record.object.metadata, record.overlay) }
  }

  /** Metadata set through the API for a machine, whether or not it has a live record. */
  overlay(id: string): ReadonlyMap<string, string> {
    return this.#machines.get(id)?.overlay ?? new Map()
  }

  /** Whether the machine's record was taken away on purpose (a fleetd that shut down), not lost by its TTL. */
  hasDeparted(id: string): boolean {
    return this.#departed.has(id)
  }

  /** URL of a machine's fleetd (extension), if it has announced one. */
  apiURL(id: string): string | undefined {
    return this.#api.get(id)
  }
}

/** The file in a unit object; `undefined` when it cannot be read, which hides the unit. */
export function readUnitFile(value: string): UnitFile | undefined {
  const raw = decodeUnitObject(value)
  if (raw === undefined) return undefined
  try {
    return parseUnitFile(raw)
  } catch {
    return undefined
  }
}
