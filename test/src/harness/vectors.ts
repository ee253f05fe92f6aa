import { join } from 'node:path'
import { items, member, textOf } from './json.ts'
import { SHARED } from './paths.ts'
import { CommandError, run } from './process.ts'

/** One recorded case and how it went. `detail` says what differed, or what a skipped case would need. */
export interface Verdict {
  readonly name: string
  readonly outcome: 'pass' | 'fail' | 'skip'
  readonly detail: string
}

/** Why no vectors can be run here, or false; in the form that tap's `skip` takes. */
export const VECTORS_SKIP: string | false =
  SHARED === undefined
    ? 'the recorded vectors (../shared, or where FLOTILLA_SHARED says) are not here'
    : false

/**
 * Runs `conformance/<suite>/run.mjs --json …` and gives its verdicts, one per case. Rejects when the runner
 * itself could not work, so that a runner that does nothing is no success.
 */
export async function runVectors(
  suite: 'kv' | 'fleet',
  flags: readonly string[],
  timeoutMs: number,
): Promise<readonly Verdict[]> {
  if (SHARED === undefined) throw new Error(String(VECTORS_SKIP))
  const runner = join(SHARED, 'conformance', suite, 'run.mjs')
  const argv = [process.execPath, runner, ...flags, '--json']
  const result = await run(argv, { timeoutMs, env: plainEnvironment() })
  // The JSON document, then the line "N passed, N failed".
  const end = result.stdout.lastIndexOf('}')
  if (result.code > 1 || end < 0) throw new CommandError(argv, `exit status ${result.code}`, result)
  const verdicts = parseReport(JSON.parse(result.stdout.slice(0, end + 1)))
  if (verdicts.length === 0) throw new CommandError(argv, 'no case was run', result)
  return verdicts
}

/** tap's loader in NODE_OPTIONS and a large CA bundle would cost each of the runner's commands 100 ms. */
function plainEnvironment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _options, NODE_EXTRA_CA_CERTS: _certificates, ...rest } = process.env
  return rest
}

function parseReport(report: unknown): Verdict[] {
  return items(member(report, 'results')).map((item) => {
    const skipped = member(item, 'skipped')
    const isSkipped = skipped !== undefined
    return {
      name: ['id', 'title', 'name']
        .map((key) => textOf(member(item, key)))
        .join(' ')
        .trim(),
      outcome: member(item, 'ok') === true ? 'pass' : isSkipped ? 'skip' : 'fail',
      detail: isSkipped ? `needs ${items(skipped).map(textOf).join(', ')}` : difference(item),
    }
  })
}

function difference(item: unknown): string {
  const diffs = items(member(item, 'diffs')).map((diff) => {
    const [at, expected, actual] = ['at', 'expected', 'actual'].map((key) =>
      textOf(member(diff, key)),
    )
    return `step ${textOf(member(item, 'step'))}, ${at}:\n  expected ${expected}\n  actual   ${actual}`
  })
  return [...diffs, textOf(member(item, 'detail'))].join('\n').trim()
}
