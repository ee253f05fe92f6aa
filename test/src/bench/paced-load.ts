import { Agent } from 'node:http'
import { send } from './requests.ts'

/** A PUT of the load: when it was due, on the clock of `performance.now`, and how long its answer took from then. */
export interface PacedSample {
  readonly dueMs: number
  readonly tookMs: number
}

export interface PacedLoadOptions {
  readonly port: number
  readonly perSecond: number
  /** Keys of the load, one after the other, over and over. */
  readonly keys: readonly string[]
  readonly valueBytes: number
}

/** Times of a process that does little else are kept this well. */
const beatMs = 2
const connections = 64
/** Far beyond what a server that keeps up ever owes. */
const owedMax = 20_000

/**
 * PUTs at a fixed rate, whatever the answers do: time counts from when a PUT was due, so that a stall
 * counts for all that would have been sent during it.
 */
export class PacedLoad {
  readonly #options: PacedLoadOptions
  readonly #agent = new Agent({ keepAlive: true, maxSockets: connections })
  readonly #startMs = performance.now()
  readonly #timer: NodeJS.Timeout
  readonly #samples: PacedSample[] = []
  readonly #underWay = new Set<Promise<void>>()
  #sent = 0
  #failures: string[] = []

  constructor(options: PacedLoadOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#beat(), beatMs)
  }

  #beat(): void {
    const { perSecond } = this.#options
    const due = ((performance.now() - this.#startMs) / 1000) * perSecond
    for (; this.#sent < due && this.#underWay.size < owedMax; this.#sent += 1) {
      const put = this.#put(this.#sent, this.#startMs + (this.#sent * 1000) / perSecond)
      this.#underWay.add(put)
      void put.finally(() => this.#underWay.delete(put))
    }
  }

  async #put(n: number, dueMs: number): Promise<void> {
    const { port, keys, valueBytes } = this.#options
    const path = `/v2/keys${keys[n % keys.length] ?? ''}`
    const form = `value=${String(n).padStart(valueBytes, '0')}`
    try {
      const answer = await send({ agent: this.#agent, port, method: 'PUT', path, form })
      if (answer.status >= 400) this.#failures.push(`${answer.status} ${answer.body.trim()}`)
      else this.#samples.push({ dueMs, tookMs: performance.now() - dueMs })
    } catch (error) {
      this.#failures.push(error instanceof Error ? error.message : String(error))
    }
  }

  /** What went wrong so far, one line each. */
  get failures(): readonly string[] {
    return this.#failures
  }

  /** Milliseconds of those PUTs that were due from `fromMs` on and before `toMs`, on the clock of `performance.now`. */
  times(fromMs: number, toMs: number): number[] {
    return this.#samples
      .filter(({ dueMs }) => dueMs >= fromMs && dueMs < toMs)
      .map(({ tookMs }) => tookMs)
  }

  /** Sends nothing more and waits for the answers. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#underWay)
    this.#agent.destroy()
  }
}
