import type { Logger } from '@flotilla/daemon'
import { AuthError } from '../auth/auth-error.ts'
import {
  changeRole,
  GUEST,
  GUEST_ROLE,
  roleJson,
  ROOT,
  type Role,
  type RoleRequest,
} from '../auth/role.ts'
import { DIRECTORIES, ENABLED, roleKey, userKey, type AuthRules } from '../auth/rules.ts'
import { changeUser, userText, withRootRole, type User, type UserRequest } from '../auth/user.ts'
import type { Replica } from '../replica/replica.ts'
import { command, type Command } from '../store/command.ts'
import { TOO_LARGE } from '../replica/proposals.ts'
import { isRefusal, type ErrorCode } from '../store/errors.ts'
import type { Store } from '../store/store.ts'
import type { Passwords } from './passwords.ts'

/** Another member may change the same thing at the same time; this often we decide anew. */
const ATTEMPTS_MAX = 10

export interface AuthChangesOptions {
  readonly store: Store
  readonly replica: Pick<Replica, 'proposeAsync'>
  readonly rules: AuthRules
  readonly passwords: Pick<Passwords, 'hash'>
  readonly logger: Logger
  readonly nowMs: () => number
}

/**
 * Changes users, roles and the switch: decides by what the store has, proposes, waits until it is
 * applied. One change at a time here; against other members each write is a compare-and-swap.
 */
export class AuthChanges {
  readonly #options: AuthChangesOptions
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: AuthChangesOptions) {
    this.#options = options
  }

  /** Makes the user, or changes the one there is when no roles are given. @throws AuthError */
  async putUser(request: UserRequest): Promise<{ readonly user: User; readonly isNew: boolean }> {
    const { name, grant, revoke, roles } = request
    const isChange = grant.length > 0 || revoke.length > 0
    const { rules, passwords } = this.#options
    const password = request.password === '' ? undefined : await passwords.hash(request.password)
    return await this.#decide(async () => {
      const user = rules.user(name)
      if (user === undefined && isChange)
        throw new AuthError(404, `auth: User ${name} does not exist.`)
      if (user === undefined || (!isChange && (roles ?? []).length > 0))
        return await this.#createUser({ name, roles }, password)
      const changed = changeUser(user, request, password)
      const isDone = await this.#replace(userKey(name), userText(changed))
      if (isDone) this.#log('auth: updated user', name)
      return isDone ? { user: changed, isNew: false } : undefined
    })
  }

  async #createUser(
    { name, roles }: Pick<User, 'name' | 'roles'>,
    password: string | undefined,
  ): Promise<{ readonly user: User; readonly isNew: boolean }> {
    if (password === undefined)
      throw new AuthError(400, `auth: Cannot create user ${name} with an empty password`)
    const user = withRootRole({ name, password, roles })
    if (!(await this.#create(userKey(name), userText(user))))
      throw new AuthError(409, `auth: User ${name} already exists.`)
    this.#log('auth: created user', name)
    // The original answers 200, not 201, when the request names roles (client_auth.go).
    return { user, isNew: (roles ?? []).length === 0 }
  }

  /** @throws AuthError */
  async removeUser(name: string): Promise<void> {
    await this.#decide(async () => {
      if (name === ROOT && this.#options.rules.isEnabled)
        throw new AuthError(403, 'auth: Cannot delete root user while auth is enabled.')
      if (!(await this.#remove(userKey(name))))
        throw new AuthError(404, `auth: User ${name} does not exist`)
      this.#log('auth: deleted user', name)
      return true
    })
  }

  /** @throws AuthError */
  async createRole(role: Role): Promise<void> {
    await this.#decide(async () => {
      refuseRoot(role.name)
      if (!(await this.#create(roleKey(role.name), roleJson(role))))
        throw new AuthError(409, `auth: Role ${role.name} already exists.`)
      this.#log('auth: created role', role.name)
      return true
    })
  }

  /** @throws AuthError */
  async changeRole(request: RoleRequest): Promise<Role> {
    const { name } = request.role
    return await this.#decide(async () => {
      refuseRoot(name)
      const role = this.#options.rules.role(name)
      if (role === undefined) throw new AuthError(404, `auth: Role ${name} does not exist.`)
      const changed = changeRole(role, request)
      const isDone = await this.#replace(roleKey(name), roleJson(changed))
      if (isDone) this.#log('auth: updated role', name)
      return isDone ? changed : undefined
    })
  }

  /** @throws AuthError */
  async removeRole(name: string): Promise<void> {
    await this.#decide(async () => {
      refuseRoot(name)
      if (!(await this.#remove(roleKey(name))))
        throw new AuthError(404, `auth: Role ${name} doesn't exist.`)
      this.#log('auth: deleted role', name)
      return true
    })
  }

  /** Switches auth on; nobody could manage it without a user `root`. @throws AuthError */
  async enable(): Promise<void> {
    const { rules, logger } = this.#options
    await this.#decide(async () => {
      if (rules.isEnabled) throw new AuthError(409, 'auth: already enabled')
      if (rules.user(ROOT) === undefined)
        throw new AuthError(409, 'auth: No root user available, please create one')
      if (rules.role(GUEST) === undefined) await this.#create(roleKey(GUEST), roleJson(GUEST_ROLE))
      const isDone = await this.#replace(ENABLED, 'true')
      if (isDone) logger.info('auth: enabled auth')
      return isDone ? true : undefined
    })
  }

  /** @throws AuthError */
  async disable(): Promise<void> {
    const { rules, logger } = this.#options
    await this.#decide(async () => {
      if (!rules.isEnabled) throw new AuthError(409, 'auth: already disabled')
      const isDone = await this.#replace(ENABLED, 'false')
      if (isDone) logger.info('auth: disabled auth')
      return isDone ? true : undefined
    })
  }

  #log(message: string, name: string): void {
    this.#options.logger.info(message, { name })
  }

  /** Runs `attempt` after all changes before it, again while it finds that it was overtaken. */
  async #decide<T>(attempt: () => Promise<T | undefined>): Promise<T> {
    const turn = this.#last.then(async () => {
      for (let count = 0; count < ATTEMPTS_MAX; count += 1) {
        const done = await attempt()
        if (done !== undefined) return done
      }
      throw failed()
    })
    this.#last = turn.catch(() => undefined)
    return await turn
  }

  /** False when the key is taken. */
  async #create(key: string, value: string): Promise<boolean> {
    await this.#makeDirectories()
    return (await this.#propose({ op: 'create', key, value }, 105)) === 'applied'
  }

  /** False when the key has another value by now, or none. */
  async #replace(key: string, value: string): Promise<boolean> {
    // Looked up before anything is waited for: it is the value that the caller has decided by.
    const prevValue = this.#options.store.peek('auth', key)
    await this.#makeDirectories()
    if (prevValue === undefined) return false
    const swap = { op: 'compareAndSwap', key, value, prevValue } as const
    return (await this.#propose(swap, 100, 101)) === 'applied'
  }

  /** False when there is no such key. */
  async #remove(key: string): Promise<boolean> {
    await this.#makeDirectories()
    return (await this.#propose({ op: 'delete', key }, 100)) === 'applied'
  }

  /** Before the first write, as in the original (etcd 2.3 auth/auth_requests.go): four entries. */
  async #makeDirectories(): Promise<void> {
    const { store } = this.#options
    if (store.peek('auth', ENABLED) !== undefined) return
    for (const key of DIRECTORIES) await this.#propose({ op: 'create', key, dir: true }, 105)
    await this.#propose({ op: 'create', key: ENABLED, value: 'false' }, 105)
  }

  /** @throws AuthError 500 when the proposal fails with an error that is not `expected` */
  async #propose(
    fields: Partial<Command> & Pick<Command, 'op'>,
    ...expected: readonly ErrorCode[]
  ): Promise<'applied' | 'refused'> {
    const { replica, nowMs } = this.#options
    const entry = command({ ...fields, space: 'auth', time: nowMs() })
    const outcome = await replica.proposeAsync(entry)
    if (outcome === undefined || !isRefusal(outcome)) return 'applied'
    if (expected.includes(outcome.code)) return 'refused'
    throw outcome.cause === TOO_LARGE ? new AuthError(413, outcome.cause) : failed()
  }
}

function refuseRoot(name: string): void {
  if (name === ROOT) throw new AuthError(403, `auth: Cannot modify role ${name}: is root role.`)
}

function failed(): AuthError {
  return new AuthError(500, 'Internal Server Error')
}
