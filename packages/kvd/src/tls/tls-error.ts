/** A certificate, key or CA cannot be used; the message names the file. */
export class TlsError extends Error {
  override readonly name = 'TlsError'
  readonly code = 'TLS'
}
