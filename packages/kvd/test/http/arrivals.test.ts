import t from 'tap'
import { Arrivals } from '../../src/http/arrivals.ts'

/** One turn of the event loop: who arrives in it, and how long it takes. */
type Turn = readonly [arrivals: number, ms: number]

/** How many were served after each turn. */
function served(turns: readonly Turn[]): number[] {
  let ms = 1000
  let begun = 0
  let next: (() => void) | undefined
  const arrivals = new Arrivals({
    elapsedMs: () => ms,
    atTurnEnd: (callback) => {
      next = callback
    },
  })
  return turns.map(([count, takes]) => {
    for (let at = 0; at < count; at += 1) arrivals.add({ begin: () => void (begun += 1) })
    ms += takes
    const look = next
    next = undefined
    look?.()
    return begun
  })
}

t.test('connections of a burst are served when all of them are there', async (tt) => {
  for (const [why, turns, expected] of [
    [
      'one alone waits for a turn that brings no other',
      [
        [1, 0],
        [0, 0],
        [0, 0],
      ],
      [0, 1, 1],
    ],
    [
      'two',
      [
        [1, 0],
        [1, 0.1],
        [0, 0.1],
      ],
      [0, 0, 2],
    ],
    [
      'a burst',
      [
        [1, 0],
        [1, 0.1],
        [1, 0.1],
        [1, 0.1],
        [0, 0.5],
        [0, 0.5],
      ],
      [0, 0, 0, 0, 0, 4],
    ],
    [
      'a client that falls behind',
      [
        [4, 0],
        [0, 0.9],
        [1, 0.1],
        [0, 0.9],
        [0, 0.1],
      ],
      [0, 0, 0, 0, 5],
    ],
    [
      'a core that is lost for a moment',
      [
        [1, 0],
        [1, 9],
        [1, 0.1],
        [0, 0],
      ],
      [0, 0, 0, 3],
    ],
    [
      'others are served meanwhile',
      [
        [1, 5],
        [1, 5],
        [1, 5],
        [1, 5],
        [1, 5],
      ],
      [0, 0, 3, 3, 3],
    ],
    [
      'the next burst',
      [
        [1, 0],
        [0, 0],
        [0, 0],
        [1, 0],
        [1, 0],
        [0, 0],
      ],
      [0, 1, 1, 1, 1, 3],
    ],
  ] as const)
    tt.same(served(turns), expected, why)
})

t.test('a stream of connections that does not end is served', async (tt) => {
  const turns = Array.from({ length: 600 }, (): Turn => [1, 1])
  const counts = served(turns)
  const longest = Math.max(...counts.map((count, at) => at + 1 - count))
  tt.ok(longest <= 12, `${longest} turns of 1 ms`)
  tt.ok((counts.at(-1) ?? 0) >= 580)
})
