import { setTimeout as delay } from 'node:timers/promises'
import type { ClientDuplexStream } from '@grpc/grpc-js'
import { Connection, type Method, type Tls } from './connection.ts'
import { CONNECTION_LOST, EtcdError, TIMED_OUT } from './etcd-error.ts'
import type {
  Header,
  MembersResponse,
  RangeRequest,
  StatusResponse,
  TxnRequest,
  TxnResponse,
  WatchRequest,
  WatchResponse,
} from './messages.ts'
import {
  encodeAuthenticate,
  encodeLeaseGrant,
  encodeLeaseRevoke,
  encodeMemberChange,
  encodeNothing,
  encodeTxn,
  encodeWatch,
  type Credentials,
  type LeaseGrant,
  type MemberChange,
} from './requests.ts'
import {
  decodeHeader,
  decodeMemberAdded,
  decodeMembers,
  decodeStatus,
  decodeToken,
  decodeTxn,
  decodeWatch,
} from './responses.ts'

const SERVICE = '/etcdserverpb'
const TXN: Method<TxnRequest, TxnResponse> = {
  path: `${SERVICE}.KV/Txn`,
  encode: encodeTxn,
  decode: decodeTxn,
}
const WATCH: Method<WatchRequest, WatchResponse> = {
  path: `${SERVICE}.Watch/Watch`,
  encode: encodeWatch,
  decode: decodeWatch,
}
const LEASE_GRANT: Method<LeaseGrant, Header> = {
  path: `${SERVICE}.Lease/LeaseGrant`,
  encode: encodeLeaseGrant,
  decode: decodeHeader,
}
const LEASE_REVOKE: Method<bigint, Header> = {
  path: `${SERVICE}.Lease/LeaseRevoke`,
  encode: encodeLeaseRevoke,
  decode: decodeHeader,
}
const MEMBER_LIST: Method<undefined, MembersResponse> = {
  path: `${SERVICE}.Cluster/MemberList`,
  encode: encodeNothing,
  decode: decodeMembers,
}
const STATUS: Method<undefined, StatusResponse> = {
  path: `${SERVICE}.Maintenance/Status`,
  encode: encodeNothing,
  decode: decodeStatus,
}
const AUTHENTICATE: Method<Credentials, string> = {
  path: `${SERVICE}.Auth/Authenticate`,
  encode: encodeAuthenticate,
  decode: decodeToken,
}
const MEMBER_CHANGES = { add: 'MemberAdd', remove: 'MemberRemove', update: 'MemberUpdate' } as const

/** After this time another member is asked, when asking twice does no harm. */
const ATTEMPT_MS_MAX = 2_000
const PAUSE_MS = 50
/** etcd says so before it looks at the request. */
const TOKEN_REFUSALS = ['invalid auth token', 'revision of auth store is old']

export interface EtcdOptions {
  readonly endpoints: readonly URL[]
  readonly tls: Tls
  readonly user: Credentials | undefined
  readonly timeoutMs: number
}

/** An etcd v3 cluster. Every call ends within the timeout and fails with an EtcdError only. */
export class Etcd {
  readonly #connections: readonly Connection[]
  readonly #user: Credentials | undefined
  readonly #timeoutMs: number
  #preferred = 0
  #token = ''
  #header: Header | undefined
  #isClosed = false

  constructor({ endpoints, tls, user, timeoutMs }: EtcdOptions) {
    this.#connections = endpoints.map((url) => new Connection(url, tls))
    this.#user = user
    this.#timeoutMs = timeoutMs
  }

  /** Of the newest answer; undefined before the first. */
  get header(): Header | undefined {
    return this.#header
  }

  get revision(): number {
    return this.#header?.revision ?? 0
  }

  /** One range for each request, all of the same revision. Asked again while there is time. */
  async read(requests: readonly RangeRequest[]): Promise<TxnResponse> {
    const success = requests.map((request) => ({ type: 'range', ...request }) as const)
    return this.#seen(await this.#ask(TXN, { compare: [], success, failure: [] }))
  }

  /** Sent once: with UNKNOWN nobody can tell whether it happened. */
  async txn(request: TxnRequest): Promise<TxnResponse> {
    return this.#seen(await this.#tell(TXN, request))
  }

  async grantLease(grant: LeaseGrant): Promise<void> {
    await this.#tell(LEASE_GRANT, grant)
  }

  async revokeLease(id: bigint): Promise<void> {
    await this.#tell(LEASE_REVOKE, id)
  }

  async members(): Promise<MembersResponse> {
    return await this.#ask(MEMBER_LIST, undefined)
  }

  async changeMember(change: MemberChange): Promise<MembersResponse> {
    return await this.#tell(
      {
        path: `${SERVICE}.Cluster/${MEMBER_CHANGES[change.type]}`,
        encode: encodeMemberChange,
        decode: change.type === 'add' ? decodeMemberAdded : decodeMembers,
      },
      change,
    )
  }

  /** Of the member that answers; its leader is that of the cluster. */
  async status(): Promise<StatusResponse> {
    return await this.#ask(STATUS, undefined)
  }

  /** Opens a stream of changes to some member. */
  async watch(request: WatchRequest): Promise<ClientDuplexStream<WatchRequest, WatchResponse>> {
    const deadlineMs = Date.now() + this.#timeoutMs
    const connection = await this.#connect(deadlineMs)
    const stream = connection.stream(WATCH, await this.#credentials(connection, deadlineMs))
    stream.on('error', () => this.#avoid(connection))
    stream.write(request)
    return stream
  }

  #seen(response: TxnResponse): TxnResponse {
    if (response.header.revision >= this.revision) this.#header = response.header
    return response
  }

  async #ask<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
  ): Promise<Response> {
    const deadlineMs = Date.now() + this.#timeoutMs
    for (;;) {
      const connection = await this.#connect(deadlineMs)
      const attemptMs = Math.min(deadlineMs, Date.now() + ATTEMPT_MS_MAX)
      try {
        return await this.#call(connection, method, request, attemptMs)
      } catch (error) {
        if (!(error instanceof EtcdError) || error.code !== 'UNKNOWN') throw error
        this.#avoid(connection)
        if (Date.now() >= deadlineMs) throw error
        await delay(PAUSE_MS)
      }
    }
  }

  async #tell<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
  ): Promise<Response> {
    const deadlineMs = Date.now() + this.#timeoutMs
    const connection = await this.#connect(deadlineMs)
    try {
      return await this.#call(connection, method, request, deadlineMs)
    } catch (error) {
      if (error instanceof EtcdError && error.code === 'UNKNOWN') this.#avoid(connection)
      throw error
    }
  }

  async #call<Request, Response>(
    connection: Connection,
    method: Method<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<Response> {
    const token = await this.#credentials(connection, deadlineMs)
    try {
      return await connection.call(method, request, { token, deadlineMs })
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error
      const { message } = error
      if (!TOKEN_REFUSALS.some((text) => message.includes(text))) throw error
      if (this.#token === token) this.#token = ''
      const renewed = await this.#credentials(connection, deadlineMs)
      return await connection.call(method, request, { token: renewed, deadlineMs })
    }
  }

  async #credentials(connection: Connection, deadlineMs: number): Promise<string> {
    if (this.#user === undefined) return ''
    if (this.#token === '')
      this.#token = await connection.call(AUTHENTICATE, this.#user, { token: '', deadlineMs })
    return this.#token
  }

  /** The member that was last good, or the next one that can be connected. */
  async #connect(deadlineMs: number): Promise<Connection> {
    for (let at = this.#preferred; Date.now() < deadlineMs && !this.#isClosed; at += 1) {
      const connection = this.#connections[at % this.#connections.length]
      if (connection === undefined || !(await connection.isReady(deadlineMs))) continue
      this.#preferred = at % this.#connections.length
      return connection
    }
    throw new EtcdError('UNREACHABLE', this.#header === undefined ? TIMED_OUT : CONNECTION_LOST)
  }

  /** The next request goes to another member, unless somebody else has seen to that. */
  #avoid(connection: Connection): void {
    if (this.#connections[this.#preferred] !== connection) return
    this.#preferred = (this.#preferred + 1) % this.#connections.length
  }

  close(): void {
    this.#isClosed = true
    for (const connection of this.#connections) connection.close()
  }
}
