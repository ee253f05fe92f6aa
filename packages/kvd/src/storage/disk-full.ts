/** The code of SQLite or of the system that an error carries; empty when it has none. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** Nothing of the transaction was written, for want of room: it may be tried again. */
export function isDiskFull(error: unknown): boolean {
  return codeOf(error) === 'SQLITE_FULL'
}
