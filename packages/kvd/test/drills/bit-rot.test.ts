import t from 'tap'
import { runProgram } from '../crash-images/program.ts'
import { countFrom, seedFrom } from '../helpers/random.ts'

// One bit in each 97th byte of what the disk thread leaves is turned over, one after the other
// (correctness.md 5 #4): a start refuses, or finds exactly what was there. FLOTILLA_ROT_FLIPS=99999
// for all of them, FLOTILLA_ROT_SEED to replay the plan and the places of a failure. disk.test.ts does
// the same, in fewer places, to whole processes.

const seed = seedFrom('FLOTILLA_ROT_SEED') % 2 ** 31
const flips = countFrom('FLOTILLA_ROT_FLIPS', 200)
const timeout = 120_000 + flips * 1_000

t.setTimeout(timeout)
t.test(`a bit that turns over is noticed or harmless (seed ${seed})`, { timeout }, async (tt) => {
  const ends = ['close', 'kill'] as const
  const results = await Promise.all(ends.map((end) => runProgram(['rot', seed, flips, end])))
  for (const [at, { tried, problem, counts }] of results.entries()) {
    tt.equal(problem, undefined, `FLOTILLA_ROT_SEED=${seed}, after a ${ends[at]}`)
    tt.ok(tried > 0, `${tried} bits`)
    tt.ok((counts.get('refused') ?? 0) > 0, `${counts.get('refused')} of them refused`)
  }
})
