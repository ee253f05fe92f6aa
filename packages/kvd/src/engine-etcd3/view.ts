import type { Command } from '../store/command.ts'
import type { NodeRow } from '../store/store.ts'
import { ancestorsOf, type Layout } from './layout.ts'
import type { KeyValue, RangeRequest } from './messages.ts'
import { nodeOf } from './nodes.ts'

/** The part of the tree that one command is about, and the keys that tell it. */
export interface Scope {
  readonly layout: Layout
  /** The node written, or the directory that gets an in-order key. */
  readonly key: string
  readonly isInOrder: boolean
  /** Whether there is something in the directory decides. */
  readonly needsChild: boolean
}

export function scopeOf(layout: Layout, entry: Command): Scope {
  return {
    layout,
    key: entry.key,
    isInOrder: entry.op === 'createInOrder',
    needsChild: entry.op === 'delete' && entry.dir && !entry.recursive && entry.key !== '/',
  }
}

/** v3 keys that are read before the command is decided, one range for each. */
export function keysOf({ layout, key, isInOrder }: Scope): readonly string[] {
  const above = ancestorsOf(key).flatMap((dir) => [layout.marker(dir), layout.file(dir)])
  if (key === '/') return isInOrder ? [layout.order(key)] : []
  const own = [layout.marker(key), layout.file(key), layout.companion(key)]
  return isInOrder ? [...above, ...own, layout.order(key)] : [...above, ...own]
}

/** The reads of a scope: its keys, and one child when that matters. */
export function readsOf(scope: Scope): readonly ({ readonly type: 'range' } & RangeRequest)[] {
  const { layout, key } = scope
  const keys = keysOf(scope).map((each) => ({ type: 'range', key: each }) as const)
  if (!scope.needsChild) return keys
  return [...keys, { type: 'range', ...layout.below(key, 1), limit: 1 }]
}

/** What is known of a scope. */
export interface View {
  /** The newest revision that was seen; what is known may be older. */
  readonly revision: number
  readonly keys: ReadonlyMap<string, KeyValue | undefined>
  readonly hasChild: boolean
}

/** A view out of the answer to `readsOf`. */
export function viewOf(
  scope: Scope,
  revision: number,
  ranges: readonly (readonly KeyValue[])[],
): View {
  const names = keysOf(scope)
  return {
    revision,
    keys: new Map(names.map((name, at) => [name, ranges[at]?.[0]])),
    hasChild: scope.needsChild && (ranges[names.length]?.length ?? 0) > 0,
  }
}

/**
 * The nodes on the way to the scope's key, parents first. What lies below a directory that is not
 * there (because it expired) is not there either.
 */
export function rowsOf(scope: Scope, view: View): readonly NodeRow[] {
  const { layout, key } = scope
  const rows: NodeRow[] = []
  if (key === '/') return rows
  for (const each of [...ancestorsOf(key), key]) {
    const node = nodeOf(each, {
      file: view.keys.get(layout.file(each)),
      marker: view.keys.get(layout.marker(each)),
      companion: view.keys.get(layout.companion(each)),
    })
    if (node === undefined) return rows
    rows.push(node)
    if (node.value !== undefined) return rows
  }
  if (view.hasChild) rows.push(placeholder(`${key}/child`))
  return rows
}

/** A node of which nothing matters but that it is there. */
export function placeholder(key: string): NodeRow {
  return { space: 'keys', key, value: '', createdIndex: 0, modifiedIndex: 0, expireAt: 0 }
}
