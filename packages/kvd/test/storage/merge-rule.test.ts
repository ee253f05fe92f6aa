import t from 'tap'
import { mergeStep } from '../../src/storage/merge-rule.ts'
import { NOTHING, type Amount } from '../../src/storage/pack-table.ts'

const MIB = 1024 * 1024
const due = { rows: 30_000, bytes: 8 * MIB }

t.test('a batch merges more than it brings, but not a whole image', async (tt) => {
  for (const [why, entries, brought, waiting, rows, bytes] of [
    ['an idle member', 0, NOTHING, NOTHING, 16, MIB / 4],
    ['entries alone', 100, NOTHING, NOTHING, 216, MIB / 4],
    ['a piece', 100, { rows: 1_000, bytes: MIB }, NOTHING, 2_216, 2 * MIB],
    ['an image', 0, { rows: 150_000, bytes: 30 * MIB }, NOTHING, 2_016, 16 * MIB],
    ['and what waits', 0, NOTHING, { rows: 120_000, bytes: 32 * MIB }, 16, MIB / 4],
    [
      'too much waits',
      0,
      { rows: 5_000, bytes: 9 * MIB },
      { rows: 122_560, bytes: 33 * MIB },
      16 + 2 * (1_000 + 2_560) + 10,
      18 * MIB + MIB / 256,
    ],
  ] as const)
    tt.same(mergeStep({ entries, brought, waiting, due }), { rows, bytes }, why)
})

/** Rows of one size, in the order in which they wait. */
interface Run {
  rows: number
  readonly size: number
}

const amountOf = (runs: readonly Run[]): Amount =>
  runs.reduce<Amount>((sum, { rows, size }) => plus(sum, { rows, bytes: rows * size }), NOTHING)

const plus = (left: Amount, right: Amount): Amount => ({
  rows: left.rows + right.rows,
  bytes: left.bytes + right.bytes,
})

/** One batch: brings rows behind those that wait, and merges the first ones until one limit is reached. */
function batch(waiting: Run[], brought: Run): void {
  const step = mergeStep({
    entries: 1,
    brought: amountOf([brought]),
    waiting: amountOf(waiting),
    due,
  })
  waiting.push({ ...brought })
  let { rows, bytes } = step
  while (rows > 0 && bytes > 0) {
    const [first] = waiting
    if (first === undefined) return
    const count = Math.min(first.rows, rows, Math.max(1, Math.floor(bytes / first.size)))
    first.rows -= count
    rows -= count
    bytes -= count * first.size
    if (first.rows === 0) waiting.shift()
  }
}

t.test('what waits is bounded, however much each batch brings, and goes away', async (tt) => {
  for (const [why, before, brought] of [
    ['entries that change many nodes', [], { rows: 90_000, size: 1_000 }],
    ['ordinary pieces', [], { rows: 3_000, size: 300 }],
    ['large values', [], { rows: 32, size: MIB }],
    ['a large value behind many rows', [{ rows: 120_000, size: 70 }], { rows: 1, size: MIB }],
    ['many rows behind large values', [{ rows: 31, size: MIB }], { rows: 90_000, size: 70 }],
  ] as const) {
    const waiting: Run[] = before.map((run) => ({ ...run }))
    const start = amountOf(waiting)
    const one = amountOf([brought])
    let most: Amount = NOTHING
    for (let count = 0; count < 2_000; count += 1) {
      batch(waiting, brought)
      const { rows, bytes } = amountOf(waiting)
      most = { rows: Math.max(most.rows, rows), bytes: Math.max(most.bytes, bytes) }
    }
    const bound = plus(start, plus({ rows: 4 * due.rows, bytes: 4 * due.bytes }, plus(one, one)))
    tt.ok(most.rows <= bound.rows, `${why}: ${most.rows} rows wait`)
    tt.ok(most.bytes <= bound.bytes + 100 * MIB, `${why}: ${most.bytes} bytes wait`)
    for (let count = 0; count < 2_000; count += 1) batch(waiting, { rows: 0, size: 0 })
    const left = amountOf(waiting)
    tt.ok(left.rows <= 4.1 * due.rows && left.bytes <= 4.1 * due.bytes, `${why}: ${left.rows} rows`)
  }
})
