/** What the v2 API answered: a code of spec/kvd.md section 5, or `errorCode` 0 where the API gives a message alone (members, auth). */
export class KvError extends Error {
  override readonly name = 'KvError'
  readonly errorCode: number
  /** The wire's `cause`: the key, the comparison that failed, ... */
  readonly subject: string
  readonly index: number
  /** HTTP status. */
  readonly status: number

  constructor(
    message: string,
    details: { errorCode: number; subject: string; index: number; status: number },
  ) {
    super(message)
    this.errorCode = details.errorCode
    this.subject = details.subject
    this.index = details.index
    this.status = details.status
  }
}

/** True for a KvError with one of these codes: `isKvError(error, 100)`. */
export function isKvError(error: unknown, ...codes: readonly number[]): error is KvError {
  return error instanceof KvError && (codes.length === 0 || codes.includes(error.errorCode))
}

/**
 * Why a ClusterError was thrown. `UNAVAILABLE`: no endpoint answered, and a write was certainly not
 * applied (unless `retryWrites` is `always`). `OUTCOME_UNKNOWN`: a write left, its answer was lost or
 * was a 5xx; it may have been applied or may yet be. `NO_ENDPOINTS`: there is none to ask.
 */
export type ClusterErrorCode = 'UNAVAILABLE' | 'OUTCOME_UNKNOWN' | 'NO_ENDPOINTS'

/** What one endpoint did. */
export interface EndpointError {
  readonly endpoint: string
  readonly error: Error
}

// etcd 2.3 client/client.go, cluster_error.go: users know these two texts.
const CLUSTER_MESSAGES = {
  UNAVAILABLE: 'client: etcd cluster is unavailable or misconfigured',
  NO_ENDPOINTS: 'client: no endpoints available',
  OUTCOME_UNKNOWN: 'client: the write was sent, but whether it was applied is not known',
} as const

/** No endpoint gave an answer that could be used. */
export class ClusterError extends Error {
  override readonly name = 'ClusterError'
  readonly code: ClusterErrorCode
  readonly errors: readonly EndpointError[]

  constructor(code: ClusterErrorCode, errors: readonly EndpointError[]) {
    super(CLUSTER_MESSAGES[code], { cause: errors.at(-1)?.error })
    this.code = code
    this.errors = errors
  }
}

/** An endpoint answered 5xx. The texts are those of etcd 2.3 client/client.go. */
export class MemberError extends Error {
  override readonly name = 'MemberError'
  readonly endpoint: string
  readonly status: number
  readonly body: string

  constructor(endpoint: string, status: number, statusText: string, body: string) {
    super(
      status === 500 || status === 503
        ? `client: etcd member ${endpoint} has no leader`
        : `client: etcd member ${endpoint} returns server error [${statusText}]`,
    )
    this.endpoint = endpoint
    this.status = status
    this.body = body
  }
}

/** Codes of a {@link TransportError} that are not the system's own (ECONNREFUSED, ENOTFOUND, ...). */
export type TransportCode =
  'HEADER_TIMEOUT' | 'ANSWER_TOO_LARGE' | 'TOO_MANY_REDIRECTS' | 'BAD_REDIRECT' | 'BAD_ANSWER'

/** A request got no usable answer from its endpoint. */
export class TransportError extends Error {
  override readonly name = 'TransportError'
  /** A {@link TransportCode} or the system's code. */
  readonly code: string
  /** False when the request certainly did not reach the server: no connection was made. */
  readonly sent: boolean

  constructor(message: string, code: string, sent: boolean, cause?: unknown) {
    super(message, { cause })
    this.code = code
    this.sent = sent
  }
}

/** The code of a system or transport error, '' for anything else. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : ''
}
