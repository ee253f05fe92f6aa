import { check as run, defaultReportMessage, property as law, type Arbitrary } from 'fast-check'
import { test } from 'tap'

/** A property as a test: `check` gives what is wrong, if anything. The seed is in the message when it fails. */
export function property<T>(
  name: string,
  arbitrary: Arbitrary<T>,
  check: (value: T) => string | undefined,
): void {
  test(name, (t) => {
    const result = run(
      law(arbitrary, (value) => {
        const problem = check(value)
        if (problem !== undefined) throw new Error(problem)
      }),
      { numRuns: 300 },
    )
    t.notOk(result.failed, defaultReportMessage(result) ?? name)
    t.end()
  })
}
