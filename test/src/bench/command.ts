import { UsageError } from './arguments.ts'

/** A bench as a command: what its main file is made of. */
export interface Bench<O extends { readonly json: boolean }, R> {
  readonly usage: string
  /** Undefined when it is asked for help. @throws UsageError */
  parse(argv: readonly string[]): O | undefined
  /** `progress` gets a line for each thing begun. */
  run(options: O, progress: (line: string) => void): Promise<R>
  render(report: R): string
  /** What makes the report invalid, and which bars were missed; empty when all is well. */
  faults(report: R): readonly string[]
}

/** Runs a bench and gives the exit status. Results go to stdout, everything else to stderr. */
export async function runBench<O extends { readonly json: boolean }, R>(
  bench: Bench<O, R>,
  argv: readonly string[],
): Promise<number> {
  try {
    const options = bench.parse(argv)
    if (options === undefined) {
      process.stdout.write(bench.usage)
      return 0
    }
    const report = await bench.run(options, say)
    process.stdout.write(
      options.json ? `${JSON.stringify(report, undefined, 1)}\n` : bench.render(report),
    )
    const wrong = bench.faults(report)
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
