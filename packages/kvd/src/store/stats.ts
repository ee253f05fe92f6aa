/** Counters of `/v2/stats/store`, in the wire's order (etcd 2.3 store/stats.go). */
export const COUNTERS = [
  'getsSuccess',
  'getsFail',
  'setsSuccess',
  'setsFail',
  'deleteSuccess',
  'deleteFail',
  'updateSuccess',
  'updateFail',
  'createSuccess',
  'createFail',
  'compareAndSwapSuccess',
  'compareAndSwapFail',
  'compareAndDeleteSuccess',
  'compareAndDeleteFail',
  'expireCount',
] as const

export type Counter = (typeof COUNTERS)[number]
/** What the image keeps of a store besides its nodes and events. */
export type StoreStats = Record<Counter, number> & {
  /** Up to here everything that was due has expired; milliseconds since 1970. */
  syncTime: number
}

export function createStats(): StoreStats {
  return {
    getsSuccess: 0,
    getsFail: 0,
    setsSuccess: 0,
    setsFail: 0,
    deleteSuccess: 0,
    deleteFail: 0,
    updateSuccess: 0,
    updateFail: 0,
    createSuccess: 0,
    createFail: 0,
    compareAndSwapSuccess: 0,
    compareAndSwapFail: 0,
    compareAndDeleteSuccess: 0,
    compareAndDeleteFail: 0,
    expireCount: 0,
    syncTime: 0,
  }
}
