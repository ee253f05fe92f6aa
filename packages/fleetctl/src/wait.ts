import { setTimeout as sleep } from 'node:timers/promises'
import type { JobState } from '@flotilla/fleet-registry'
import type { Client, Machine, Unit } from './client/types.ts'
import { errorText, machineLegend, machinesIfTold, type Context } from './context.ts'

/** Milliseconds of one round of `--block-attempts`. */
const ROUND_MS = 2000
/** The first looks come quickly, because most units need less than a second; then as often as the original looks. */
const FIRST_LOOKS_MS = [15, 20, 30, 40, 50, 50, 75, 75, 100, 100, 150, 200]
const LOOK_MS = 250

/** A unit did not reach a state in time; the message is the original's. */
class WaitError extends Error {
  override readonly name = 'WaitError'
}

/** Watches units on their way to a state, by asking again and again. */
export class Waiter {
  readonly #context: Context
  readonly #client: Client
  #machines: Promise<Map<string, Machine>> | undefined

  constructor(context: Context, client: Client) {
    this.#context = context
    this.#client = client
  }

  /** The unit as soon as it is in the state; without `attempts` however long that takes. Rejects with WaitError. */
  async until(name: string, state: JobState, attempts = 0): Promise<Unit> {
    const limitMs = attempts > 0 ? attempts * ROUND_MS : Infinity
    const found = await poll(limitMs, async () => {
      const unit = await this.#look(name)
      return unit !== undefined && (unit.isGlobal || unit.currentState === state) ? unit : undefined
    })
    if (found !== undefined) return found
    throw new WaitError(`timed out waiting for unit ${name} to report state ${state}`)
  }

  /** Resolves when no machine has the unit active any more; a unit that takes longer than its usual stop is given up on. */
  async untilStopped({ name, isGlobal }: Unit): Promise<void> {
    const stopped = await poll(STOP_MS_MAX, async () => {
      const unit = isGlobal ? undefined : await this.#look(name)
      const states = await this.#statesOf(name)
      const isDown = states.every(({ active }) => DOWN.has(active))
      return isDown && (isGlobal || unit?.currentState === 'loaded') ? true : undefined
    })
    if (stopped === undefined) throw new WaitError(`timed out waiting for unit ${name} to stop`)
  }

  /** An API that does not answer for a moment is asked again. */
  async #look(name: string): Promise<Unit | undefined> {
    try {
      return await this.#client.unit(name)
    } catch {
      return undefined
    }
  }

  /** Waits for several units at once and prints each as it arrives. Gives the last error, if there was one. */
  async all(
    names: readonly string[],
    state: JobState,
    attempts: number,
  ): Promise<string | undefined> {
    const errors = await Promise.all(
      names.map(async (name) => {
        try {
          const unit = await this.until(name, state, attempts)
          this.#context.print(`Unit ${name} ${state}${await this.#place(unit, state)}`)
          return undefined
        } catch (error) {
          this.#context.tell(`Error waiting for units: ${errorText(error)}`)
          return errorText(error)
        }
      }),
    )
    return errors.findLast((error) => error !== undefined)
  }

  /** ` on 11aa22bb.../10.0.0.1`; an inactive unit is nowhere. */
  async #place(unit: Unit, state: JobState): Promise<string> {
    if (unit.machineID === '' || state === 'inactive') return ''
    this.#machines ??= machinesIfTold(this.#client)
    return ` on ${machineLegend(await this.#machines, unit.machineID, false)}`
  }

  /**
   * Waits until systemd calls every unit active, at most two seconds; one that is on its way by then is good enough.
   * Gives the last error.
   */
  async allActive(names: readonly string[]): Promise<string | undefined> {
    const errors = await Promise.all(names.map(async (name) => await this.#active(name)))
    return errors.findLast((error) => error !== undefined)
  }

  async #active(name: string): Promise<string | undefined> {
    let isStarting = false
    const found = await poll(ROUND_MS, async () => {
      const states = await this.#statesOf(name)
      isStarting = states.some(({ active }) => STARTING.has(active))
      const isActive = states.some(({ active, load }) => active === 'active' && load === 'loaded')
      return isActive ? true : undefined
    })
    if (found === true || isStarting) return undefined
    const error = `Failed to find an active unit ${name} within 2s, err: Failed to fetch states within 2s`
    this.#context.tell(`Error waiting for units: ${error}`)
    return error
  }

  async #statesOf(name: string): Promise<readonly { active: string; load: string }[]> {
    try {
      return await this.#client.statesOf(name)
    } catch {
      return []
    }
  }
}

/** Longer than systemd's default for stopping a unit. */
const STOP_MS_MAX = 100_000
const DOWN = new Set(['inactive', 'failed'])
const STARTING = new Set(['activating', 'reloading'])

/** Asks until there is an answer or the time is over. */
async function poll<T>(limitMs: number, ask: () => Promise<T | undefined>): Promise<T | undefined> {
  const end = performance.now() + limitMs
  for (let look = 0; ; look++) {
    const answer = await ask()
    if (answer !== undefined) return answer
    const leftMs = end - performance.now()
    if (leftMs <= 0) return undefined
    await sleep(Math.min(FIRST_LOOKS_MS[look] ?? LOOK_MS, leftMs))
  }
}
