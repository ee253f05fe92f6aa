import { catchupBench } from './catchup/main.ts'
import { clusterBench } from './cluster/main.ts'
import { failoverBench } from './failover/main.ts'
import { kvdBench } from './kvd/main.ts'

/** A bench of one component: takes its command line, gives the exit status. */
type Suite = (argv: readonly string[]) => Promise<number>

// A signal is an exit, at which servers and data directories go.
process.once('SIGINT', () => process.exit(130))
process.once('SIGTERM', () => process.exit(143))

const suites: ReadonlyMap<string, Suite> = new Map([
  ['kvd', kvdBench],
  ['cluster', clusterBench],
  ['catchup', catchupBench],
  ['failover', failoverBench],
])

const [name = '', ...argv] = process.argv.slice(2)
const suite = suites.get(name)
if (suite === undefined) {
  const known = [...suites.keys()].join('|')
  process.stderr.write(`usage: npm run bench -- ${known} [options]   (--help for the options)\n`)
  process.exitCode = 2
} else {
  process.exitCode = await suite(argv)
}
