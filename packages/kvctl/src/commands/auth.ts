import type { KvClient, Permissions, Role } from '@flotilla/kv-client'
import { EXIT, ExitError } from '../context.ts'
import type { Context, Io, Run } from '../context.ts'
import { checked, noArguments, refuse, step, timed } from './member.ts'

type Use = (context: Context, client: KvClient, signal: AbortSignal) => Promise<void>

/** user, role and auth say the endpoints twice with --debug, as the original. */
function authCommand(use: Use): Run {
  return timed(async (context, client, signal) => {
    if (context.global.bool('debug')) {
      context.io.stderr(`Cluster-Endpoints: ${client.endpoints.join(', ')}\n`)
    }
    await use(context, client, signal)
  })
}

function oneUser(args: readonly string[]): void {
  if (args.length !== 1) throw refuse('Please provide a username')
}

function oneRole(args: readonly string[]): void {
  if (args.length !== 1) throw refuse('Please provide a role name')
}

export const authEnable: Run = checked(
  noArguments,
  authCommand(async ({ io }, client, signal) => {
    await step(client.enableAuth({ signal }))
    io.stdout('Authentication Enabled\n')
  }),
)

export const authDisable: Run = checked(
  noArguments,
  authCommand(async ({ io }, client, signal) => {
    await step(client.disableAuth({ signal }))
    io.stdout('Authentication Disabled\n')
  }),
)

export const userList: Run = checked(
  noArguments,
  authCommand(async ({ io }, client, signal) => {
    for (const user of await step(client.users({ signal }))) io.stdout(`${user}\n`)
  }),
)

export const userAdd: Run = checked(
  oneUser,
  authCommand(async ({ io, args }, client, signal) => {
    const [word = ''] = args
    const colon = word.indexOf(':')
    const name = colon === -1 ? word : word.slice(0, colon)
    if (await exists(client.user(name, { signal }))) throw refuse(`User ${name} already exists`)
    const password = colon === -1 ? await newPassword(io) : word.slice(colon + 1)
    await step(client.addUser(name, password, { signal }))
    io.stdout(`User ${name} created\n`)
  }),
)

/** Whether a look-up finds something; why it does not is told by the write that follows. */
async function exists(lookUp: Promise<unknown>): Promise<boolean> {
  try {
    await lookUp
    return true
  } catch {
    return false
  }
}

async function newPassword(io: Io): Promise<string> {
  try {
    return await io.readPassword('New password: ')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ExitError(EXIT.badArgs, `Error reading password: ${reason}\n`)
  }
}

export const userGet: Run = checked(
  oneUser,
  authCommand(async ({ io, args }, client, signal) => {
    const { user, roles } = await step(client.user(args[0] ?? '', { signal }))
    io.stdout(`User: ${user}\nRoles: ${padRoles(roles)}\n`)
  }),
)

/** etcd 2.3 client/auth_user.go makes as many empty names as there are roles and puts them in front. */
export function padRoles(roles: readonly string[]): string {
  return [...roles.map(() => ''), ...roles].join(' ')
}

export const userRemove: Run = checked(
  oneUser,
  authCommand(async ({ io, args }, client, signal) => {
    const [name = ''] = args
    await step(client.removeUser(name, { signal }))
    io.stdout(`User ${name} removed\n`)
  }),
)

export const userPasswd: Run = checked(
  oneUser,
  authCommand(async ({ io, args }, client, signal) => {
    const [name = ''] = args
    await step(client.user(name, { signal }))
    await step(client.changePassword(name, await newPassword(io), { signal }))
    io.stdout('Password updated\n')
  }),
)

function userRoles(change: 'grantUser' | 'revokeUser'): Run {
  return async (context) => {
    const roles = context.options.list('roles')
    if (roles.length === 0) throw refuse('No roles specified; please use `-roles`')
    oneUser(context.args)
    return authCommand(async ({ io, args }, client, signal) => {
      const [name = ''] = args
      await step(client.user(name, { signal }))
      await step(client[change](name, roles, { signal }))
      io.stdout(`User ${name} updated\n`)
    })(context)
  }
}

export const userGrant: Run = userRoles('grantUser')
export const userRevoke: Run = userRoles('revokeUser')

export const roleList: Run = checked(
  noArguments,
  authCommand(async ({ io }, client, signal) => {
    for (const role of await step(client.roles({ signal }))) io.stdout(`${role}\n`)
  }),
)

export const roleAdd: Run = checked(
  oneRole,
  authCommand(async ({ io, args }, client, signal) => {
    const [name = ''] = args
    if (await exists(client.role(name, { signal }))) throw refuse(`Role ${name} already exists`)
    await step(client.addRole(name, { signal }))
    io.stdout(`Role ${name} created\n`)
  }),
)

export const roleGet: Run = checked(
  oneRole,
  authCommand(async ({ io, args }, client, signal) => {
    io.stdout(roleText(await step(client.role(args[0] ?? '', { signal }))))
  }),
)

/** What `role get` prints. */
export function roleText({ role, permissions }: Role): string {
  const { read, write } = permissions.kv
  const paths = (list: readonly string[]) => list.map((path) => `\t${path}\n`).join('')
  return `Role: ${role}\nKV Read:\n${paths(read)}KV Write:\n${paths(write)}`
}

export const roleRemove: Run = checked(
  oneRole,
  authCommand(async ({ io, args }, client, signal) => {
    const [name = ''] = args
    await step(client.removeRole(name, { signal }))
    io.stdout(`Role ${name} removed\n`)
  }),
)

function rolePermissions(change: 'grantRole' | 'revokeRole', unchanged: string): Run {
  return async (context) => {
    const kv = wantPermissions(context)
    oneRole(context.args)
    return authCommand(async ({ io, args }, client, signal) => {
      const [name = ''] = args
      const before = await step(client.role(name, { signal }))
      const after = await step(client[change](name, kv, { signal }))
      if (roleText(before) === roleText(after)) io.stdout(`Role unchanged; already ${unchanged}`)
      io.stdout(`Role ${name} updated\n`)
    })(context)
  }
}

export const roleGrant: Run = rolePermissions('grantRole', 'granted')
export const roleRevoke: Run = rolePermissions('revokeRole', 'revoked')

function wantPermissions({ options }: Context): Permissions {
  const path = options.text('path')
  if (path === '') throw refuse('No path specified; please use `-path`')
  const canonical = canonicalPath(path)
  if (canonical !== path) {
    throw refuse(`Not canonical path; please use \`-path=${canonical}\``)
  }
  const kinds = ['read', 'write', 'readwrite'].filter((name) => options.bool(name))
  const [kind] = kinds
  if (kind === undefined || kinds.length > 1) {
    throw refuse('Please specify exactly one of -read, -write or -readwrite')
  }
  return {
    read: kind === 'write' ? [] : [path],
    write: kind === 'read' ? [] : [path],
  }
}

/** etcd 2.3 pkg/pathutil: absolute and clean, a trailing slash kept. */
export function canonicalPath(path: string): string {
  const parts: string[] = []
  for (const part of path.split('/')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  const clean = `/${parts.join('/')}`
  return path.endsWith('/') && clean !== '/' ? `${clean}/` : clean
}
