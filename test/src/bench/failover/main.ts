import { runBench } from '../command.ts'
import { parseOptions, usage } from './options.ts'
import { faults, renderReport } from './report.ts'
import { runSuite } from './suite.ts'

/** `bench failover`: gives the exit status. */
export async function failoverBench(argv: readonly string[]): Promise<number> {
  const bench = { usage, parse: parseOptions, run: runSuite, render: renderReport, faults }
  return await runBench(bench, argv)
}
