import type { Command } from './command.ts'
import { isRefusal, refusal, type Refusal } from './errors.ts'
import { StoreEvent, type Action } from './event.ts'
import { EventHistory } from './event-history.ts'
import {
  bareView,
  createNode,
  nameBelow,
  showNode,
  type Node,
  type NodeView,
  type Shown,
  type Space,
} from './node.ts'
import { COUNTERS, createStats, type Counter, type StoreStats } from './stats.ts'
import { TEXT_LENGTH_MAX } from './text.ts'
import { Tree, type ChangesLimit, type TreeChanges } from './tree.ts'
import { WatcherHub } from './watcher-hub.ts'

/** Expirations before the year 2000 mean "permanent" (etcd 2.3 store/store.go minExpireTime). */
const EXPIRE_AT_MIN = Date.UTC(2000, 0, 1)

export interface Read {
  readonly space: Space
  readonly key: string
  readonly recursive: boolean
  readonly sorted: boolean
  readonly nowMs: number
}

/** What `applied` rows on disk stand for, besides the nodes. */
export interface StoreState {
  readonly index: number
  /** Nodes of all spaces: rows that must be there. */
  readonly count: number
  readonly stats: StoreStats
}

/** A node as the disk keeps it. `value` is undefined for directories. */
export interface NodeRow {
  readonly space: Space
  readonly key: string
  readonly value: string | undefined
  readonly createdIndex: number
  readonly modifiedIndex: number
  readonly expireAt: number
}

/**
 * The v2 tree: a pure state machine. Commands come from log entries alone, in order, each with its
 * own time; the same commands make the same tree, events and indexes on every replica
 * (kvd.md 3, 4, 7; etcd 2.3 store/).
 */
export class Store {
  readonly history: EventHistory
  readonly watchers = new WatcherHub()
  #tree = new Tree()
  #index = 0
  #stats = createStats()
  #onAuthChange: () => void = () => undefined

  constructor(options: { readonly historySize: number }) {
    this.history = new EventHistory(options.historySize)
  }

  /** The one counter of the whole store: the number of successful writes. */
  get index(): number {
    return this.#index
  }

  /** When the next node expires, milliseconds since 1970; undefined when none has a TTL. */
  get nextExpiry(): number | undefined {
    return this.#tree.nextToExpire?.expireAt
  }

  /** Nodes that the disk has not seen as they are. */
  get dirtyCount(): number {
    return this.#tree.dirtyCount
  }

  /** About how many characters those nodes have. */
  get dirtyLength(): number {
    return this.#tree.dirtyLength
  }

  /** Up to here everything that was due has expired, milliseconds since 1970; 0 before the first time. */
  get syncTime(): number {
    return this.#stats.syncTime
  }

  /**
   * Carries out one command. Sync and no-op have no event of their own. Time does not go back: what a
   * new leader has stamped before it knew of the last sync counts as of that, a sync as none (raft.md 8.1).
   */
  apply(given: Command): StoreEvent | Refusal | undefined {
    const entry = given.time < this.#stats.syncTime ? later(given, this.#stats.syncTime) : given
    switch (entry.op) {
      case 'noop':
      case 'check':
      case 'checked':
        return undefined
      case 'sync':
        if (entry === given) this.#expire(entry.time)
        return undefined
      case 'set':
        return this.#countSet(this.#set(entry))
      case 'create':
        return this.#countCreate(this.#create(entry, entry.key, 'create'))
      case 'createInOrder':
        return this.#countCreate(this.#createInOrder(entry))
      case 'update':
        return this.#countUpdate(entry.key, this.#update(entry))
      case 'compareAndSwap':
        return this.#countSwap(entry.key, this.#compareAndSwap(entry))
      case 'delete':
        return this.#countDelete(entry.key, this.#delete(entry))
      case 'compareAndDelete':
        return this.#compareAndDelete(entry)
    }
  }

  /**
   * JSON of the node, `{"key":...}`, for a body `{"action":"get","node":...}`.
   * @throws RangeError when it is longer than an answer can be
   */
  read(read: Read): Shown | Refusal {
    const node = this.#tree.find(read.space, read.key, this.#index)
    if (isRefusal(node)) {
      this.#stats.getsFail += 1
      return node
    }
    this.#stats.getsSuccess += 1
    const shown = showNode(node, read)
    if (shown.json.length > TEXT_LENGTH_MAX) throw new RangeError('the answer is too long')
    return shown
  }

  /** A file's value, without counting a read: for the server's own keys. */
  peek(space: Space, key: string): string | undefined {
    const node = this.#tree.find(space, key, this.#index)
    return isRefusal(node) ? undefined : node.value
  }

  /** Names below a directory, without counting a read; none when there is no directory. */
  peekNames(space: Space, key: string): readonly string[] {
    const node = this.#tree.find(space, key, this.#index)
    return isRefusal(node) ? [] : [...(node.children?.keys() ?? [])]
  }

  /** Tells `listener` of every change of users, roles or the switch, before the next command. */
  onAuthChange(listener: () => void): void {
    this.#onAuthChange = listener
  }

  statsJson(): string {
    const counters = COUNTERS.map((counter) => `"${counter}":${this.#stats[counter]}`)
    return `{${counters.join(',')},"watchers":${this.watchers.count}}`
  }

  counter(name: Counter): number {
    return this.#stats[name]
  }

  #set(entry: Command): StoreEvent | Refusal {
    const node = this.#tree.find(entry.space, entry.key, this.#index)
    if (isRefusal(node)) {
      if (node.code !== 100 || entry.refresh) return node
      return this.#create(entry, entry.key, 'set')
    }
    if (entry.key === '/') return refusal(107, '/', this.#index)
    if (node.children !== undefined) return refusal(102, entry.key, this.#index)
    return this.#replace(entry, node)
  }

  /** A set over a file makes a new file, or an empty directory, in its place. */
  #replace(entry: Command, node: Node): StoreEvent {
    const prev = bareView(node)
    node.createdIndex = this.#index + 1
    node.modifiedIndex = this.#index + 1
    if (entry.dir) {
      node.value = undefined
      node.children = new Map()
    } else if (!entry.refresh) node.value = entry.value
    this.#tree.touch(node)
    this.#tree.setExpiry(node, permanentBefore2000(entry.expireAt))
    return this.#emit('set', entry, bareView(node), prev)
  }

  #createInOrder(entry: Command): StoreEvent | Refusal {
    const name = String(this.#index + 1).padStart(20, '0')
    const key = entry.key === '/' ? `/${name}` : `${entry.key}/${name}`
    return this.#create(entry, key, 'create')
  }

  #create(entry: Command, key: string, action: 'set' | 'create'): StoreEvent | Refusal {
    if (key === '/') return refusal(107, '/', this.#index)
    const next = this.#index + 1
    const parent = this.#tree.makeParent(entry.space, key, next, this.#index)
    if (isRefusal(parent)) return parent
    if (parent.children?.has(nameBelow(parent, key)) === true) return refusal(105, key, this.#index)
    const node = this.#tree.add(
      createNode({
        key,
        space: entry.space,
        parent,
        value: entry.dir ? undefined : entry.value,
        index: next,
        expireAt: permanentBefore2000(entry.expireAt),
      }),
    )
    return this.#emit(action, entry, bareView(node), undefined)
  }

  #update(entry: Command): StoreEvent | Refusal {
    if (entry.key === '/') return refusal(107, '/', this.#index)
    const node = this.#tree.find(entry.space, entry.key, this.#index)
    if (isRefusal(node)) return node
    const isDir = node.children !== undefined
    if (isDir && entry.value !== '' && !entry.refresh) return refusal(102, entry.key, this.#index)
    return this.#rewrite('update', entry, node)
  }

  #compareAndSwap(entry: Command): StoreEvent | Refusal {
    if (entry.key === '/') return refusal(107, '/', this.#index)
    const node = this.#tree.find(entry.space, entry.key, this.#index)
    if (isRefusal(node)) return node
    if (node.children !== undefined) return refusal(102, entry.key, this.#index)
    const mismatch = compareFailure(node, entry)
    if (mismatch !== undefined) return refusal(101, mismatch, this.#index)
    return this.#rewrite('compareAndSwap', entry, node)
  }

  /** New value and TTL for a node that stays. A directory keeps its own modifiedIndex (kvd.md 4). */
  #rewrite(action: 'update' | 'compareAndSwap', entry: Command, node: Node): StoreEvent {
    const prev = bareView(node)
    if (node.children === undefined) {
      if (!entry.refresh) node.value = entry.value
      node.modifiedIndex = this.#index + 1
      this.#tree.touch(node)
    }
    this.#tree.setExpiry(node, permanentBefore2000(entry.expireAt))
    const view = {
      key: node.key,
      value: node.value,
      dir: node.children !== undefined,
      expireAt: node.expireAt,
      modifiedIndex: this.#index + 1,
      createdIndex: node.createdIndex,
    }
    return this.#emit(action, entry, view, prev)
  }

  #delete(entry: Command): StoreEvent | Refusal {
    if (entry.key === '/') return refusal(107, '/', this.#index)
    const node = this.#tree.find(entry.space, entry.key, this.#index)
    if (isRefusal(node)) return node
    if (node.children !== undefined) {
      if (!entry.dir && !entry.recursive) return refusal(102, entry.key, this.#index)
      if (node.children.size > 0 && !entry.recursive) return refusal(108, entry.key, this.#index)
    }
    return this.#removeNode('delete', node, entry.time)
  }

  #compareAndDelete(entry: Command): StoreEvent | Refusal {
    const node = this.#tree.find(entry.space, entry.key, this.#index)
    if (isRefusal(node)) {
      this.#stats.compareAndDeleteFail += 1
      return node
    }
    // The original counts a directory and a mismatch as success (kvd.md 9).
    this.#stats.compareAndDeleteSuccess += 1
    if (node.children !== undefined)
      return refusal(102, entry.key === '/' ? '' : entry.key, this.#index)
    const mismatch = compareFailure(node, entry)
    if (mismatch !== undefined) return refusal(101, mismatch, this.#index)
    return this.#removeNode('compareAndDelete', node, entry.time)
  }

  #expire(cutoffMs: number): void {
    this.#stats.syncTime = cutoffMs
    for (let node = this.#tree.nextToExpire; node !== undefined; node = this.#tree.nextToExpire) {
      if (node.expireAt > cutoffMs) return
      this.#stats.expireCount += 1
      this.#removeNode('expire', node, cutoffMs)
    }
  }

  #removeNode(
    action: 'delete' | 'compareAndDelete' | 'expire',
    node: Node,
    timeMs: number,
  ): StoreEvent {
    const prev = bareView(node)
    const isDir = node.children !== undefined
    const view = {
      key: node.key,
      value: undefined,
      dir: isDir && action !== 'expire',
      expireAt: 0,
      modifiedIndex: this.#index + 1,
      createdIndex: node.createdIndex,
    }
    this.#index += 1
    const head = {
      index: this.#index,
      action,
      space: node.space,
      key: node.key,
      removedDir: isDir,
      refresh: false,
      isNew: false,
    }
    const event = new StoreEvent(head, { node: view, prev, timeMs })
    const isWatched = node.space === 'keys'
    // Whoever is told of the event may at once look for it in the history.
    this.history.add(event)
    this.#tree.remove(node, (key) => {
      if (isWatched) this.watchers.notifyRemoved(event, key)
    })
    this.#notify(event)
    return event
  }

  /** @param prev the node before; undefined when it is new */
  #emit(action: Action, entry: Command, node: NodeView, prev: NodeView | undefined): StoreEvent {
    this.#index += 1
    const head = {
      index: this.#index,
      action,
      space: entry.space,
      key: node.key,
      removedDir: false,
      refresh: entry.refresh && prev !== undefined,
      isNew: prev === undefined,
    }
    const event = new StoreEvent(head, { node, prev, timeMs: entry.time })
    this.history.add(event)
    this.#notify(event)
    return event
  }

  #notify(event: StoreEvent): void {
    if (event.space === 'auth') this.#onAuthChange()
    if (!event.refresh && event.space === 'keys') this.watchers.notify(event)
  }

  // Each counter by a name that is written out: to put one together costs as much as a look into the tree.

  #countSet(outcome: StoreEvent | Refusal): StoreEvent | Refusal {
    if (isRefusal(outcome)) this.#stats.setsFail += 1
    else this.#stats.setsSuccess += 1
    return outcome
  }

  // Writes refused for the root count as success in the original (kvd.md 9).

  #countUpdate(key: string, outcome: StoreEvent | Refusal): StoreEvent | Refusal {
    if (key !== '/' && isRefusal(outcome)) this.#stats.updateFail += 1
    else this.#stats.updateSuccess += 1
    return outcome
  }

  #countSwap(key: string, outcome: StoreEvent | Refusal): StoreEvent | Refusal {
    if (key !== '/' && isRefusal(outcome)) this.#stats.compareAndSwapFail += 1
    else this.#stats.compareAndSwapSuccess += 1
    return outcome
  }

  #countDelete(key: string, outcome: StoreEvent | Refusal): StoreEvent | Refusal {
    if (key !== '/' && isRefusal(outcome)) this.#stats.deleteFail += 1
    else this.#stats.deleteSuccess += 1
    return outcome
  }

  #countCreate(outcome: StoreEvent | Refusal): StoreEvent | Refusal {
    if (isRefusal(outcome)) {
      if (outcome.code === 104) this.#stats.setsFail += 1
      this.#stats.createFail += 1
    } else this.#stats.createSuccess += 1
    return outcome
  }

  /**
   * What the disk needs to be level with this store, since the last call. With a limit it may be a
   * part of that: `dirtyCount` tells whether something is left.
   */
  takeChanges(limit?: ChangesLimit): { readonly tree: TreeChanges; readonly state: StoreState } {
    return {
      tree: this.#tree.takeChanges(limit),
      state: { index: this.#index, count: this.#tree.count, stats: { ...this.#stats } },
    }
  }

  /** Rows of the whole tree, parents before children: for dumps and comparisons. */
  *rows(): Generator<NodeRow> {
    for (const node of this.#tree.nodes()) yield rowOf(node)
  }

  /** Fills an empty store with what `takeChanges` once gave. Rows must come parents first. */
  load(state: StoreState, rows: Iterable<NodeRow>, events: Iterable<StoreEvent>): void {
    this.loadRows(rows)
    this.finishLoad(state, events)
  }

  /** Some of the rows, in order; `finishLoad` ends it. @throws Error when one has no place in the tree */
  loadRows(rows: Iterable<NodeRow>): void {
    for (const row of rows) {
      const above = row.key.slice(0, row.key.lastIndexOf('/')) || '/'
      const parent = this.#tree.find(row.space, above, 0)
      if (isRefusal(parent) || parent.children?.has(nameBelow(parent, row.key)) !== false)
        throw new Error(`row ${row.key} has no place in the tree`)
      const node = createNode({ ...row, parent, index: row.createdIndex })
      node.modifiedIndex = row.modifiedIndex
      this.#tree.add(node)
    }
  }

  /** @throws Error when rows are missing */
  finishLoad(state: StoreState, events: Iterable<StoreEvent>): void {
    if (this.#tree.count !== state.count)
      throw new Error(`${this.#tree.count} rows where ${state.count} were written`)
    this.#tree.takeChanges()
    for (const event of events) this.history.add(event)
    this.#index = state.index
    this.#stats = { ...createStats(), ...state.stats }
    this.#onAuthChange()
  }

  /**
   * Becomes what another store is, which is given up. Watchers hear of what happened in between,
   * unless the other one's history does not reach back far enough: then they are told that.
   */
  adopt(other: Store): void {
    const before = this.#index
    this.#tree = other.#tree
    this.#index = other.#index
    this.#stats = other.#stats
    this.history.adopt(other.history)
    this.#onAuthChange()
    const { first } = this.history
    if (this.#index > before && (first === 0 || first > before + 1)) {
      this.watchers.lose()
      return
    }
    for (let index = before + 1; index <= this.#index; index += 1) {
      const event = this.history.at(index)
      if (event !== undefined) this.watchers.replay(event)
    }
  }
}

/** The same with a later time, and as much time to live. */
function later(entry: Command, time: number): Command {
  const { expireAt } = entry
  return { ...entry, time, expireAt: expireAt === 0 ? 0 : expireAt + time - entry.time }
}

function permanentBefore2000(expireAt: number): number {
  return expireAt < EXPIRE_AT_MIN ? 0 : expireAt
}

export function rowOf(node: Node): NodeRow {
  const { space, key, value, createdIndex, modifiedIndex, expireAt } = node
  return { space, key, value, createdIndex, modifiedIndex, expireAt }
}

/** The cause of error 101, or undefined when the conditions hold (etcd 2.3 store/store.go). */
function compareFailure(node: Node, entry: Command): string | undefined {
  const { prevValue, prevIndex } = entry
  const isValueRight = prevValue === '' || prevValue === node.value
  const isIndexRight = prevIndex === '' || prevIndex === String(node.modifiedIndex)
  if (isValueRight && isIndexRight) return undefined
  const byValue = `[${prevValue} != ${node.value ?? ''}]`
  const byIndex = `[${prevIndex === '' ? '0' : prevIndex} != ${node.modifiedIndex}]`
  if (isIndexRight) return byValue
  return isValueRight ? byIndex : `${byValue} ${byIndex}`
}
