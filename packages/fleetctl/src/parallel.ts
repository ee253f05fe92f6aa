/** Requests under way at once when a command has many units. */
const AT_ONCE_MAX = 8

/** How one of several pieces of work ended. */
export type Outcome<R> = { readonly value: R } | { readonly error: unknown }

/** Does the work for every item, a few at a time; the outcomes are in the order of the items. Never rejects. */
export async function outcomes<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<Outcome<R>[]> {
  const done: Outcome<R>[] = []
  const queue = items.entries()
  const worker = async (): Promise<void> => {
    for (const [at, item] of queue) {
      try {
        done[at] = { value: await work(item) }
      } catch (error) {
        done[at] = { error }
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(AT_ONCE_MAX, items.length) }, worker))
  return done
}

/** The values before the first failure, and the failure. */
export function untilFailure<R>(all: readonly Outcome<R>[]): {
  readonly values: readonly R[]
  readonly failure: { readonly error: unknown } | undefined
} {
  const values: R[] = []
  for (const outcome of all) {
    if ('error' in outcome) return { values, failure: outcome }
    values.push(outcome.value)
  }
  return { values, failure: undefined }
}
