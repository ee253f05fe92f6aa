import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { countFrom, seedFrom } from '../helpers/random.ts'
import { tryMutants } from '../simulator/mutate.ts'
import { mutants } from '../simulator/mutants.ts'
import { regress } from '../simulator/regress.ts'
import { runSeed } from '../simulator/world.ts'

// The Raft core in a simulated cluster that loses messages, disks and power. FLOTILLA_SIM_SEEDS for a
// long run from FLOTILLA_SIM_FROM on; a failure names its seed, which
// `node build-test/test/simulator/main.js --seed N --trace` replays.

const seeds = countFrom('FLOTILLA_SIM_SEEDS', 1000)
const from = seedFrom('FLOTILLA_SIM_FROM') % 2 ** 31
const mutantSeeds = countFrom('FLOTILLA_SIM_MUTANT_SEEDS', 1_200)
const replays = 30
const program = fileURLToPath(new URL('../simulator/main.js', import.meta.url))

/** Situations without which a run proves little (correctness.md 2.4). */
const needed = [
  'abaOverwrites',
  'batchesLost',
  'clockJumps',
  'damaged',
  'damagedRecovered',
  'deepTruncations',
  'expiredAcrossLeaders',
  'leaderChanges',
  'leadersRemoved',
  'learnersPromoted',
  'lostByOverwrite',
  'nospace',
  'oldTermCommits',
  'readsRetried',
  'readsServed',
  'rejoined',
  'snapshotsIgnored',
  'snapshotsInstalled',
  'snapshotsWhileCut',
  'splitVotes',
  'staleIncarnationRefused',
  'tornTails',
  'transfers',
  'twoToOne',
]

t.setTimeout(120_000 + seeds * 2_000)

async function simulate(first: number, count: number): Promise<string> {
  return await new Promise((resolve) => {
    const argv = [program, '--from', `${first}`, '--seeds', `${count}`, '--all']
    execFile(process.execPath, argv, { maxBuffer: 1 << 26 }, (_error, stdout, stderr) =>
      resolve(`${stdout}${stderr}`),
    )
  })
}

t.test(`no seed from ${from} to ${from + seeds - 1} breaks a property`, async (tt) => {
  const half = Math.ceil(seeds / 2)
  const outputs = await Promise.all([simulate(from, half), simulate(from + half, seeds - half)])
  const text = outputs.join('')
  const failures = text.match(/^seed .*/gm) ?? []
  tt.same(failures, [])
  const ends = [...text.matchAll(/^(\d+) seeds, (\d+) events, 0 failed/gm)]
  const ran = ends.reduce((sum, [, count]) => sum + Number(count), 0)
  tt.equal(ran, seeds, text.slice(0, 1000))
  const events = ends.reduce((sum, [, , count]) => sum + Number(count), 0)
  tt.ok(events / seeds >= 5000, `${Math.round(events / seeds)} events a seed`)
  for (const counter of needed) {
    const counts = [...text.matchAll(new RegExp(`^  ${counter} (\\d+)$`, 'gm'))]
    const total = counts.reduce((sum, [, count]) => sum + Number(count), 0)
    tt.comment(`${counter}: ${total}`)
    if (seeds >= 1000) tt.ok(total > 0, counter)
  }
})

t.test('what failed once holds', async (tt) => {
  for (const { seed, what } of regress) tt.equal(runSeed(seed).violation, undefined, what)
})

t.test('a seed always gives the same run', async (tt) => {
  for (let seed = from; seed < from + replays; seed += 1) {
    const [first, second] = [runSeed(seed), runSeed(seed)]
    assert.deepEqual(second, first)
  }
  tt.not(runSeed(from).traceHash, runSeed(from + 1).traceHash, 'and another seed another one')
})

t.test('the simulator finds every planted fault that is not rare', async (tt) => {
  const frequent = mutants.filter(({ isRare }) => !isRare || mutantSeeds >= 20_000)
  const detections = await tryMutants(mutantSeeds, () => undefined, frequent)
  for (const { mutant, seeds: until, property } of detections)
    tt.ok(until !== undefined, `${mutant.id} ${mutant.what}: ${property} at seed ${until}`)
  tt.equal(detections.length, frequent.length)
})
