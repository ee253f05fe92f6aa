import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { send } from '../requests.ts'

/** A write that was acknowledged; times on the clock of `performance.now`. */
interface Acknowledged {
  /** When it was sent for the last time. */
  readonly sentMs: number
  readonly ackedMs: number
}

/** How many writes came to what. */
export interface Counts {
  readonly acknowledged: number
  /** Sent again to another member, since a connection failed. */
  readonly retried: number
  /** Refused, not answered in time, or out of members to try. */
  readonly failed: number
}

const count = 16
/** Far from what the cluster could take: what is measured is how long it takes nothing. */
const pauseMs = 20
/** kvd and etcd answer with an error after 7 s at the latest. */
const timeoutMs = 10_000
const triesMax = 200
/** Between two tries at members that do not answer. */
const retryMs = 10
const failuresKept = 100

/**
 * Clients that write one value after the other, each to the next member in turn. As clients do, they
 * try again elsewhere when a connection fails, and only then.
 */
export class Writers {
  readonly #ports: () => readonly number[]
  readonly #agent = new Agent({ keepAlive: true })
  readonly #failures: string[] = []
  readonly #loops: Promise<void>[]
  #isStopped = false
  #acknowledged = 0
  #retried = 0
  #failed = 0
  #heard: (write: Acknowledged) => void = () => undefined

  /** @param ports of those members that a client would know of, read anew for each write */
  constructor(ports: () => readonly number[]) {
    this.#ports = ports
    this.#loops = Array.from({ length: count }, async (_, n) => await this.#loop(n))
  }

  get counts(): Counts {
    return { acknowledged: this.#acknowledged, retried: this.#retried, failed: this.#failed }
  }

  /** What failed writes were told, the first ones. */
  get failures(): readonly string[] {
    return this.#failures
  }

  /**
   * The longest time without an acknowledged write from now on, in milliseconds, up to the first one
   * that was sent after `ended`.
   */
  async longestGap(ended: Promise<void>): Promise<number> {
    const fromMs = performance.now()
    const ackedMs: number[] = []
    let endMs = Infinity
    const isOver = new Promise<void>((resolve) => {
      this.#heard = (write) => {
        ackedMs.push(write.ackedMs)
        if (write.sentMs > endMs) resolve()
      }
    })
    await ended
    endMs = performance.now()
    await isOver
    this.#heard = () => undefined
    return longestGap(fromMs, ackedMs)
  }

  async #loop(writer: number): Promise<void> {
    for (let n = 0; !this.#isStopped; n += 1) {
      await this.#write(writer, n)
      await sleep(pauseMs)
    }
  }

  async #write(writer: number, n: number): Promise<void> {
    const path = `/v2/keys/failover/${writer}`
    const form = `value=${n}`
    for (let tries = 0; tries < triesMax; tries += 1) {
      const ports = this.#ports()
      const port = ports[(writer + n + tries) % ports.length] ?? 0
      const sentMs = performance.now()
      try {
        const answer = await send({
          agent: this.#agent,
          port,
          method: 'PUT',
          path,
          form,
          timeoutMs,
        })
        if (answer.status >= 400) this.#fail(`${answer.status} ${answer.body.trim()}`)
        else this.#acknowledge({ sentMs, ackedMs: performance.now() })
        return
      } catch (error) {
        if (!isConnectionError(error)) {
          this.#fail(error instanceof Error ? error.message : String(error))
          return
        }
        this.#retried += 1
        await sleep(retryMs)
      }
    }
    this.#fail(`${triesMax} connections failed`)
  }

  #acknowledge(write: Acknowledged): void {
    this.#acknowledged += 1
    this.#heard(write)
  }

  #fail(problem: string): void {
    this.#failed += 1
    if (this.#failures.length < failuresKept) this.#failures.push(problem)
  }

  /** Resolves when all writes under way are answered. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#loops)
    this.#agent.destroy()
  }
}

/** The longest time between two neighbours of `times`, which ascend, `from` being the first. */
export function longestGap(from: number, times: readonly number[]): number {
  return Math.max(...times.map((time, at) => time - (times[at - 1] ?? from)))
}

const CONNECTION_ERRORS: ReadonlySet<unknown> = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE'])

/** Nobody listens, or the other side is gone: nothing that an answer says. */
export function isConnectionError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && CONNECTION_ERRORS.has(error.code)
}
