import type { Test } from 'tap'
import { type Verdict, runVectors } from '../../src/harness/vectors.ts'

/**
 * Tries a case that failed once more, and tells so. Runs that go side by side keep each other waiting:
 * keys that live for a second are dead when a command that is to watch them has not started by then.
 */
export async function tryAgain(
  t: Test,
  failed: Verdict,
  { flags, timeoutMs }: { readonly flags: readonly string[]; readonly timeoutMs: number },
): Promise<Verdict> {
  t.comment(`tried once more: ${failed.name}\n${failed.detail}`)
  const [id = ''] = failed.name.split(' ')
  const verdicts = await runVectors('kv', [...flags, '--filter', id], timeoutMs)
  return verdicts.find(({ name }) => name === failed.name) ?? failed
}
