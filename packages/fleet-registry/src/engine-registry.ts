import { isKvError, type KeysApi } from '@flotilla/kv-client'
import { decodeLease, decodeMachine, encodeLease, type Lease } from './codec.ts'
import type { Keys } from './keys.ts'

/** The engine version that this registry format has. */
export const ENGINE_VERSION = 1

/** A lease that is ours: every renewal needs the index of the one before. */
export interface HeldLease {
  readonly index: number
  /** For a stolen lease: how long the old holder may still act. */
  readonly waitMs: number
}

/** What the lead engine writes: placements, its lease and the engine version (fleet registry/lease.go, engine/). */
export class EngineRegistry {
  readonly #client: KeysApi
  readonly #keys: Keys

  constructor(client: KeysApi, keys: Keys) {
    this.#client = client
    this.#keys = keys
  }

  /** Places a unit that has no machine. Gives the store's index, `undefined` when it has one already. */
  async schedule(name: string, machineID: string): Promise<number | undefined> {
    return await unless([105], this.#client.create(this.#keys.target(name), machineID))
  }

  /** Takes a unit from the machine; gone already or meanwhile elsewhere is `undefined`. */
  async unschedule(name: string, machineID: string): Promise<number | undefined> {
    const key = this.#keys.target(name)
    return await unless([100, 101], this.#client.delete(key, { prevValue: machineID }))
  }

  /** IDs of the machines that have a live record, read from the store itself. */
  async liveMachines(): Promise<string[]> {
    try {
      const options = { recursive: true, quorum: true }
      const { node } = await this.#client.get(this.#keys.machines, options)
      return (node.nodes ?? []).flatMap(({ nodes = [] }) =>
        nodes.flatMap(({ key, value }) =>
          key.endsWith('/object') ? (decodeMachine(value ?? '')?.id ?? []) : [],
        ),
      )
    } catch (error) {
      if (isKvError(error, 100)) return []
      throw error
    }
  }

  /** Takes the lease when nobody has it. */
  async acquireLease(machineID: string, ttl: number): Promise<HeldLease | undefined> {
    const value = encodeLease({ machineID, version: ENGINE_VERSION })
    const index = await unless([105], this.#client.create(this.#keys.lease, value, { ttl }))
    return index === undefined ? undefined : { index, waitMs: 0 }
  }

  /** The lease in the store with its index and the seconds it has left. */
  async readLease(): Promise<(Lease & { index: number; ttl: number }) | undefined> {
    try {
      const { node } = await this.#client.get(this.#keys.lease, { quorum: true })
      const lease = decodeLease(node.value ?? '')
      return { ...lease, index: node.modifiedIndex, ttl: node.ttl ?? 0 }
    } catch (error) {
      if (isKvError(error, 100)) return undefined
      throw error
    }
  }

  /** Takes the lease from an engine of a lower version; that one may act until its own time is over. */
  async stealLease(machineID: string, ttl: number): Promise<HeldLease | undefined> {
    const held = await this.readLease()
    if (held === undefined || held.version >= ENGINE_VERSION) return undefined
    const value = encodeLease({ machineID, version: ENGINE_VERSION })
    const options = { prevIndex: held.index, ttl: ttl + held.ttl }
    const index = await unless([100, 101], this.#client.set(this.#keys.lease, value, options))
    return index === undefined ? undefined : { index, waitMs: held.ttl * 1000 }
  }

  /** Renews the lease without waking watchers; `undefined` when it is no longer ours. */
  async renewLease(index: number, ttl: number): Promise<HeldLease | undefined> {
    const options = { prevIndex: index, prevExist: true, refresh: true, ttl }
    const renewed = await unless([100, 101], this.#client.set(this.#keys.lease, '', options))
    return renewed === undefined ? undefined : { index: renewed, waitMs: 0 }
  }

  /** Gives the lease up so that another engine can take it at once. */
  async releaseLease(index: number): Promise<void> {
    await unless([100, 101], this.#client.delete(this.#keys.lease, { prevIndex: index }))
  }

  /** Raises the engine version from what was seen (0: no key) to ours; somebody else's success counts too. */
  async raiseVersion(seen: number): Promise<void> {
    const key = this.#keys.engineVersion
    const value = String(ENGINE_VERSION)
    if (seen === 0) await unless([105], this.#client.create(key, value))
    else await unless([100, 101], this.#client.set(key, value, { prevValue: String(seen) }))
  }
}

/** The index of a write, or `undefined` when the store refused it with one of the codes. */
async function unless(
  codes: readonly number[],
  write: Promise<{ readonly node: { readonly modifiedIndex: number } }>,
): Promise<number | undefined> {
  try {
    return (await write).node.modifiedIndex
  } catch (error) {
    if (isKvError(error, ...codes)) return undefined
    throw error
  }
}
