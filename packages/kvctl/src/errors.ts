import { isIP } from 'node:net'
import { ClusterError, KvError, TransportError } from '@flotilla/kv-client'
import { EXIT, ExitError } from './context.ts'

/** The end of a key command that failed: `Error:  ` and, for a cluster that cannot be reached, why. */
export function keyFailure(error: unknown, exitCode: number = EXIT.serverError): ExitError {
  const details =
    error instanceof ClusterError
      ? `${error.errors.map((one, n) => `error #${n}: ${errorText(one.error)}\n`).join('')}\n`
      : ''
  return new ExitError(exitCode, `Error:  ${keyErrorText(error)}\n${details}`)
}

/** The end of a command whose arguments are not enough. */
export function badArgs(text: string): ExitError {
  return new ExitError(EXIT.badArgs, `Error:  ${text}\n`)
}

/** The end of member, user, role and auth commands: the message alone, exit 1. */
export function plainFailure(error: unknown): ExitError {
  return new ExitError(EXIT.badArgs, `${errorText(error)}\n`)
}

// etcd 2.3 client/keys.go: what is not the JSON of a v2 error cannot come from etcd.
const NOT_ETCD =
  'client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint.'

function keyErrorText(error: unknown): string {
  if (!(error instanceof KvError)) return errorText(error)
  const { errorCode, message, subject, index } = error
  return errorCode === 0 ? NOT_ETCD : `${errorCode}: ${message} (${subject}) [${index}]`
}

/** The text of an error in the words of the original, which are those of Go's net package. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error.name === 'TimeoutError') return 'context deadline exceeded'
  return error instanceof TransportError ? transportText(error) : error.message
}

/**
 * Node's words for an answer, or a handshake, that did not come before the connection ended; Go's EOF
 * is no connection error.
 */
const HANG_UPS: ReadonlySet<string> = new Set([
  'socket hang up',
  'Client network socket disconnected before secure TLS connection was established',
])

function transportText(error: TransportError): string {
  const { cause } = error
  const address = addressOf(cause)
  switch (error.code) {
    case 'ECONNREFUSED':
      return `dial tcp ${address}: connect: connection refused`
    case 'EHOSTUNREACH':
      return `dial tcp ${address}: connect: no route to host`
    case 'ENETUNREACH':
      return `dial tcp ${address}: connect: network is unreachable`
    case 'ETIMEDOUT':
      return `dial tcp ${address}: i/o timeout`
    case 'ENOTFOUND':
      return `dial tcp: lookup ${field(cause, 'hostname')}: no such host`
    case 'EAI_AGAIN':
      return `dial tcp: lookup ${field(cause, 'hostname')}: Temporary failure in name resolution`
    case 'ECONNRESET':
      return HANG_UPS.has(error.message)
        ? 'EOF'
        : `read tcp ${address}: read: connection reset by peer`
    case 'DEPTH_ZERO_SELF_SIGNED_CERT':
    case 'SELF_SIGNED_CERT_IN_CHAIN':
    case 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY':
    case 'UNABLE_TO_VERIFY_LEAF_SIGNATURE':
      return 'x509: certificate signed by unknown authority'
    case 'CERT_HAS_EXPIRED':
    case 'CERT_NOT_YET_VALID':
      return 'x509: certificate has expired or is not yet valid'
    case 'ERR_TLS_CERT_ALTNAME_INVALID':
      return otherNameText(cause)
    case 'ERR_SSL_WRONG_VERSION_NUMBER':
      return 'tls: first record does not look like a TLS handshake'
    default:
      return alertText(error.code) ?? error.message
  }
}

/** What the certificate is for, and what it was asked for (Go crypto/x509 HostnameError). */
function otherNameText(cause: unknown): string {
  const host = field(cause, 'host')
  const isAddress = isIP(host) !== 0
  const names = field(property(cause, 'cert'), 'subjectaltname').split(', ')
  const kind = isAddress ? 'IP Address:' : 'DNS:'
  const known = names.filter((name) => name.startsWith(kind)).map((name) => name.slice(kind.length))
  if (known.length > 0) return `x509: certificate is valid for ${known.join(', ')}, not ${host}`
  return isAddress
    ? `x509: cannot validate certificate for ${host} because it doesn't contain any IP SANs`
    : `x509: certificate is not valid for any names, but wanted to match ${host}`
}

/** OpenSSL names the alert of the other side in its code: `ERR_SSL_TLSV1_ALERT_UNKNOWN_CA`. */
function alertText(code: string): string | undefined {
  const [, alert] = /^ERR_SSL_\w+_ALERT_(\w+)$/.exec(code) ?? []
  return alert && `remote error: tls: ${alert.toLowerCase().replaceAll('_', ' ')}`
}

function addressOf(cause: unknown): string {
  const address = field(cause, 'address')
  const host = address.includes(':') ? `[${address}]` : address
  return `${host}:${field(cause, 'port')}`
}

function property(object: unknown, name: string): unknown {
  return typeof object === 'object' && object !== null ? Reflect.get(object, name) : undefined
}

function field(object: unknown, name: string): string {
  const value = property(object, name)
  return typeof value === 'string' || typeof value === 'number' ? String(value) : ''
}

/** Codes of failures to connect, or to hear from who is connected. */
const CONNECTION_CODES = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ECONNRESET',
  'HEADER_TIMEOUT',
])

/** Whether nobody could be reached at all (exit 2 while the members are read). */
export function isConnectionError(error: unknown): boolean {
  if (error instanceof ClusterError) {
    return error.errors.every((one) => isConnectionError(one.error))
  }
  if (error instanceof TransportError) {
    return CONNECTION_CODES.has(error.code) && !HANG_UPS.has(error.message)
  }
  return error instanceof Error && error.name === 'TimeoutError'
}
