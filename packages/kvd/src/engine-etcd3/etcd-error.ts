/**
 * What etcd did not do, or may not have done. `message` is what a client is told.
 *
 *   UNREACHABLE  nothing was sent
 *   REFUSED      etcd said no: nothing has happened
 *   COMPACTED    the revision asked for is no longer there
 *   UNKNOWN      there was no answer, or one that leaves it open: it may have happened or yet happen
 */
export class EtcdError extends Error {
  override readonly name = 'EtcdError'
  readonly code: 'UNREACHABLE' | 'REFUSED' | 'COMPACTED' | 'UNKNOWN'

  constructor(code: EtcdError['code'], message: string) {
    super(message)
    this.code = code
  }
}

/** The original's words for a request that found no end in time. */
export const TIMED_OUT = 'etcdserver: request timed out'
export const CONNECTION_LOST = `${TIMED_OUT}, possibly due to connection lost`
