import { setTimeout as sleep } from 'node:timers/promises'

/** One look at the world: either the wait is over with a value, or what there was to see instead. */
export type Look<T> = { readonly done: T } | { readonly seen: string }

/** The world did not become as expected in time; the message says what was last seen. */
export class DeadlineError extends Error {
  override readonly name = 'DeadlineError'
  readonly seen: string

  constructor(what: string, timeoutMs: number, seen: string) {
    super(`${what}: not within ${timeoutMs} ms; last seen: ${seen || '(nothing)'}`)
    this.seen = seen
  }
}

/** Bounds of a wait, both in milliseconds. */
export interface Patience {
  readonly timeoutMs?: number
  readonly intervalMs?: number
}

/**
 * Looks again and again until `look` says done. A look that throws counts as "seen: the error",
 * because things that start are unreachable first.
 */
export async function waitFor<T>(
  what: string,
  look: () => Promise<Look<T>> | Look<T>,
  patience: Patience = {},
): Promise<T> {
  const { timeoutMs = 30_000, intervalMs = 50 } = patience
  const end = performance.now() + timeoutMs
  let seen = ''
  do {
    const found = await glance(look)
    if ('done' in found) return found.done
    seen = found.seen
    await sleep(intervalMs)
  } while (performance.now() < end)
  throw new DeadlineError(what, timeoutMs, seen)
}

async function glance<T>(look: () => Promise<Look<T>> | Look<T>): Promise<Look<T>> {
  try {
    return await look()
  } catch (error) {
    return { seen: error instanceof Error ? error.message : String(error) }
  }
}
