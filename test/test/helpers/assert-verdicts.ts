import type { Test } from 'tap'
import type { Verdict } from '../../src/harness/vectors.ts'

/** One assertion per recorded case. Cases that were not run are counted in one line, by what they need. */
export function assertVerdicts(t: Test, verdicts: readonly Verdict[]): void {
  const skipped = new Map<string, number>()
  for (const { name, outcome, detail } of verdicts) {
    if (outcome === 'pass') t.pass(name)
    else if (outcome === 'fail') t.fail(name, { detail })
    else skipped.set(detail, (skipped.get(detail) ?? 0) + 1)
  }
  t.ok(
    verdicts.some(({ outcome }) => outcome !== 'skip'),
    'some case was run',
  )
  for (const [why, count] of skipped) t.comment(`${count} cases not run: ${why}`)
}
