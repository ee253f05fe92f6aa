/**
 * What is written may not be on the disk, whatever the system says later: also for want of room, which
 * some file systems find out only then.
 */
export class SyncError extends Error {
  override readonly name = 'SyncError'
  readonly code = 'FSYNC'

  constructor(file: string, cause: unknown) {
    super(`cannot sync ${file}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    })
  }
}
