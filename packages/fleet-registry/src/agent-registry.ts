import { isKvError, type KeysApi } from '@flotilla/kv-client'
import { encodeMachine, encodeUnitState, type MachineObject, type UnitState } from './codec.ts'
import type { Keys } from './keys.ts'

/** Error code of a key that exists already. */
const EXISTS = 105

/** What a machine writes about itself: its record, the states of its units, their heartbeats. TTLs are seconds. */
export class AgentRegistry {
  readonly #client: KeysApi
  readonly #keys: Keys

  constructor(client: KeysApi, keys: Keys) {
    this.#client = client
    this.#keys = keys
  }

  /** Creates the machine's record; gives the record that is there already, if there is one. */
  async register(machine: MachineObject, ttl: number): Promise<string | undefined> {
    const key = this.#keys.machineObject(machine.id)
    try {
      await this.#client.create(key, encodeMachine(machine), { ttl })
      return undefined
    } catch (error) {
      if (!isKvError(error, EXISTS)) throw error
      return (await this.#client.get(key, { quorum: true })).node.value ?? ''
    }
  }

  /** Writes the machine's record, whether or not there is one. */
  async putMachine(machine: MachineObject, ttl: number): Promise<void> {
    await this.#client.set(this.#keys.machineObject(machine.id), encodeMachine(machine), { ttl })
  }

  /** Lets the record live on, without waking watchers. False when it is gone. */
  async refreshMachine(machineID: string, ttl: number): Promise<boolean> {
    return await this.#refresh(this.#keys.machineObject(machineID), ttl)
  }

  /** Takes the machine out of the cluster; its metadata set through the API stays. */
  async removeMachine(machineID: string): Promise<void> {
    await this.#delete(this.#keys.machineObject(machineID))
    await this.#delete(this.#keys.apiURL(machineID))
  }

  async putApiURL(machineID: string, url: string, ttl: number): Promise<void> {
    await this.#client.set(this.#keys.apiURL(machineID), url, { ttl })
  }

  async refreshApiURL(machineID: string, ttl: number): Promise<boolean> {
    return await this.#refresh(this.#keys.apiURL(machineID), ttl)
  }

  /** Publishes a unit's state under both keys; nothing is written for a unit without hash. */
  async putState(name: string, state: UnitState, ttl: number): Promise<void> {
    const value = encodeUnitState(state)
    if (value === '' || state.machineID === '') return
    await Promise.all([
      this.#client.set(this.#keys.state(name, state.machineID), value, { ttl }),
      this.#client.set(this.#keys.legacyState(name), value, { ttl }),
    ])
  }

  /** Lets a published state live on. False when one of the keys is gone and it must be published anew. */
  async refreshState(name: string, machineID: string, ttl: number): Promise<boolean> {
    const kept = await Promise.all([
      this.#refresh(this.#keys.state(name, machineID), ttl),
      this.#refresh(this.#keys.legacyState(name), ttl),
    ])
    return kept.every(Boolean)
  }

  /** Removes what this machine published of a unit; what other machines say about it stays. */
  async removeState(name: string, state: UnitState): Promise<void> {
    await this.#delete(this.#keys.state(name, state.machineID))
    // The legacy key belongs to whoever wrote last: it goes only when that was this machine.
    const value = encodeUnitState(state)
    await this.#delete(this.#keys.legacyState(name), { prevValue: value })
    await this.#delete(this.#keys.states(name), { dir: true })
  }

  /** Says that this machine has started the unit. */
  async putHeartbeat(name: string, machineID: string, ttl: number): Promise<void> {
    await this.#client.set(this.#keys.jobState(name), machineID, { ttl })
  }

  /** Lets the heartbeat live on, whosever it is; a destroyed unit does not come back by it. False when the key is gone. */
  async refreshHeartbeat(name: string, ttl: number): Promise<boolean> {
    return await this.#refresh(this.#keys.jobState(name), ttl)
  }

  /** Takes this machine's heartbeat back; that of the machine to which the unit has moved stays. */
  async removeHeartbeat(name: string, machineID: string): Promise<void> {
    await this.#delete(this.#keys.jobState(name), { prevValue: machineID })
  }

  async #refresh(key: string, ttl: number): Promise<boolean> {
    try {
      await this.#client.set(key, '', { refresh: true, prevExist: true, ttl })
      return true
    } catch (error) {
      if (isKvError(error, 100)) return false
      throw error
    }
  }

  /** Missing keys, other people's values and directories in use are left alone. */
  async #delete(key: string, options: { prevValue?: string; dir?: boolean } = {}): Promise<void> {
    try {
      await this.#client.delete(key, options)
    } catch (error) {
      if (!isKvError(error, 100, 101, 108)) throw error
    }
  }
}
