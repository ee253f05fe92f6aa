import type { Admin, Member, Permissions, Role, User } from './admin-types.ts'
import type { Call, Cluster, ClusterAnswer } from './cluster.ts'
import type { CallOptions } from './types.ts'
import { list, parseError, parseJson, record, text } from './wire.ts'

type Caller = Pick<Cluster, 'call'>

/** Everything beside the keys; `health` comes from the caller because it asks one URL only. */
export function createAdmin(cluster: Caller, health: Admin['health']): Admin {
  return { ...createMembers(cluster), health, ...infoCalls(cluster), ...authCalls(cluster) }
}

/** /v2/members. */
export function createMembers(
  cluster: Caller,
): Pick<Admin, 'members' | 'leader' | 'addMember' | 'removeMember' | 'updateMember'> {
  const path = '/v2/members'
  return {
    members: async (options?: CallOptions) => {
      const body = record(await read(cluster, path, options))
      return list(body['members']).map(parseMember)
    },
    leader: async (options?: CallOptions) =>
      parseMember(await read(cluster, `${path}/leader`, options)),
    addMember: async (peerURL: string, options?: CallOptions) =>
      parseMember(await write(cluster, 'POST', path, { peerURLs: [peerURL] }, options)),
    removeMember: async (id: string, options?: CallOptions) => {
      await write(cluster, 'DELETE', `${path}/${encodeURIComponent(id)}`, undefined, options)
    },
    updateMember: async (id: string, peerURLs: readonly string[], options?: CallOptions) => {
      await write(cluster, 'PUT', `${path}/${encodeURIComponent(id)}`, { peerURLs }, options)
    },
  }
}

function infoCalls(cluster: Caller) {
  return {
    machines: async (options?: CallOptions) => {
      const answer = await cluster.call({ method: 'GET', path: '/v2/machines', ...options })
      if (answer.status !== 200) throw parseError(answer)
      return answer.body.split(', ').filter((url) => url !== '')
    },
    version: async (options?: CallOptions) => {
      const body = record(await read(cluster, '/version', options))
      return { etcdserver: text(body['etcdserver']), etcdcluster: text(body['etcdcluster']) }
    },
    stats: async (what: 'self' | 'leader' | 'store', options?: CallOptions) =>
      record(await read(cluster, `/v2/stats/${what}`, options)),
  }
}

function authCalls(cluster: Caller) {
  const enable = '/v2/auth/enable'
  return {
    authEnabled: async (options?: CallOptions) =>
      record(await read(cluster, enable, options))['enabled'] === true,
    enableAuth: async (options?: CallOptions) => {
      await write(cluster, 'PUT', enable, undefined, options)
    },
    disableAuth: async (options?: CallOptions) => {
      await write(cluster, 'DELETE', enable, undefined, options)
    },
    ...userCalls(cluster),
    ...roleCalls(cluster),
  }
}

function userCalls(cluster: Caller) {
  const path = (name: string) => `/v2/auth/users/${encodeURIComponent(name)}`
  const put = async (body: { user: string } & Record<string, unknown>, options?: CallOptions) =>
    write(cluster, 'PUT', path(body.user), body, options)
  return {
    users: async (options?: CallOptions) => {
      const body = record(await read(cluster, '/v2/auth/users', options))
      return list(body['users'] ?? []).map((user) => text(record(user)['user']))
    },
    user: async (name: string, options?: CallOptions) =>
      parseUser(await read(cluster, path(name), options)),
    addUser: async (name: string, password: string, options?: CallOptions) => {
      await put({ user: name, password }, options)
    },
    removeUser: async (name: string, options?: CallOptions) => {
      await write(cluster, 'DELETE', path(name), undefined, options)
    },
    grantUser: async (name: string, roles: readonly string[], options?: CallOptions) =>
      parseUser(await put({ user: name, grant: roles }, options)),
    revokeUser: async (name: string, roles: readonly string[], options?: CallOptions) =>
      parseUser(await put({ user: name, revoke: roles }, options)),
    changePassword: async (name: string, password: string, options?: CallOptions) =>
      parseUser(await put({ user: name, password }, options)),
  }
}

function roleCalls(cluster: Caller) {
  const path = (name: string) => `/v2/auth/roles/${encodeURIComponent(name)}`
  const put = async (body: { role: string } & Record<string, unknown>, options?: CallOptions) =>
    write(cluster, 'PUT', path(body.role), body, options)
  return {
    roles: async (options?: CallOptions) => {
      const body = record(await read(cluster, '/v2/auth/roles', options))
      return list(body['roles'] ?? []).map((role) => text(record(role)['role']))
    },
    role: async (name: string, options?: CallOptions) =>
      parseRole(await read(cluster, path(name), options)),
    addRole: async (name: string, options?: CallOptions) => {
      await put({ role: name, permissions: { kv: { read: [], write: [] } } }, options)
    },
    removeRole: async (name: string, options?: CallOptions) => {
      await write(cluster, 'DELETE', path(name), undefined, options)
    },
    grantRole: async (name: string, kv: Permissions, options?: CallOptions) =>
      parseRole(await put({ role: name, grant: { kv } }, options)),
    revokeRole: async (name: string, kv: Permissions, options?: CallOptions) =>
      parseRole(await put({ role: name, revoke: { kv } }, options)),
  }
}

async function read(cluster: Caller, path: string, options: CallOptions = {}): Promise<unknown> {
  return parseBody(await cluster.call({ method: 'GET', path, ...options }))
}

async function write(
  cluster: Caller,
  method: string,
  path: string,
  json: unknown,
  options: CallOptions = {},
): Promise<unknown> {
  const call: Call = { method, path, ...options }
  return parseBody(
    await cluster.call(json === undefined ? call : { ...call, json: JSON.stringify(json) }),
  )
}

function parseBody(answer: ClusterAnswer): unknown {
  if (answer.status > 299) throw parseError(answer)
  return answer.body === '' ? undefined : parseJson(answer.body)
}

function parseMember(value: unknown): Member {
  const member = record(value)
  return {
    id: text(member['id']),
    name: text(member['name'] ?? ''),
    peerURLs: list(member['peerURLs'] ?? []).map(text),
    clientURLs: list(member['clientURLs'] ?? []).map(text),
  }
}

function parseUser(value: unknown): User {
  const user = record(value)
  return { user: text(user['user']), roles: list(user['roles'] ?? []).map(roleName) }
}

/** etcd 2.3 gives whole role objects in GET and names in answers to writes. */
function roleName(value: unknown): string {
  return typeof value === 'string' ? value : text(record(value)['role'])
}

function parseRole(value: unknown): Role {
  const role = record(value)
  const kv = record(record(role['permissions'] ?? {})['kv'] ?? {})
  return {
    role: text(role['role']),
    permissions: {
      kv: { read: list(kv['read'] ?? []).map(text), write: list(kv['write'] ?? []).map(text) },
    },
  }
}
