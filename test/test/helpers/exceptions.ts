import type { Verdict } from '../../src/harness/vectors.ts'

/** Cases recorded from etcd 3.4 that contradict one recorded from 2.3.8, which kvd follows. */
export const ONLY_3_4: readonly string[] = ['ext-v3x/health', 'ext-v3x/expire-dir-flag']

/**
 * Cases recorded from one member that do not say so: `--debug` prints the URLs of all members, and a store
 * that nobody has written to has another index, as each member writes its name and URLs.
 */
export const ONLY_ALONE: readonly string[] = ['ctl-set/debug', 'cors/bad', 'cors/none']

/** Users and roles are those of etcd v3, whatever `/v2/auth` is asked for. */
const AUTH = {
  'auth-enable': `
    bad-password bad-user disable disable-noauth disable-off disable-user enable-noroot
    enabled guest-role post read-dir read-no root-badpw root-user-roles state users-noroot
    watch-recursive-no write-no
  `,
  'auth-roles': `
    bad-json create create-again create-perm delete delete-missing get-root grant grant-and-revoke
    grant-missing-role grant-twice grant-with-perm long-path name-mismatch revoke
    revoke-missing
  `,
  'auth-users': `
    create create-again create-emptypw create-nopw create-roles-again delete delete-missing
    get-missing grant grant-and-revoke grant-missing-role grant-missing-user grant-twice
    grant-with-password index list-slash name-mismatch password-hidden revoke revoke-missing
    update-nothing
  `,
  'ctl-auth': `
    auth-disable-off auth-enable-noroot role-add role-get role-get-missing role-get-root
    role-grant role-grant-missing role-grant-twice role-remove role-root user-add user-add-emptypw
    user-add-exists user-get user-get-missing user-grant user-grant-missing user-grant-two
    user-list
  `,
}

/** What cannot hold over etcd v3, case by case, each with its reason in docs/existing-engine.md. */
export const NOT_OVER_V3: readonly string[] = [
  ...Object.entries(AUTH).flatMap(([topic, cases]) =>
    cases
      .trim()
      .split(/\s+/)
      .map((one) => `${topic}/${one}`),
  ),
  ...ONLY_3_4,
  'keys-paths/deep',
  'keys-ttl/expire-dir',
  'keys-values/1600k',
]

/** The verdicts but those of the cases named, as `topic/case`. */
export function without(verdicts: readonly Verdict[], ids: readonly string[]): Verdict[] {
  return verdicts.filter((verdict) => !ids.some((id) => isCase(verdict, id)))
}

/** Whether a verdict is about a case, named as `topic/case`. */
export function isCase({ name }: Verdict, id: string): boolean {
  return name.startsWith(`${id} `)
}
