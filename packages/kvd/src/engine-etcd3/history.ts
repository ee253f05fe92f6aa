import { matchesPast } from '../store/event-history.ts'
import { isBelow, isHiddenFrom, type StoreEvent } from '../store/event.ts'
import { EtcdError } from './etcd-error.ts'
import type { Etcd } from './etcd.ts'
import { EventDecoder, type Happening } from './event-decoder.ts'
import { byRevision, responsesOf } from './follower.ts'
import type { Layout } from './layout.ts'
import { indexOf, revisionOf } from './nodes.ts'
import { listBelow } from './subtree.ts'

export interface PastWatch {
  readonly key: string
  readonly recursive: boolean
  /** First index wanted. */
  readonly from: number
  /** Index of the store when the watch began: what comes later is no history. */
  readonly now: number
}

/**
 * Index of the oldest event that etcd still has when the one asked for is compacted, else undefined.
 * @throws EtcdError
 */
export async function oldestIndexIfGone(
  etcd: Etcd,
  layout: Layout,
  from: number,
): Promise<number | undefined> {
  try {
    await etcd.read([{ key: layout.action, revision: revisionOf(from) }])
    return undefined
  } catch (error) {
    if (!(error instanceof EtcdError) || error.code !== 'COMPACTED') throw error
  }
  const stream = await etcd.watch({ ...layout.all, startRevision: revisionOf(from) })
  for await (const { compactRevision } of responsesOf(stream))
    if (compactRevision !== 0) return indexOf(compactRevision)
  throw new EtcdError('UNKNOWN', 'etcdserver: the watch of the history ended')
}

/**
 * The first event that matches, however long it takes; undefined when etcd or `signal` end the watch.
 */
export async function firstEvent(
  etcd: Etcd,
  layout: Layout,
  wanted: PastWatch,
  signal: AbortSignal,
): Promise<StoreEvent | undefined> {
  const stream = await etcd.watch({ ...layout.all, startRevision: revisionOf(wanted.from) })
  const cancel = (): void => stream.cancel()
  signal.addEventListener('abort', cancel)
  const decoder = new EventDecoder({
    layout,
    listBelow: async (dir, revision) =>
      (await listBelow(etcd, layout, { dir, revision })).map(({ key }) => key).toReversed(),
  })
  try {
    for await (const { events, isCanceled } of responsesOf(stream)) {
      if (isCanceled) return undefined
      for (const [revision, changes] of byRevision(events))
        for (const happening of await decoder.decode(revision, changes))
          if (isWanted(wanted, happening)) return happening.event
    }
  } catch (error) {
    // The watch is gone with its member; the client asks again.
    if (!(error instanceof EtcdError)) throw error
  } finally {
    signal.removeEventListener('abort', cancel)
  }
  return undefined
}

function isWanted(wanted: PastWatch, { event, removed }: Happening): boolean {
  const { key, recursive, now } = wanted
  if (event.index <= now) return matchesPast(event, key, recursive)
  if (event.refresh) return false
  if (event.key === key || removed.includes(key)) return true
  return recursive && isBelow(event.key, key) && !isHiddenFrom(key, event.key)
}
