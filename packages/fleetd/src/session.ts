import { setMaxListeners } from 'node:events'
import { endsWithin, type Logger } from '@flotilla/daemon'
import {
  AgentRegistry,
  EngineRegistry,
  FLEET_VERSION,
  registryKeys,
  RegistryCache,
  UnitRegistry,
  type Change,
  type MachineObject,
} from '@flotilla/fleet-registry'
import type { UnitManager } from '@flotilla/systemd'
import { AgentRunner } from './agent-runner.ts'
import { steadyClock } from './clock.ts'
import type { Config } from './config.ts'
import { Contact } from './contact.ts'
import { EngineRunner } from './engine-runner.ts'
import { detectPublicIP } from './identity.ts'
import { errorText, Loop, pause } from './loop.ts'
import { Membership } from './membership.ts'
import type { Metrics } from './metrics.ts'
import { Publisher } from './publisher.ts'
import type { Store } from './store.ts'

/** What outlives a session: a reload of the configuration begins a new one with the same units and listeners. */
export interface SessionOptions {
  readonly config: Config
  readonly machineID: string
  readonly client: Store
  readonly manager: UnitManager
  readonly metrics: Metrics
  readonly log: Logger
  /** URL that other fleetds use for this one, empty without a TCP listener. */
  readonly apiURL: (publicIP: string) => string
  /** The machine's record is ours whatever it says: the session before this one wrote it. */
  readonly isReload: boolean
}

/** How often the agent looks at its units without being told (fleet agent/reconcile.go). */
const AGENT_INTERVAL_MS = 5000
const ADDRESS_INTERVAL_MS = 60_000
const STOP_MS_MAX = 60_000
const UNITS_DOWN_MS_MAX = 20_000
const SETTLE_MS_MAX = 5000
const RETRY_MS = 1000

/** A fleetd's life in the cluster under one configuration: registration, engine, agent, published states. */
export class Session {
  readonly units: UnitRegistry
  readonly cache: RegistryCache
  readonly agent: AgentRunner
  readonly publisher: Publisher
  readonly #options: SessionOptions
  readonly #membership: Membership
  readonly #engine: EngineRunner
  readonly #engineLoop: Loop
  readonly #agentLoop: Loop
  readonly #loops = new AbortController()
  readonly #writes = new AbortController()
  readonly #running: Promise<unknown>[] = []
  #publishing: Promise<void> | undefined
  #publicIP: string

  constructor(options: SessionOptions) {
    const { config, machineID, client, manager, log } = options
    const keys = registryKeys(config.keyPrefix)
    const now = steadyClock()
    const ttlSeconds = config.agentTTLSeconds
    // Beats are half a TTL apart; a longer gap means that nobody was looking.
    const contact = new Contact(ttlSeconds * 750)
    const registry = new AgentRegistry(client, keys)
    this.#options = options
    // Each unit whose write has to wait listens; Node takes more than ten for a leak and says so in the log.
    setMaxListeners(0, this.#loops.signal, this.#writes.signal)
    this.#publicIP = config.publicIP
    this.units = new UnitRegistry(client, keys)
    this.cache = new RegistryCache(client, keys)
    const { snapshot } = this.cache
    this.publisher = new Publisher({ registry, machineID, ttlSeconds, log, snapshot })
    const machine = { id: machineID, metadata: config.metadata }
    const [cache, publisher] = [this.cache, this.publisher]
    this.agent = new AgentRunner({ cache, manager, publisher, machine: () => machine, log })
    this.#engine = new EngineRunner({
      cache,
      registry: new EngineRegistry(client, keys),
      machineID,
      intervalMs: config.engineIntervalMs,
      agentTTLSeconds: ttlSeconds,
      contact,
      metrics: options.metrics,
      log,
      now,
      date: () => Date.now(),
      signal: this.#loops.signal,
    })
    this.#membership = new Membership({
      registry,
      describe: () => this.#describe(),
      apiURL: () => options.apiURL(this.#publicIP),
      ttlSeconds,
      contact,
      log,
      now,
      onReturn: () => this.#returned(),
    })
    this.#engineLoop = this.#loop('engine', config.engineIntervalMs, () => this.#engine.pass())
    this.#agentLoop = this.#loop('agent', AGENT_INTERVAL_MS, () => this.agent.pass())
  }

  /** Whether the API can answer: registered, and the store known. */
  get isReady(): boolean {
    return this.#membership.isRegistered && !this.#loops.signal.aborted
  }

  get machineID(): string {
    return this.#options.machineID
  }

  /** Joins the cluster and begins to work; resolves when the machine is registered or the session is over. */
  async start(): Promise<void> {
    const { signal } = this.#loops
    const { config, isReload, manager } = this.#options
    await this.#detectAddress()
    await this.#load()
    await this.#membership.join(signal, isReload)
    // Joining may have had to wait; by what the registry was before that no unit may be started or stopped.
    await this.#load()
    if (signal.aborted) return
    this.cache.onChange((change) => this.#changed(change))
    const unsubscribe = manager.onChange((name) => this.agent.noticed(name))
    signal.addEventListener('abort', unsubscribe, { once: true })
    this.#publishing = this.publisher.run(this.#writes.signal)
    this.#running.push(
      this.#membership.run(signal),
      config.disableWatches ? this.#poll() : this.#follow(),
      this.#agentLoop.run(signal),
      this.#watchAddress(),
    )
    if (!config.disableEngine) this.#running.push(this.#engineLoop.run(signal))
  }

  /** The first read of the registry, tried until the store answers. */
  async #load(): Promise<void> {
    const { signal } = this.#loops
    while (!signal.aborted) {
      try {
        return await this.cache.load(signal)
      } catch (error) {
        if (signal.aborted) return
        this.#options.log.warn('registry: cannot be read', { error: errorText(error) })
        await pause(RETRY_MS, signal)
      }
    }
  }

  async #follow(): Promise<void> {
    const { signal } = this.#loops
    while (!signal.aborted) {
      try {
        await this.cache.follow(signal)
      } catch (error) {
        if (signal.aborted) return
        this.#options.log.error('registry: watch ended', { error: errorText(error) })
        await pause(RETRY_MS, signal)
        await this.#load()
      }
    }
  }

  /** Without watches the registry is read at the engine's pace. */
  async #poll(): Promise<void> {
    const { signal } = this.#loops
    const { engineIntervalMs } = this.#options.config
    await this.#loop('registry', engineIntervalMs, () => this.cache.load(signal)).run(signal)
  }

  #loop(name: string, intervalMs: number, pass: () => Promise<void>): Loop {
    const onError = (error: unknown, failures: number): void => {
      if (this.#loops.signal.aborted) return
      // An outage is one event, however many rounds it lasts.
      const level = failures === 1 ? 'warn' : 'debug'
      this.#options.log[level](`${name}: pass failed`, { error: errorText(error), failures })
    }
    return new Loop({ intervalMs, pass, onError })
  }

  #changed(change: Change): void {
    if (change.type !== 'state' && change.type !== 'api') this.#engineLoop.trigger()
    this.publisher.noticed(change)
    if (this.agent.concerns(change)) this.#agentLoop.trigger()
  }

  /** The store had forgotten this machine: what it says about its units is gone as well. */
  #returned(): void {
    this.publisher.republish()
    this.#agentLoop.trigger()
  }

  #describe(): MachineObject {
    const { config, machineID } = this.#options
    return {
      id: machineID,
      publicIP: this.#publicIP,
      metadata: config.metadata,
      capabilities: new Map([
        ['DISABLE_ENGINE', config.disableEngine],
        ['GRPC', false],
      ]),
      version: FLEET_VERSION,
    }
  }

  async #detectAddress(): Promise<void> {
    if (this.#options.config.publicIP === '') this.#publicIP = await detectPublicIP()
  }

  async #watchAddress(): Promise<void> {
    const { signal } = this.#loops
    for (;;) {
      await pause(ADDRESS_INTERVAL_MS, signal)
      if (signal.aborted) return
      await this.#detectAddress()
    }
  }

  /**
   * Ends the session. With `purge` the machine leaves the cluster: units are stopped and unloaded, states and record
   * removed; without it units and registry stay as they are for the next session.
   */
  async stop(purge: boolean): Promise<void> {
    const { log } = this.#options
    this.#loops.abort()
    if (!(await endsWithin(Promise.all(this.#running), STOP_MS_MAX))) {
      log.error('Timed out waiting for server to shut down')
    }
    if (purge) await this.#try('purge', this.agent.purge(UNITS_DOWN_MS_MAX))
    await endsWithin(this.publisher.settled(), SETTLE_MS_MAX)
    await this.#try('lease', this.#engine.release())
    if (purge) await this.#try('machine record', this.#membership.leave())
    this.#writes.abort()
    await this.#publishing
    this.#options.client.close()
  }

  async #try(what: string, work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      this.#options.log.error(`shutdown: ${what} failed`, { error: errorText(error) })
    }
  }
}
