import { compareText } from '../store/text.ts'
import { GUEST, parseRoleRequest, ROOT, ROOT_ROLE, roleAllows } from './role.ts'
import type { Access, Role } from './role.ts'
import { parseUser, type User } from './user.ts'

/** Where auth lives in its space of the store, under the names that etcd 2 gives the keys. */
export const DIRECTORIES = ['/2', '/2/users', '/2/roles'] as const
export const ENABLED = '/2/enabled'

export function userKey(name: string): string {
  return `/2/users/${name}`
}

export function roleKey(name: string): string {
  return `/2/roles/${name}`
}

/** Looks into the store's auth space; counts no read. */
export interface AuthSource {
  /** A file's value. */
  peek(key: string): string | undefined
  /** Names below a directory, in any order. */
  peekNames(key: string): readonly string[]
}

/** Users, roles and the switch, as the store has them. What was read is kept until `forget`. */
export class AuthRules {
  readonly #source: AuthSource
  readonly #users = new Map<string, User>()
  readonly #roles = new Map<string, Role>()
  #isEnabled: boolean | undefined

  constructor(source: AuthSource) {
    this.#source = source
  }

  /** To be called after every change of the auth space. */
  forget(): void {
    this.#users.clear()
    this.#roles.clear()
    this.#isEnabled = undefined
  }

  get isEnabled(): boolean {
    this.#isEnabled ??= this.#source.peek(ENABLED) === 'true'
    return this.#isEnabled
  }

  user(name: string): User | undefined {
    return this.#users.get(name) ?? this.#read(this.#users, name, userKey(name), parseUser)
  }

  role(name: string): Role | undefined {
    if (name === ROOT) return ROOT_ROLE
    return this.#roles.get(name) ?? this.#read(this.#roles, name, roleKey(name), parseRole)
  }

  #read<T>(
    known: Map<string, T>,
    name: string,
    key: string,
    parse: (json: string) => T,
  ): T | undefined {
    const json = this.#source.peek(key)
    if (json === undefined) return undefined
    const value = parse(json)
    known.set(name, value)
    return value
  }

  /** Sorted. */
  userNames(): readonly string[] {
    return this.#source.peekNames('/2/users').toSorted(compareText)
  }

  /** Sorted, with the built-in one. */
  roleNames(): readonly string[] {
    return [ROOT, ...this.#source.peekNames('/2/roles')].toSorted(compareText)
  }

  /** Whether one of the user's roles allows it; roles that are gone allow nothing. */
  allows(user: User, path: string, access: Access): boolean {
    return (
      user.roles?.some((name) => {
        const role = this.role(name)
        return role !== undefined && roleAllows(role, path, access)
      }) ?? false
    )
  }

  /** Whether one may do it without credentials. Recursion asks for no more than the key itself. */
  allowsGuest(path: string, isWrite: boolean): boolean {
    const role = this.role(GUEST)
    return role !== undefined && roleAllows(role, path, { write: isWrite, recursive: false })
  }
}

function parseRole(json: string): Role {
  return parseRoleRequest(json).role
}
