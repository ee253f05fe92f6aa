import { parseOptions, usage, UsageError } from './options.ts'
import { faults, renderReport } from './report.ts'
import { runSuite } from './suite.ts'

/** `bench kvd`: gives the exit status. Results go to stdout, everything else to stderr. */
export async function kvdBench(argv: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(argv)
    if (options === undefined) {
      process.stdout.write(usage)
      return 0
    }
    const report = await runSuite(options, say)
    process.stdout.write(
      options.json ? `${JSON.stringify(report, undefined, 1)}\n` : renderReport(report),
    )
    const wrong = faults(report)
    wrong.forEach(say)
    return wrong.length === 0 ? 0 : 1
  } catch (error) {
    say(reasonOf(error))
    return error instanceof UsageError ? 2 : 1
  }
}

/** The message with those of its causes: a server's own words are in the first, what was tried in the next. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause === undefined ? error.message : `${error.message}\n  ${reasonOf(error.cause)}`
}

function say(line: string): void {
  process.stderr.write(`bench: ${line}\n`)
}
