export type { Admin, Member, Permissions, Role, User, Version } from './admin-types.ts'
export { createClient } from './client.ts'
export { ClusterError, isKvError, KvError, MemberError, TransportError } from './errors.ts'
export type { ClusterErrorCode, EndpointError, TransportCode } from './errors.ts'
export type { HttpTrace } from './http.ts'
export { cleanKey } from './keys.ts'
export type {
  CallOptions,
  ClientOptions,
  DeleteOptions,
  GetOptions,
  KeysApi,
  KvClient,
  KvNode,
  KvResponse,
  SetOptions,
  TlsOptions,
  TtlOptions,
  WaitOptions,
  WatchEvent,
  WatchOptions,
} from './types.ts'
