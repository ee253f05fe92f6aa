import { runSeed } from './world.ts'

// node …/simulator/main.js --seed N [--trace]      one seed
// node …/simulator/main.js --seeds N [--from M]    many, up to the first that fails

const argv = process.argv.slice(2)
function valueOf(name: string): number | undefined {
  const at = argv.indexOf(name)
  return at === -1 ? undefined : Number(argv[at + 1])
}

function secondsSince(start: number): string {
  return ((performance.now() - start) / 1000).toFixed(1)
}

const seed = valueOf('--seed')
const seeds = seed === undefined ? (valueOf('--seeds') ?? 100) : 1
const from = seed ?? valueOf('--from') ?? 1
const trace = argv.includes('--trace')
  ? (line: string) => process.stdout.write(`${line}\n`)
  : undefined

const started = performance.now()
const totals = new Map<string, number>()
let events = 0
let failed = 0
/** A long run tells how far it is. */
const TELLS_EVERY = 5000
for (let number = from; number < from + seeds; number += 1) {
  if (number > from && (number - from) % TELLS_EVERY === 0)
    process.stderr.write(`${number - from} seeds, ${failed} failed, ${secondsSince(started)} s\n`)
  const verdict = runSeed(number, trace)
  events += verdict.events
  for (const [counter, count] of verdict.counters)
    totals.set(counter, (totals.get(counter) ?? 0) + count)
  if (verdict.violation === undefined) continue
  failed += 1
  process.stdout.write(`seed ${number}: ${verdict.violation.message}\n`)
  if (!argv.includes('--all')) {
    process.exitCode = 1
    break
  }
}
process.stdout.write(
  `${seeds} seeds, ${events} events, ${failed} failed, ${secondsSince(started)} s\n`,
)
for (const [counter, count] of [...totals].toSorted(([left], [right]) => (left < right ? -1 : 1)))
  process.stdout.write(`  ${counter} ${count}\n`)
