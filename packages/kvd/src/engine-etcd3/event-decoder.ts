import { isBelow, StoreEvent, type Action } from '../store/event.ts'
import type { NodeView } from '../store/node.ts'
import type { NodeRow } from '../store/store.ts'
import { depthOf, type Layout } from './layout.ts'
import type { ChangeEvent, KeyValue } from './messages.ts'
import { indexOf, nodeOf, type NodeKeys } from './nodes.ts'
import { parseEvent, readAction, type EventRecord } from './records.ts'

/** A v2 event and the keys that went away with it, children first. */
export interface Happening {
  readonly event: StoreEvent
  readonly removed: readonly string[]
  /** A directory went away by its TTL, and what was in it lies around. */
  readonly isExpiredDir: boolean
}

/** What happened to the v3 keys of one v2 key in one revision. */
interface NodeChange {
  readonly key: string
  file?: ChangeEvent
  marker?: ChangeEvent
  companion?: ChangeEvent
}

export interface DecoderOptions {
  readonly layout: Layout
  /** Keys below a directory as they were at a revision, children first. */
  listBelow(dir: string, revision: number): Promise<readonly string[]>
}

/** Reads v2 events out of the changes of v3 keys. Revisions must come in order. */
export class EventDecoder {
  readonly #options: DecoderOptions
  /** What an expired directory has left: it is gone already, whatever becomes of its keys. */
  readonly #orphans = new Set<string>()

  constructor(options: DecoderOptions) {
    this.#options = options
  }

  /** The events of one revision: at most one, unless a lease held several keys. */
  async decode(revision: number, changes: readonly ChangeEvent[]): Promise<readonly Happening[]> {
    const { nodes, action, record } = this.#sort(changes)
    for (const { key, file, marker } of nodes.values())
      if (file?.type === 'put' || marker?.type === 'put') this.#orphans.delete(key)
    const removed = [...nodes.values()].filter(isRemoved).toSorted(childrenFirst)
    if (record?.action === 'sweep') {
      for (const { key } of removed) this.#orphans.delete(key)
      return []
    }
    if (action === undefined) return await this.#expiries(revision, removed)
    const known = record ?? guess(action, nodes)
    const change = nodes.get(known?.key ?? '')
    if (known === undefined || known.action === 'sweep' || change === undefined) return []
    const keys = removed.map(({ key }) => key)
    const event = eventOf(revision, { ...known, action: known.action }, change)
    return event === undefined
      ? []
      : [{ event, removed: removedBy(event, keys), isExpiredDir: false }]
  }

  #sort(changes: readonly ChangeEvent[]): Sorted {
    const nodes = new Map<string, NodeChange>()
    let action: string | undefined
    let record: EventRecord | undefined
    for (const change of changes) {
      const place = this.#options.layout.parse(change.kv.key)
      if (place === undefined) continue
      if (place.type === 'action') action = change.type === 'put' ? change.kv.value : undefined
      else if (place.type === 'event') record = parseEvent(change.kv.value)
      else {
        const node = nodes.get(place.key) ?? { key: place.key }
        node[place.type] = change
        nodes.set(place.key, node)
      }
    }
    return { nodes, action, record }
  }

  async #expiries(revision: number, removed: readonly NodeChange[]): Promise<Happening[]> {
    const happenings: Happening[] = []
    for (const change of removed) {
      const { key } = change
      if (this.#orphans.delete(key)) continue
      if (removed.some((other) => other !== change && isBelow(key, other.key))) continue
      const event = expiryOf(revision, change)
      if (event === undefined) continue
      const below = event.removedDir ? await this.#options.listBelow(key, revision - 1) : []
      for (const orphan of below) this.#orphans.add(orphan)
      happenings.push({ event, removed: [...below, key], isExpiredDir: event.removedDir })
    }
    return happenings
  }
}

interface Sorted {
  readonly nodes: ReadonlyMap<string, NodeChange>
  readonly action: string | undefined
  readonly record: EventRecord | undefined
}

function isRemoved({ file, marker }: NodeChange): boolean {
  const isWritten = file?.type === 'put' || marker?.type === 'put'
  return !isWritten && (file !== undefined || marker !== undefined)
}

function childrenFirst(left: { readonly key: string }, right: { readonly key: string }): number {
  return depthOf(right.key) - depthOf(left.key)
}

function removedBy(event: StoreEvent, keys: readonly string[]): readonly string[] {
  return keys.filter((key) => key === event.key || (event.removedDir && isBelow(key, event.key)))
}

/** etcd's own front says only what was done: to the longest key written, or the shortest deleted. */
function guess(action: string, nodes: ReadonlyMap<string, NodeChange>): EventRecord | undefined {
  const known = readAction(action)
  if (known === undefined) return undefined
  const isRemoval = known === 'delete' || known === 'compareAndDelete'
  const subjects = [...nodes.values()]
    .filter((change) => (change.file ?? change.marker) !== undefined)
    .filter((change) => isRemoved(change) === isRemoval)
    .toSorted((left, right) => left.key.length - right.key.length)
  const change = isRemoval ? subjects[0] : subjects.at(-1)
  if (change === undefined) return undefined
  const isDir = isRemoval ? change.marker !== undefined : change.marker?.type === 'put'
  return { action: known, key: change.key, isDir, isRefresh: false, isNew: false, timeMs: 0 }
}

/** The node before the revision. */
function before({ key, file, marker, companion }: NodeChange): NodeRow | undefined {
  return nodeOf(key, {
    file: file?.previous,
    marker: marker?.previous,
    companion: companion?.previous,
  })
}

function after({ key, file, marker, companion }: NodeChange): NodeRow | undefined {
  const put = (change: ChangeEvent | undefined): KeyValue | undefined =>
    change?.type === 'put' ? change.kv : undefined
  const keys: NodeKeys = { file: put(file), marker: put(marker), companion: put(companion) }
  return nodeOf(key, keys)
}

function eventOf(
  revision: number,
  record: EventRecord & { readonly action: Action },
  change: NodeChange,
): StoreEvent | undefined {
  const { action, key, isDir, isRefresh, isNew, timeMs } = record
  const index = indexOf(revision)
  const previous = isNew ? undefined : before(change)
  const isRemoval = action === 'delete' || action === 'compareAndDelete'
  const node = isRemoval ? previous : after(change)
  if (node === undefined) return undefined
  const { value, expireAt, createdIndex } = node
  const view: NodeView = isRemoval
    ? { key, value: undefined, dir: isDir, expireAt: 0, modifiedIndex: index, createdIndex }
    : { key, value, dir: isDir, expireAt, modifiedIndex: index, createdIndex }
  const removedDir = isRemoval && isDir
  const head = { index, action, space: 'keys', key, removedDir, refresh: isRefresh, isNew } as const
  return new StoreEvent(head, { node: view, prev: previousView(previous), timeMs })
}

function expiryOf(revision: number, change: NodeChange): StoreEvent | undefined {
  const previous = before(change)
  if (previous === undefined) return undefined
  const index = indexOf(revision)
  const { key, createdIndex, expireAt } = previous
  const removedDir = previous.value === undefined
  const node = {
    key,
    value: undefined,
    dir: false,
    expireAt: 0,
    modifiedIndex: index,
    createdIndex,
  }
  return new StoreEvent(
    { index, action: 'expire', space: 'keys', key, removedDir, refresh: false, isNew: false },
    { node, prev: previousView(previous), timeMs: expireAt },
  )
}

function previousView(previous: NodeRow | undefined): NodeView | undefined {
  if (previous === undefined) return undefined
  return { ...previous, dir: previous.value === undefined }
}
