import type { ClientDuplexStream } from '@grpc/grpc-js'
import { EtcdError } from './etcd-error.ts'
import type { ChangeEvent, WatchRequest, WatchResponse } from './messages.ts'

/**
 * The answers of a watch, until it is cancelled.
 * @throws EtcdError when it fails
 */
export async function* responsesOf(
  stream: ClientDuplexStream<WatchRequest, WatchResponse>,
): AsyncGenerator<WatchResponse> {
  const chunks: AsyncIterable<WatchResponse> = stream
  try {
    yield* chunks
  } catch (error) {
    throw new EtcdError('UNKNOWN', error instanceof Error ? error.message : String(error))
  } finally {
    stream.cancel()
  }
}

/** The changes of each revision, which etcd never spreads over several answers. */
export function byRevision(
  events: readonly ChangeEvent[],
): ReadonlyMap<number, readonly ChangeEvent[]> {
  const groups = new Map<number, ChangeEvent[]>()
  for (const event of events) {
    const group = groups.get(event.kv.modRevision)
    if (group === undefined) groups.set(event.kv.modRevision, [event])
    else group.push(event)
  }
  return groups
}
