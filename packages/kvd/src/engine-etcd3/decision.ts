import type { Command } from '../store/command.ts'
import { isRefusal, type Refusal } from '../store/errors.ts'
import type { StoreEvent } from '../store/event.ts'
import { createStats } from '../store/stats.ts'
import { Store, type NodeRow } from '../store/store.ts'
import { ancestorsOf, spansAround, type Layout } from './layout.ts'
import type { Compare, Put, Span, TxnOperation } from './messages.ts'
import { indexOf } from './nodes.ts'
import { companionText, eventText, readAction } from './records.ts'
import { rowsOf, type Scope, type View } from './view.ts'

export interface Outcome {
  readonly outcome: StoreEvent | Refusal
  /** Holds the nodes and what the command counted. */
  readonly store: Store
}

/**
 * What the command does to the nodes in view: decided by the store itself, so that every answer,
 * cause and event is the one that kvd's own store gives.
 * @param index of the store before the command
 */
export function applyTo(rows: readonly NodeRow[], entry: Command, index: number): Outcome {
  const store = new Store({ historySize: 1 })
  store.load({ index, count: rows.length, stats: createStats() }, rows, [])
  const outcome = store.apply(entry)
  if (outcome === undefined) throw new Error(`${entry.op} is no write`)
  return { outcome, store }
}

/** A transaction that carries a command out, or does nothing when what was in view has changed. */
export interface Plan {
  readonly type: 'plan'
  readonly compare: readonly Compare[]
  readonly success: readonly TxnOperation[]
  /** The command to apply to the same view for the final event: an in-order key has its name. */
  readonly settled: Command
}

export interface PlanOptions {
  readonly scope: Scope
  readonly entry: Command
  readonly view: View
  /** For the node written; 0 for none. */
  readonly lease: bigint
  /** How often the command was tried before. The first try assumes what is usual. */
  readonly attempt: number
}

/** Decides a command on what is in view. A refusal holds only as far as the view does. */
export function planWrite(options: PlanOptions): Plan | (Outcome & { readonly type: 'refused' }) {
  const { scope, entry, view } = options
  const rows = rowsOf(scope, view)
  const made = applyTo(rows, entry, indexOf(view.revision))
  const event = made.outcome
  if (isRefusal(event)) return { type: 'refused', ...made }
  const settled: Command =
    entry.op === 'createInOrder' ? { ...entry, op: 'create', key: event.key } : entry
  const isRemoval = entry.op === 'delete' || entry.op === 'compareAndDelete'
  const target: Target = { ...options, event, rows }
  const changes = isRemoval ? removal(target) : writing(target, made.store)
  const isDir = isRemoval ? event.removedDir : made.store.peek('keys', event.key) === undefined
  return {
    type: 'plan',
    settled,
    compare: [...guards(target), ...changes.compare],
    success: [...changes.success, ...marks(target, isDir)],
  }
}

interface Target extends PlanOptions {
  readonly event: StoreEvent
  readonly rows: readonly NodeRow[]
}

interface Changes {
  readonly compare: readonly Compare[]
  readonly success: readonly TxnOperation[]
}

/** The keys in view are as they were: a directory above is the same one, the node untouched. */
function guards({ scope, event, view, rows }: Target): readonly Compare[] {
  const { layout } = scope
  const present = new Set(rows.map(({ key }) => key))
  const compare: Compare[] = []
  for (const dir of ancestorsOf(event.key)) {
    const marker = layout.marker(dir)
    const is = view.keys.get(marker)?.createRevision ?? 0
    compare.push({ target: 'create', key: marker, is })
    if (present.has(dir)) continue
    // All that lies below is cleared away with the same transaction.
    compare.push({ target: 'create', key: layout.file(dir), is: 0 })
    return [...compare, ...orderGuard(scope, view)]
  }
  const own = [layout.marker(event.key), layout.file(event.key)]
  // A cache may know it less well than its node, which is read alone when it is in the way.
  if (present.has(event.key)) own.push(layout.companion(event.key))
  for (const key of own)
    compare.push({ target: 'mod', key, is: view.keys.get(key)?.modRevision ?? 0 })
  return [...compare, ...orderGuard(scope, view)]
}

/**
 * In-order keys of a directory are made one after the other. Each is named by a revision not older
 * than the last one's transaction and older than its own: names are unique and grow.
 */
function orderGuard({ layout, key, isInOrder }: Scope, view: View): readonly Compare[] {
  if (!isInOrder) return []
  const order = layout.order(key)
  return [{ target: 'mod', key: order, is: view.keys.get(order)?.modRevision ?? 0 }]
}

function writing({ scope, event, lease, rows, attempt }: Target, store: Store): Changes {
  const { layout } = scope
  const written = [...store.rows()].filter(
    ({ key, modifiedIndex }) => key === event.key || modifiedIndex === event.index,
  )
  const compare: Compare[] = []
  const success: TxnOperation[] = []
  for (const [at, row] of written.entries()) {
    const isDir = row.value === undefined
    const isTarget = row.key === event.key
    success.push(...puts(layout, row, { index: event.index, lease: isTarget ? lease : 0n }))
    if (!isDir || row.createdIndex !== event.index) continue
    if (isKnownFile(rows, row.key)) success.push({ type: 'delete', key: layout.file(row.key) })
    // A new directory is empty, whatever an expired one of the same name has left behind.
    if (attempt === 0) compare.push({ target: 'version', ...layout.below(row.key, 1), is: 0 })
    else success.push(...clearing(layout, row.key, written[at + 1]))
  }
  if (scope.isInOrder)
    success.push({ type: 'put', key: layout.order(scope.key), value: '', lease: 0n })
  return { compare, success }
}

function isKnownFile(rows: readonly NodeRow[], key: string): boolean {
  return rows.some((row) => row.key === key && row.value !== undefined)
}

function puts(
  layout: Layout,
  row: NodeRow,
  { index, lease }: { readonly index: number; readonly lease: bigint },
): readonly Put[] {
  const { key, value, createdIndex, modifiedIndex, expireAt } = row
  const companion = companionText({
    ...(createdIndex !== index && { created: createdIndex }),
    ...(modifiedIndex !== index && { modified: modifiedIndex }),
    ...(expireAt !== 0 && { expireAt }),
  })
  const place = value === undefined ? layout.marker(key) : layout.file(key)
  return [
    { type: 'put', key: place, value: value ?? '', lease },
    { type: 'put', key: layout.companion(key), value: companion, lease },
  ]
}

/** etcd refuses a transaction that deletes what it puts, so the directory's new child is left out. */
function clearing(layout: Layout, dir: string, child: NodeRow | undefined): TxnOperation[] {
  const nodes = layout.below(dir, 1)
  const companions = layout.companionsBelow(dir, 1)
  const orders = layout.ordersBelow(dir, 1)
  if (child === undefined) return deletes([nodes, companions, orders])
  const { key, value } = child
  return deletes([
    ...spansAround(nodes, value === undefined ? layout.marker(key) : layout.file(key)),
    ...spansAround(companions, layout.companion(key)),
    ...spansAround(orders, layout.order(key)),
  ])
}

function deletes(spans: readonly Span[]): TxnOperation[] {
  return spans.map((span) => ({ type: 'delete', ...span }))
}

/** A subtree is seldom deeper than this; each further try goes twice as deep. */
const LEVELS_FIRST = 4
const LEVELS_MAX = 40

function removal({ scope, event, entry, attempt }: Target): Changes {
  const { layout } = scope
  const { key } = event
  if (!event.removedDir)
    return { compare: [], success: deletes([{ key: layout.file(key) }, companionOf(layout, key)]) }
  const own = deletes([
    { key: layout.marker(key) },
    companionOf(layout, key),
    { key: layout.order(key) },
  ])
  const depth = entry.recursive ? Math.min(LEVELS_MAX, LEVELS_FIRST * 2 ** attempt) : 0
  return {
    compare: [{ target: 'version', ...layout.below(key, depth + 1), is: 0 }],
    success: [...own, ...deletes(subtree(layout, key, depth))],
  }
}

function companionOf(layout: Layout, key: string): Span {
  return { key: layout.companion(key) }
}

/** Every key below a directory, `levels` deep. */
export function subtree(layout: Layout, key: string, levels: number): readonly Span[] {
  return Array.from({ length: levels }, (_, at) => [
    layout.below(key, at + 1),
    layout.companionsBelow(key, at + 1),
    layout.ordersBelow(key, at + 1),
  ]).flat()
}

/** The revision is a v2 event, and this one. etcd's own front wants the action to come last. */
function marks({ scope, event, entry }: Target, isDir: boolean): readonly Put[] {
  const action = readAction(event.action)
  if (action === undefined) throw new Error(`${event.action} is no write`)
  const record = {
    action,
    key: event.key,
    isDir,
    isRefresh: event.refresh,
    isNew: event.isNew,
    timeMs: entry.time,
  }
  return [
    { type: 'put', key: scope.layout.event, value: eventText(record), lease: 0n },
    { type: 'put', key: scope.layout.action, value: action, lease: 0n },
  ]
}
