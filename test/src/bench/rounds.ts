/** Rounds from 1 on, with what takes part. Whoever comes second finds a warmer machine: each round changes the order. */
export function roundsOf<T>(parts: readonly T[], rounds: number): (readonly [number, T[]])[] {
  return Array.from({ length: rounds }, (_, n) => [
    n + 1,
    n % 2 === 0 ? [...parts] : parts.toReversed(),
  ])
}
