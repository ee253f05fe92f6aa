import type { Logger } from '@flotilla/daemon'
import type { AgentRegistry, MachineObject } from '@flotilla/fleet-registry'
import { decodeMachine } from '@flotilla/fleet-registry'
import type { Contact } from './contact.ts'
import { errorText, pause } from './loop.ts'

/** What keeps a machine in the cluster. */
export interface MembershipOptions {
  readonly registry: AgentRegistry
  /** The record as it should be now. */
  readonly describe: () => MachineObject
  /** URL for other fleetds; read at every beat, empty without a TCP listener. */
  readonly apiURL: () => string
  readonly ttlSeconds: number
  readonly contact: Contact
  readonly log: Logger
  readonly now: () => number
  /** The record was lost and is back: whatever else has a TTL may be lost too. */
  readonly onReturn: () => void
}

const BACKOFF_MS_MAX = 60_000

/** Registers this machine and keeps its record alive (fleet heart/monitor.go, machine/). Nothing stops when beats fail. */
export class Membership {
  readonly #options: MembershipOptions
  #written = ''
  #writtenURL = ''
  #isRegistered = false

  constructor(options: MembershipOptions) {
    this.#options = options
  }

  /** Whether the last beats reached the store. */
  get isRegistered(): boolean {
    return this.#isRegistered
  }

  /**
   * Creates the record. One that this machine left behind (same address) is taken over; a live one of another machine
   * with the same ID is waited for, with a growing pause. `isOurs`: the record is known to be this machine's.
   */
  async join(signal: AbortSignal, isOurs = false): Promise<void> {
    for (let waitMs = 1000; !signal.aborted; waitMs = Math.min(waitMs * 2, BACKOFF_MS_MAX)) {
      try {
        if (await this.#register(isOurs)) return
        this.#options.log.error('Server register machine failed: machine ID is in use', {
          retry: `${waitMs / 1000}s`,
        })
      } catch (error) {
        this.#options.contact.failed()
        waitMs = Math.min(waitMs, this.#retryMs)
        this.#options.log.error('Server register machine failed', {
          error: errorText(error),
          retry: `${waitMs / 1000}s`,
        })
      }
      await pause(waitMs, signal)
    }
  }

  async #register(isOurs: boolean): Promise<boolean> {
    const { registry, describe, ttlSeconds } = this.#options
    const machine = describe()
    const other = await registry.register(machine, ttlSeconds)
    const isForeign = other !== undefined && decodeMachine(other)?.publicIP !== machine.publicIP
    if (isForeign && !isOurs) return false
    await this.#write(machine)
    this.#succeeded()
    return true
  }

  async #write(machine: MachineObject): Promise<void> {
    const { registry, ttlSeconds, apiURL } = this.#options
    await registry.putMachine(machine, ttlSeconds)
    this.#written = fingerprint(machine)
    const url = apiURL()
    if (url !== '') await registry.putApiURL(machine.id, url, ttlSeconds)
    this.#writtenURL = url
  }

  get #retryMs(): number {
    return Math.max(100, (this.#options.ttlSeconds * 1000) / 12)
  }

  /** Beats twice per TTL; while beats fail it tries six times as often. */
  async run(signal: AbortSignal): Promise<void> {
    const beatMs = (this.#options.ttlSeconds * 1000) / 2
    let waitMs = beatMs
    let failingSince: number | undefined
    for (;;) {
      await pause(waitMs, signal)
      if (signal.aborted) return
      try {
        await this.#beat()
        if (failingSince !== undefined) this.#options.log.info('Monitor: heartbeat succeeds again')
        failingSince = undefined
        waitMs = beatMs
      } catch (error) {
        const now = this.#options.now()
        failingSince ??= now
        this.#failed(error, now - failingSince)
        waitMs = this.#retryMs
      }
    }
  }

  async #beat(): Promise<void> {
    const { registry, describe, ttlSeconds, apiURL, onReturn } = this.#options
    const machine = describe()
    const isSame = fingerprint(machine) === this.#written && apiURL() === this.#writtenURL
    const lives = isSame && (await registry.refreshMachine(machine.id, ttlSeconds))
    const hasURL =
      lives && (this.#writtenURL === '' || (await registry.refreshApiURL(machine.id, ttlSeconds)))
    if (!hasURL) await this.#write(machine)
    this.#succeeded()
    if (isSame && !lives) onReturn()
  }

  #succeeded(): void {
    this.#options.contact.succeeded(this.#options.now())
    this.#isRegistered = true
  }

  #failed(error: unknown, forMs: number): void {
    const { contact, log, ttlSeconds } = this.#options
    contact.failed()
    if (forMs === 0) log.warn('Monitor: heartbeat failed', { error: errorText(error) })
    if (this.#isRegistered && forMs >= (ttlSeconds * 1000) / 3) {
      this.#isRegistered = false
      log.error('Monitor timed out before successful heartbeat')
    }
  }

  /** Takes the machine out of the cluster. */
  async leave(): Promise<void> {
    this.#isRegistered = false
    await this.#options.registry.removeMachine(this.#options.describe().id)
  }
}

function fingerprint(machine: MachineObject): string {
  return JSON.stringify([machine.publicIP, machine.version, [...(machine.metadata ?? [])]])
}
