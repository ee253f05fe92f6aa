import type { Verdict } from '../../src/harness/vectors.ts'

/** Cases recorded from etcd 3.4 that contradict one recorded from 2.3.8, which kvd follows. */
export const ONLY_3_4: readonly string[] = ['ext-v3x/health', 'ext-v3x/expire-dir-flag']

/**
 * Cases recorded from one member that do not say so: `--debug` prints the URLs of all members, and a store
 * that nobody has written to has another index, as each member writes its name and URLs.
 */
export const ONLY_ALONE: readonly string[] = ['ctl-set/debug', 'cors/bad', 'cors/none']

/** The verdicts but those of the cases named, as `topic/case`. */
export function without(verdicts: readonly Verdict[], ids: readonly string[]): Verdict[] {
  return verdicts.filter(({ name }) => !ids.some((id) => name.startsWith(`${id} `)))
}
