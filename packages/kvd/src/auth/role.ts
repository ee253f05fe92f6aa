import { quoteJson } from '../store/text.ts'
import { AuthError } from './auth-error.ts'
import { namesJson, parseMembers, readMembers, readNames, readText, type Names } from './json.ts'
import { addNames, isSame, removeNames } from './names-set.ts'

/** Patterns of keys: one that ends in `*` means all that begin like it, any other exactly one. */
export interface Permissions {
  readonly read: Names
  readonly write: Names
}

export interface Role {
  readonly name: string
  readonly permissions: Permissions
}

/** Name of the role that may do everything, and of the user who always has it. */
export const ROOT = 'root'
/** Name of the role of everybody who sends no credentials. */
export const GUEST = 'guest'

const EVERYTHING: Permissions = { read: ['/*'], write: ['/*'] }
/** Built in: it is not in the store and cannot be changed. */
export const ROOT_ROLE: Role = { name: ROOT, permissions: EVERYTHING }
/** Made when auth is switched on without a role `guest`. */
export const GUEST_ROLE: Role = { name: GUEST, permissions: EVERYTHING }

/** What a PUT of a role asks for: a new role, or a change when grant or revoke name something. */
export interface RoleRequest {
  readonly role: Role
  readonly grant: Permissions | undefined
  readonly revoke: Permissions | undefined
}

/** @throws ShapeError */
export function parseRoleRequest(json: string): RoleRequest {
  const document = parseMembers(json)
  return {
    role: {
      name: readText(document.get('role')),
      permissions: parsePermissions(document.get('permissions')),
    },
    grant: parseOptional(document.get('grant')),
    revoke: parseOptional(document.get('revoke')),
  }
}

function parseOptional(value: unknown): Permissions | undefined {
  return value === undefined || value === null ? undefined : parsePermissions(value)
}

function parsePermissions(value: unknown): Permissions {
  const kv = readMembers(readMembers(value).get('kv'))
  return { read: readNames(kv.get('read')), write: readNames(kv.get('write')) }
}

/** True when no pattern is named. */
export function isEmpty(permissions: Permissions | undefined): boolean {
  return !permissions?.read?.length && !permissions?.write?.length
}

/** On the wire and in the store. */
export function roleJson({ name, permissions }: Role): string {
  const { read, write } = permissions
  return `{"role":${quoteJson(name)},"permissions":{"kv":{"read":${namesJson(read)},"write":${namesJson(write)}}}}`
}

/**
 * The role with patterns added, then others taken away; what was not granted is not missed.
 * @throws AuthError for a pattern that is there already, and when nothing changes
 */
export function changeRole(role: Role, { grant, revoke }: RoleRequest): Role {
  const { permissions: before } = role
  const granted = grant === undefined ? before : addPermissions(before, grant)
  const after = revoke === undefined ? granted : removePermissions(granted, revoke)
  if (isSame(before.read, after.read) && isSame(before.write, after.write))
    throw new AuthError(400, 'auth: Role not updated. Use grant/revoke to update the role.')
  return { name: role.name, permissions: after }
}

function addPermissions(before: Permissions, added: Permissions): Permissions {
  const refuse =
    (kind: string) =>
    (pattern: string): never => {
      throw new AuthError(409, `auth: Granting duplicate ${kind} permission ${pattern}`)
    }
  return {
    read: addNames(before.read, added.read ?? [], refuse('read')),
    write: addNames(before.write, added.write ?? [], refuse('write')),
  }
}

function removePermissions(before: Permissions, removed: Permissions): Permissions {
  const skip = (): undefined => undefined
  return {
    read: removeNames(before.read, removed.read ?? [], skip),
    write: removeNames(before.write, removed.write ?? [], skip),
  }
}

/** What a request wants to do with a key. */
export interface Access {
  readonly write: boolean
  /** It reaches all that is below the key. */
  readonly recursive: boolean
}

/**
 * Whether a role allows it. `path` is the key as it was sent: `/a/` is not `/a`, and the bare
 * /v2/keys is an empty one (etcd 2.3 auth/auth.go, client.go).
 */
export function roleAllows({ name, permissions }: Role, path: string, access: Access): boolean {
  if (name === ROOT) return true
  const patterns = access.write ? permissions.write : permissions.read
  return patterns?.some((pattern) => matches(pattern, path, access.recursive)) ?? false
}

function matches(pattern: string, path: string, isRecursive: boolean): boolean {
  if (pattern.endsWith('*')) return path.startsWith(pattern.slice(0, -1))
  return !isRecursive && pattern !== '' && path === pattern
}
