import { matchesPast } from '../store/event-history.ts'
import { isBelow, isHiddenFrom, type StoreEvent } from '../store/event.ts'
import { EtcdError } from './etcd-error.ts'
import type { Etcd } from './etcd.ts'
import { EventDecoder, type Happening } from './event-decoder.ts'
import { byRevision, responsesOf } from './changes.ts'
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
 * What was there before belongs to an event, so the revision before it must be left as well.
 * @throws EtcdError
 */
export async function oldestIndexIfGone(
  etcd: Etcd,
  layout: Layout,
  from: number,
): Promise<number | undefined> {
  const revision = revisionOf(from) - 1
  if (await isLeft(etcd, layout, revision)) return undefined
  const stream = await etcd.watch({ ...layout.all, startRevision: revision })
  for await (const { compactRevision } of responsesOf(stream))
    if (compactRevision !== 0) return indexOf(compactRevision + 1)
  throw new EtcdError('UNKNOWN', 'etcdserver: the watch of the history ended')
}

/**
 * False when the state of a revision was compacted.
 * @throws EtcdError
 */
export async function isLeft(
  etcd: Pick<Etcd, 'read'>,
  layout: Layout,
  revision: number,
): Promise<boolean> {
  try {
    await etcd.read([{ key: layout.action, revision }])
    return true
  } catch (error) {
    if (error instanceof EtcdError && error.code === 'COMPACTED') return false
    throw error
  }
}

/**
 * The first event that matches, however long it takes; undefined when `signal` or etcd end the watch.
 * @throws EtcdError
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
  if (signal.aborted) cancel()
  const decoder = new EventDecoder({
    layout,
    listBelow: async (dir, revision) =>
      (await listBelow(etcd, layout, { dir, revision })).map(({ key }) => key).toReversed(),
  })
  for await (const { events, isCanceled } of responsesOf(stream)) {
    if (isCanceled) return undefined
    for (const [revision, changes] of byRevision(events))
      for (const happening of await decoder.decode(revision, changes))
        if (isWanted(wanted, happening)) return happening.event
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
