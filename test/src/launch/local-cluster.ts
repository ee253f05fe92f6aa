import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DeadlineError, waitFor } from '../harness/deadline.ts'
import { startJanitor } from '../harness/janitor.ts'
import { descendantsOf, isAlive, signal } from '../harness/process.ts'
import type { Child } from './child.ts'
import { machinesSeenBy, unitStates } from './fleet-api.ts'
import { type LocalMachine, startKvd, startMachine } from './local-processes.ts'
import { choosePorts } from './ports.ts'

/** How the local cluster is laid out. */
export interface LocalOptions {
  /** True: the usual ports where free. False: any, so that several clusters fit on one computer. */
  readonly usualPorts: boolean
  /** fleet's agent_ttl: how long a machine may be silent before its units move. */
  readonly agentTTL: string
}

const START_MS = 20_000
const FLEETD_GRACE_MS = 10_000
const KVD_GRACE_MS = 5000
const UNITS_GRACE_MS = 10_000
/** The store's client port, its old client port, its peer port; fleet's API of each machine. */
const USUAL_PORTS = [2379, 4001, 2380, 49153, 49154, 49155]

/** One kvd and three fleetd with embedded unit managers, all of them processes of this user. */
export class LocalCluster {
  readonly directory: string
  readonly #clearUp: () => Promise<void>
  #storeURLs: readonly string[] = []
  #kvd: Child | undefined
  #machines: readonly LocalMachine[] = []
  #isClosed = false

  /** Nothing runs yet; but from here on `close` is somebody's duty. */
  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), 'flotilla-local-'))
    this.#clearUp = startJanitor({ directory: this.directory })
  }

  get storeURLs(): readonly string[] {
    return this.#storeURLs
  }

  get machines(): readonly LocalMachine[] {
    return this.#machines
  }

  get children(): readonly Child[] {
    const fleetds = this.#machines.map((machine) => machine.fleetd)
    return this.#kvd === undefined ? fleetds : [this.#kvd, ...fleetds]
  }

  /**
   * Starts the store, and the machines once it answers: a fleetd that meets no store waits a second before
   * it tries again. Whether the machines have met is what `untilJoined` tells.
   */
  async start({ usualPorts, agentTTL }: LocalOptions): Promise<void> {
    const ports = await choosePorts(USUAL_PORTS.map((port) => (usualPorts ? port : 0)))
    const [client = '', legacy = '', peer = '', ...fleet] = ports.map(
      (port) => `http://127.0.0.1:${port}`,
    )
    // Whatever began from here on would outlive the end that has come meanwhile.
    if (this.#isClosed) return
    const storeURLs = [client, legacy]
    this.#storeURLs = storeURLs
    this.#kvd = startKvd(this.directory, { clients: storeURLs, peer })
    await Promise.race([untilAnswers(client), failure(this.#kvd)])
    if (this.#isClosed) return
    for (const [index, endpoint] of fleet.entries()) {
      const options = { number: index + 1, endpoint, storeURLs, agentTTL }
      this.#machines = [...this.#machines, startMachine(this.directory, options)]
    }
  }

  /** Waits until every machine sees every other through the store. */
  async untilJoined(): Promise<void> {
    const all = this.#machines.map((machine) => machine.machineID)
    for (const { name, endpoint } of this.#machines)
      await waitFor(
        `${name} to see all machines`,
        async () => {
          const seen = await machinesSeenBy(endpoint)
          return all.every((id) => seen.includes(id)) ? { done: true } : { seen: seen.join(' ') }
        },
        { timeoutMs: START_MS, intervalMs: 20 },
      )
  }

  /** Waits until a unit's process runs on a machine that is up, and says on which. */
  untilRunning(unit: string, timeoutMs = START_MS): Promise<LocalMachine> {
    const look = async () => {
      const up = this.#machines.filter((machine) => machine.fleetd.isRunning)
      const states = await unitStates(up[0]?.endpoint ?? '', unit)
      const running = states.filter((state) => state.subState === 'running')
      const machine = up.find(({ machineID }) =>
        running.some((state) => state.machineID === machineID),
      )
      return machine === undefined ? { seen: JSON.stringify(states) } : { done: machine }
    }
    return waitFor(`${unit} to run`, look, { timeoutMs, intervalMs: 20 })
  }

  /** Stops the machines, which stop their units; then the store; then removes every file. */
  async close(): Promise<void> {
    this.#isClosed = true
    const units = descendantsOf(this.#machines.map(({ fleetd }) => fleetd.pid))
    // Without the store a machine has nobody to take leave of, and would wait for it in vain.
    if (this.#kvd?.isRunning !== true) this.kill()
    await Promise.all(this.#machines.map(({ fleetd }) => fleetd.stop(FLEETD_GRACE_MS)))
    await this.#kvd?.stop(KVD_GRACE_MS)
    await untilEnded(units)
    await this.#clearUp()
  }

  /** Kills everything where it stands; files are removed by what `close` left to do. */
  kill(): void {
    for (const child of this.children) child.kill()
  }
}

async function untilAnswers(storeURL: string): Promise<void> {
  const look = async () => {
    const { ok, status } = await fetch(`${storeURL}/version`)
    return ok ? { done: undefined } : { seen: String(status) }
  }
  await waitFor('the store to answer', look, { timeoutMs: START_MS, intervalMs: 20 })
}

/** Rejects, with its last words, when the process ends without having been asked to; never resolves. */
export async function failure(child: Child): Promise<never> {
  const how = await child.ended
  if (child.isStopping) return new Promise(() => undefined)
  throw new Error(`${child.name} ended (${how}); it said:\n${child.lastWords}`)
}

/** What fleetd started ends with it; what does not do so in time is killed. */
async function untilEnded(processes: readonly number[]): Promise<void> {
  const look = () => {
    const left = processes.filter(isAlive)
    return left.length === 0 ? { done: true } : { seen: left.join(' ') }
  }
  try {
    await waitFor('units to end', look, { timeoutMs: UNITS_GRACE_MS, intervalMs: 20 })
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error
    for (const pid of processes.filter(isAlive)) signal(pid, 'SIGKILL')
  }
}
