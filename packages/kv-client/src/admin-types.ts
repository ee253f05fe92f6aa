import type { CallOptions } from './types.ts'

/** A member as /v2/members shows it; `name` is empty and `clientURLs` too until it has started. */
export interface Member {
  readonly id: string
  readonly name: string
  readonly peerURLs: readonly string[]
  readonly clientURLs: readonly string[]
}

export interface Role {
  readonly role: string
  readonly permissions: { readonly kv: Permissions }
}

export interface Permissions {
  readonly read: readonly string[]
  readonly write: readonly string[]
}

/** `roles` are names. */
export interface User {
  readonly user: string
  readonly roles: readonly string[]
}

export interface Version {
  readonly etcdserver: string
  readonly etcdcluster: string
}

/** Members, health, statistics and auth. Failures are {@link KvError} without a code (`errorCode` 0): only a message and a status. */
export interface Admin {
  /** Ordered by id. */
  members(options?: CallOptions): Promise<readonly Member[]>
  /** During an election every member answers 503: a ClusterError. */
  leader(options?: CallOptions): Promise<Member>
  addMember(peerURL: string, options?: CallOptions): Promise<Member>
  removeMember(id: string, options?: CallOptions): Promise<void>
  updateMember(id: string, peerURLs: readonly string[], options?: CallOptions): Promise<void>
  /** GET /health of one client URL, without failover. Rejects when it cannot be read. */
  health(url: string, options?: CallOptions): Promise<boolean>
  /** The client URLs of all members, from /v2/machines, which etcd 0.4 has, too. */
  machines(options?: CallOptions): Promise<readonly string[]>
  version(options?: CallOptions): Promise<Version>
  /** The body of /v2/stats/{what} as it is. */
  stats(what: 'self' | 'leader' | 'store', options?: CallOptions): Promise<Record<string, unknown>>

  authEnabled(options?: CallOptions): Promise<boolean>
  enableAuth(options?: CallOptions): Promise<void>
  disableAuth(options?: CallOptions): Promise<void>
  users(options?: CallOptions): Promise<readonly string[]>
  user(name: string, options?: CallOptions): Promise<User>
  addUser(name: string, password: string, options?: CallOptions): Promise<void>
  removeUser(name: string, options?: CallOptions): Promise<void>
  grantUser(name: string, roles: readonly string[], options?: CallOptions): Promise<User>
  revokeUser(name: string, roles: readonly string[], options?: CallOptions): Promise<User>
  changePassword(name: string, password: string, options?: CallOptions): Promise<User>
  roles(options?: CallOptions): Promise<readonly string[]>
  role(name: string, options?: CallOptions): Promise<Role>
  addRole(name: string, options?: CallOptions): Promise<void>
  removeRole(name: string, options?: CallOptions): Promise<void>
  grantRole(name: string, kv: Permissions, options?: CallOptions): Promise<Role>
  revokeRole(name: string, kv: Permissions, options?: CallOptions): Promise<Role>
}
