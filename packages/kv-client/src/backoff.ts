export interface BackoffLimits {
  readonly minMs: number
  readonly maxMs: number
}

/**
 * The wait before try number `failures` (1 is the first repetition): doubles from `minMs` to `maxMs`;
 * half of it is chance, so that clients cut off together do not come back together.
 */
export function backoffMs(failures: number, limits: BackoffLimits, random: () => number): number {
  const full = Math.min(limits.maxMs, limits.minMs * 2 ** Math.min(failures - 1, 30))
  return full / 2 + (full / 2) * random()
}

/** Resolves after the time or as soon as the signal is aborted. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve()
    const done = (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
