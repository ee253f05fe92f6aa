import t from 'tap'
import { IMAGES_PER_PLAN } from '../crash-images/campaign.ts'
import { mutants, tryMutant } from '../crash-images/mutants.ts'
import { runProgram } from '../crash-images/program.ts'
import { countFrom, seedFrom } from '../helpers/random.ts'
import { STRACE, toolSkip } from '../helpers/tools.ts'

// The disk thread loses power at any moment (correctness.md 5). Its system calls are recorded and
// played back up to some call; of what no sync had made durable, nothing, all, or some parts are kept;
// a start must then find everything that was answered. FLOTILLA_CRASH_IMAGES=20000 for a long run, with
// FLOTILLA_TEST_MINUTES=120; FLOTILLA_CRASH_IMAGES_SEED to replay one; a failure names the seed of its
// plan, which `node build-test/test/crash-images/main.js images SEED 400` plays alone.

const seed = seedFrom('FLOTILLA_CRASH_IMAGES_SEED') % 2 ** 31
const images = countFrom('FLOTILLA_CRASH_IMAGES', 300)
const lies = countFrom('FLOTILLA_LYING_IMAGES', 40)
const skip = await toolSkip(STRACE)
const timeout = 120_000 + images * 500

/** Kinds of changes that a power loss must have met, or the images prove little. */
const NEEDED = [
  /write kvd\.db-wal/,
  /write kvd\.db\b(?!-)/,
  /write hwm/,
  /link kvd\.db\b(?!-)/,
  /link kvd\.db\.new/,
  /rename kvd\.db\.new/,
]

t.setTimeout(2 * timeout)
t.test(
  `a start finds what was answered, after ${images} power losses (seed ${seed})`,
  { skip, timeout },
  async (tt) => {
    const half = Math.ceil(images / 2)
    const results = await Promise.all([
      runProgram(['images', seed, half]),
      runProgram(['images', seed + Math.ceil(half / IMAGES_PER_PLAN), images - half]),
    ])
    tt.same(
      results.flatMap(({ problem }) => problem ?? []),
      [],
      `FLOTILLA_CRASH_IMAGES_SEED=${seed}`,
    )
    tt.equal(
      results.reduce((sum, { tried }) => sum + tried, 0),
      images,
    )
    const counts = results.flatMap(({ counts: some }) => [...some])
    for (const needed of NEEDED) {
      const count = counts.reduce((sum, [what, some]) => sum + (needed.test(what) ? some : 0), 0)
      tt.comment(`${needed.source}: ${count}`)
      if (images >= 300) tt.ok(count > 0, `${needed.source}: ${count}`)
    }
  },
)

t.test(`a sync that wrote nothing is noticed (seed ${seed})`, { skip, timeout }, async (tt) => {
  const { problem, counts } = await runProgram(['lying', seed, lies])
  tt.equal(problem, undefined, `FLOTILLA_CRASH_IMAGES_SEED=${seed}`)
  if (lies >= 40) tt.ok((counts.get('refused') ?? 0) > 0, `${counts.get('refused')} refused`)
})

t.test('crash images find every planted fault', { skip, timeout: 600_000 }, async (tt) => {
  const waiting = [...mutants]
  const work = async (): Promise<void> => {
    for (let mutant = waiting.shift(); mutant !== undefined; mutant = waiting.shift()) {
      const found = await tryMutant(mutant, { seed: 5, images: 200 })
      tt.ok(found !== undefined, `${mutant.what}: ${found ?? 'not found'}`)
    }
  }
  await Promise.all([work(), work()])
})
