/** A request about users, roles or passwords that is answered with an error (kvd.md 10). */
export class AuthError extends Error {
  override readonly name = 'AuthError'
  readonly code = 'AUTH'
  /** HTTP status. */
  readonly status: number

  /** @param message as the original words it; `auth: ` stands in front of most of them */
  constructor(status: number, message: string, options?: ErrorOptions) {
    super(message, options)
    this.status = status
  }
}
