import type { Logger } from '@flotilla/daemon'
import { AuthError } from '../auth/auth-error.ts'
import { parseBasic } from '../auth/basic.ts'
import { ROOT, type Access } from '../auth/role.ts'
import type { AuthRules } from '../auth/rules.ts'
import type { User } from '../auth/user.ts'
import type { Gate, GuardedWatch, Verdict } from './context.ts'
import type { RawRequest } from './message.ts'
import type { Passwords } from './passwords.ts'

export interface AuthGateOptions {
  readonly rules: AuthRules
  readonly passwords: Passwords
  readonly logger: Logger
}

/** A running watch and the password hash that its credentials were proven against, if they were. */
interface Guard {
  readonly watch: GuardedWatch
  readonly provenBy: string | undefined
}

/**
 * Decides who may do what (kvd.md 10), and ends watches whose rights are gone. Decisions about
 * credentials that were checked before are made at once.
 */
export class AuthGate implements Gate {
  readonly #rules: AuthRules
  readonly #passwords: Passwords
  readonly #logger: Logger
  readonly #guards = new Set<Guard>()

  constructor({ rules, passwords, logger }: AuthGateOptions) {
    this.#rules = rules
    this.#passwords = passwords
    this.#logger = logger
  }

  mayAccess(request: RawRequest, path: string, access: Access): Verdict | Promise<Verdict> {
    if (isAnonymous(request)) return verdictOf(this.#rules.allowsGuest(path, access.write))
    return this.#judge(request, (user) => {
      const isAllowed = this.#rules.allows(user, path, access)
      if (!isAllowed) this.#logger.debug('auth: user lacks the right', { user: user.name, path })
      return isAllowed
    })
  }

  mayAdminister(request: RawRequest): Verdict | Promise<Verdict> {
    return this.#judge(request, (user) => user.roles?.includes(ROOT) ?? false)
  }

  #judge(request: RawRequest, isAllowed: (user: User) => boolean): Verdict | Promise<Verdict> {
    const credentials = parseBasic(request.authorization ?? '')
    if (credentials === undefined) return 'refused'
    const { name } = credentials
    const user = this.#rules.user(name)
    const check = this.#passwords.check(credentials, user?.password)
    if (typeof check === 'boolean') return verdictOf(check && user !== undefined && isAllowed(user))
    return check.then(
      (isRight) => {
        // Meanwhile everything may have changed.
        if (!this.#rules.isEnabled) return 'allowed'
        const now = this.#rules.user(name)
        const isSame = now !== undefined && now.password === user?.password
        return verdictOf(isRight && isSame && isAllowed(now))
      },
      (error: unknown) => {
        if (error instanceof AuthError) return 'busy'
        throw error
      },
    )
  }

  /** Keeps a watch only as long as it may read. Returns how to forget it. */
  guardWatch(watch: GuardedWatch): () => void {
    const guard: Guard = { watch, provenBy: this.#provenBy(watch.request) }
    this.#guards.add(guard)
    return () => this.#guards.delete(guard)
  }

  #provenBy(request: GuardedWatch['request']): string | undefined {
    if (!this.#rules.isEnabled || isAnonymous(request)) return undefined
    const credentials = parseBasic(request.authorization ?? '')
    const stored = credentials && this.#rules.user(credentials.name)?.password
    if (credentials === undefined || stored === undefined) return undefined
    return this.#passwords.isProven(credentials, stored) ? stored : undefined
  }

  /** To be called after every change of users, roles or the switch, before anything else happens. */
  changed(): void {
    this.#rules.forget()
    this.#passwords.forgetChanged((name) => this.#rules.user(name)?.password)
    if (!this.#rules.isEnabled) return
    for (const guard of this.#guards)
      if (!this.#mayGoOn(guard)) {
        this.#guards.delete(guard)
        guard.watch.end()
      }
  }

  /** Credentials that were sent while auth was off and never checked count for nothing. */
  #mayGoOn({ watch, provenBy }: Guard): boolean {
    const { request, path, recursive } = watch
    if (isAnonymous(request)) return this.#rules.allowsGuest(path, false)
    const credentials = parseBasic(request.authorization ?? '')
    const user = credentials && this.#rules.user(credentials.name)
    if (credentials === undefined || user === undefined) return false
    const isProven =
      provenBy === user.password || this.#passwords.isProven(credentials, user.password)
    return isProven && this.#rules.allows(user, path, { write: false, recursive })
  }
}

function isAnonymous(request: Pick<RawRequest, 'authorization'>): boolean {
  return request.authorization === undefined || request.authorization === ''
}

function verdictOf(isAllowed: boolean): Verdict {
  return isAllowed ? 'allowed' : 'refused'
}
