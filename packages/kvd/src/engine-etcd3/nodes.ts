import type { NodeRow } from '../store/store.ts'
import type { Layout } from './layout.ts'
import type { KeyValue } from './messages.ts'
import { parseCompanion } from './records.ts'

/** Revision 1 is the empty etcd, index 0 the empty store. */
export function indexOf(revision: number): number {
  return Math.max(0, revision - 1)
}

export function revisionOf(index: number): number {
  return index + 1
}

/** The v3 keys of one v2 key. */
export interface NodeKeys {
  readonly file: KeyValue | undefined
  readonly marker: KeyValue | undefined
  readonly companion: KeyValue | undefined
}

/** The node that the keys stand for; undefined when there is none. */
export function nodeOf(key: string, { file, marker, companion }: NodeKeys): NodeRow | undefined {
  const own = marker ?? file
  if (own === undefined) return undefined
  // etcd's own front knows no companions: one that is older than its node tells of another node.
  const known =
    companion !== undefined && companion.modRevision >= own.createRevision ? companion : undefined
  const { created, expireAt, modified } = known === undefined ? {} : parseCompanion(known.value)
  const isWrittenWith = known?.modRevision === own.modRevision
  return {
    space: 'keys',
    key,
    value: marker === undefined ? own.value : undefined,
    createdIndex: created ?? indexOf(known?.modRevision ?? own.createRevision),
    modifiedIndex: isWrittenWith && modified !== undefined ? modified : indexOf(own.modRevision),
    expireAt: own.lease !== 0n && known?.lease === own.lease ? (expireAt ?? 0) : 0,
  }
}

/** The nodes that v3 keys, in any order, stand for. */
export function nodesAmong(layout: Layout, keys: Iterable<KeyValue>): readonly NodeRow[] {
  const found = new Map<string, { file?: KeyValue; marker?: KeyValue; companion?: KeyValue }>()
  for (const kv of keys) {
    const place = layout.parse(kv.key)
    if (place === undefined || !('key' in place)) continue
    found.set(place.key, { ...found.get(place.key), [place.type]: kv })
  }
  const rows: NodeRow[] = []
  for (const [key, { file, marker, companion }] of found) {
    const node = nodeOf(key, { file, marker, companion })
    if (node !== undefined) rows.push(node)
  }
  return rows
}
