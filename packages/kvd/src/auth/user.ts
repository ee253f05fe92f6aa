import { quoteJson } from '../store/text.ts'
import { AuthError } from './auth-error.ts'
import { namesJson, parseMembers, readNames, readText, type Names } from './json.ts'
import { addNames, isSame, removeNames } from './names-set.ts'
import { ROOT, roleJson, type Role } from './role.ts'

/** A user as the store keeps it. */
export interface User {
  readonly name: string
  /** Hashed (password-text.ts). */
  readonly password: string
  readonly roles: Names
}

/** What a PUT of a user asks for. An empty password is none. */
export interface UserRequest {
  readonly name: string
  readonly password: string
  readonly roles: Names
  readonly grant: readonly string[]
  readonly revoke: readonly string[]
}

/** @throws ShapeError */
export function parseUserRequest(json: string): UserRequest {
  const document = parseMembers(json)
  return {
    name: readText(document.get('user')),
    password: readText(document.get('password')),
    roles: readNames(document.get('roles')),
    grant: readNames(document.get('grant')) ?? [],
    revoke: readNames(document.get('revoke')) ?? [],
  }
}

/** A user out of the store. The user `root` has the role `root` whatever the store says. */
export function parseUser(json: string): User {
  const { name, password, roles } = parseUserRequest(json)
  return withRootRole({ name, password, roles })
}

/** The user `root` cannot be without the role `root`. */
export function withRootRole(user: User): User {
  if (user.name !== ROOT || user.roles?.includes(ROOT) === true) return user
  return { ...user, roles: [...(user.roles ?? []), ROOT] }
}

/** How the store keeps a user. */
export function userText({ name, password, roles }: User): string {
  return `{"user":${quoteJson(name)},"password":${quoteJson(password)},"roles":${namesJson(roles)}}`
}

/** The answer to a change: names of the roles, no password. */
export function changedUserJson({ name, roles }: User): string {
  return `{"user":${quoteJson(name)},"roles":${namesJson(roles)}}`
}

/** The answer to a read: whole roles, left out when there are none. */
export function shownUserJson(name: string, roles: readonly Role[]): string {
  const tail = roles.length === 0 ? '' : `,"roles":[${roles.map(roleJson).join(',')}]`
  return `{"user":${quoteJson(name)}${tail}}`
}

/**
 * The user with a new password, when there is one, and other roles.
 * @param password hashed, or undefined to keep the old one
 * @throws AuthError for a role that is there already or is not there, and when nothing changes
 */
export function changeUser(
  user: User,
  { grant, revoke }: Pick<UserRequest, 'grant' | 'revoke'>,
  password: string | undefined,
): User {
  const refuse =
    (what: string) =>
    (role: string): never => {
      throw new AuthError(409, `auth: ${what} role ${role} for user ${user.name}`)
    }
  const granted = addNames(user.roles, grant, refuse('Granting duplicate'))
  const roles = removeNames(granted, revoke, refuse('Revoking ungranted'))
  if (password === undefined && isSame(user.roles, roles))
    throw new AuthError(
      400,
      'auth: User not updated. Use grant/revoke/password to update the user.',
    )
  return { name: user.name, password: password ?? user.password, roles }
}
