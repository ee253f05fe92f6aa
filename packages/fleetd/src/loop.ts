/** Resolves after `ms`, when the signal aborts, or when what `arm` is given is called. */
export async function pause(
  ms: number,
  signal: AbortSignal,
  arm?: (wake: () => void) => void,
): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    arm?.(done)
  })
}

/** What a loop does and how it is told. */
export interface LoopOptions {
  readonly intervalMs: number
  /** One round. A rejection goes to `onError` and the loop lives on. */
  readonly pass: () => Promise<void>
  /** `failures`: how many rounds in a row have failed with this one. */
  readonly onError: (error: unknown, failures: number) => void
}

/** Runs a pass now, at every interval, and soon after each trigger; never two at once. */
export class Loop {
  readonly #options: LoopOptions
  #isTriggered = false
  #wake: (() => void) | undefined

  constructor(options: LoopOptions) {
    this.#options = options
  }

  /** Asks for a pass; many triggers before it begins are one. */
  trigger(): void {
    this.#isTriggered = true
    this.#wake?.()
  }

  /** Runs until the signal aborts; a pass that has begun is finished first. */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      this.#isTriggered = false
      try {
        await this.#options.pass()
        failures = 0
      } catch (error) {
        failures += 1
        this.#options.onError(error, failures)
        // A pass that fails at once must not spin on the triggers of others.
        await pause(Math.min(this.#options.intervalMs, ERROR_PAUSE_MS), signal)
      }
      await this.#rest(signal)
    }
  }

  async #rest(signal: AbortSignal): Promise<void> {
    if (this.#isTriggered) return
    // Not AbortSignal.any: a signal that lives long remembers all that were ever derived from it.
    await pause(this.#options.intervalMs, signal, (wake) => (this.#wake = wake))
    this.#wake = undefined
  }
}

const ERROR_PAUSE_MS = 500

/**
 * Calls `work` for every item, at most `limit` at a time; rejects with the first error after all have ended. Between
 * two items the event loop has its turn: work that computes must not make answers of the store look late.
 */
export async function eachLimit<T>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values()
  const errors: unknown[] = []
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      await new Promise(setImmediate)
      try {
        await work(item)
      } catch (error) {
        errors.push(error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker))
  if (errors.length > 0) throw errors[0]
}

/** The text of an error for a log line, with what caused it. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}
