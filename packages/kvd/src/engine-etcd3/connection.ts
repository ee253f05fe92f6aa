import {
  Client,
  credentials,
  Metadata,
  status,
  type ChannelCredentials,
  type ClientDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js'
import { CONNECTION_LOST, EtcdError, TIMED_OUT } from './etcd-error.ts'

/** A call that has one answer. */
export interface Method<Request, Response> {
  readonly path: string
  encode(request: Request): Buffer
  decode(bytes: Buffer): Response
}

export interface Tls {
  readonly ca: Buffer | undefined
  readonly cert: Buffer | undefined
  readonly key: Buffer | undefined
}

/** How long one member may take to be connected before the next one is asked. */
const CONNECT_MS_MAX = 1_000
const OPTIONS = {
  // A transaction that is sent again would be a double write: nobody may do so but its caller.
  'grpc.enable_retries': 0,
  'grpc.max_receive_message_length': -1,
  // A member whose machine is gone says nothing. etcd allows no shorter interval than 5 s.
  'grpc.keepalive_time_ms': 6_000,
  'grpc.keepalive_timeout_ms': 3_000,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
}

/** One member of etcd. */
export class Connection {
  readonly url: string
  readonly #client: Client

  constructor(url: URL, tls: Tls) {
    this.url = url.origin
    const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port
    this.#client = new Client(`${url.hostname}:${port}`, channelCredentials(url, tls), OPTIONS)
  }

  /** False when it could not be connected in time. */
  async isReady(deadlineMs: number): Promise<boolean> {
    const until = Math.min(deadlineMs, Date.now() + CONNECT_MS_MAX)
    return await new Promise((resolve) => {
      this.#client.waitForReady(until, (error) => resolve(error === undefined))
    })
  }

  /** @throws EtcdError */
  async call<Request, Response>(
    method: Method<Request, Response>,
    request: Request,
    { token, deadlineMs }: { readonly token: string; readonly deadlineMs: number },
  ): Promise<Response> {
    return await new Promise((resolve, reject) => {
      this.#client.makeUnaryRequest(
        method.path,
        (value: Request) => method.encode(value),
        (bytes: Buffer) => method.decode(bytes),
        request,
        metadataOf(token),
        { deadline: deadlineMs },
        (error, response) => {
          if (error !== null) reject(etcdErrorOf(error))
          else if (response === undefined) reject(new EtcdError('UNKNOWN', CONNECTION_LOST))
          else resolve(response)
        },
      )
    })
  }

  /** A call both of whose sides go on. */
  stream<Request, Response>(
    method: Method<Request, Response>,
    token: string,
  ): ClientDuplexStream<Request, Response> {
    const metadata = metadataOf(token)
    // A member that is cut off from the others ends the stream instead of falling silent.
    metadata.set('hasleader', 'true')
    return this.#client.makeBidiStreamRequest(
      method.path,
      (value: Request) => method.encode(value),
      (bytes: Buffer) => method.decode(bytes),
      metadata,
    )
  }

  close(): void {
    this.#client.close()
  }
}

function channelCredentials(url: URL, { ca, cert, key }: Tls): ChannelCredentials {
  if (url.protocol === 'http:') return credentials.createInsecure()
  return credentials.createSsl(ca ?? null, key ?? null, cert ?? null)
}

function metadataOf(token: string): Metadata {
  const metadata = new Metadata()
  if (token !== '') metadata.set('token', token)
  return metadata
}

/** Statuses with which etcd says that a request was not carried out (etcd 3.4 etcdserver/api/v3rpc). */
const REFUSALS: readonly status[] = [
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.RESOURCE_EXHAUSTED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
  status.UNAUTHENTICATED,
]

/**
 * grpc-js reports a stream that the other end cut off under these two as well (HTTP/2
 * ENHANCE_YOUR_CALM, INADEQUATE_SECURITY), and then the request may have been carried out. The
 * server's own refusals begin with the name of who refuses.
 */
const AMBIGUOUS: readonly status[] = [status.RESOURCE_EXHAUSTED, status.PERMISSION_DENIED]
const REFUSER = /^(?:etcdserver|grpc): /

/** What a failed call says about its request. */
export function etcdErrorOf(error: ServiceError): EtcdError {
  const { code, details } = error
  if (details.includes('has been compacted')) return new EtcdError('COMPACTED', details)
  if (REFUSALS.includes(code) && (!AMBIGUOUS.includes(code) || REFUSER.test(details)))
    return new EtcdError('REFUSED', details)
  if (details.startsWith('etcdserver:')) return new EtcdError('UNKNOWN', details)
  const isLate = code === status.DEADLINE_EXCEEDED
  return new EtcdError('UNKNOWN', isLate ? TIMED_OUT : CONNECTION_LOST)
}
