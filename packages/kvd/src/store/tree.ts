import { isRefusal, refusal, type Refusal } from './errors.ts'
import { childKey, createNode, nameBelow, SPACES, type Node, type Space } from './node.ts'
import { TtlHeap } from './ttl-heap.ts'

interface Removed {
  readonly space: Space
  readonly key: string
}

const SLASH = 0x2f

/** Rows for the disk: nodes written or gone since it was last told of them. None comes twice. */
export interface TreeChanges {
  readonly written: readonly Node[]
  readonly removed: readonly Removed[]
}

/** After so many nodes, or characters of them, `takeChanges` leaves the others for the next time. */
export interface ChangesLimit {
  readonly nodes: number
  readonly length: number
}

const NO_LIMIT: ChangesLimit = { nodes: Infinity, length: Infinity }

/**
 * The nodes of all spaces, their TTLs, and which of them the disk has not seen yet.
 * Knows nothing of actions, events or indexes beyond storing them.
 */
export class Tree {
  readonly #roots: Readonly<Record<Space, Node>>
  readonly #heap = new TtlHeap()
  /**
   * What the disk has to be told, each node once, in the order in which they changed: a node that is
   * gone stands before the one that took its key.
   */
  #dirty: Node[] = []
  #count = 0
  #dirtyLength = 0
  /** The directory above the key that was asked for last. */
  #lastDir: Node | undefined

  constructor() {
    const root = (space: Space): Node =>
      createNode({ key: '/', space, parent: undefined, value: undefined, index: 0, expireAt: 0 })
    this.#roots = { cluster: root('cluster'), keys: root('keys'), auth: root('auth') }
  }

  /** The node that expires first. */
  get nextToExpire(): Node | undefined {
    return this.#heap.peek()
  }

  /** Nodes of all spaces, the roots not counted. */
  get count(): number {
    return this.#count
  }

  get dirtyCount(): number {
    return this.#dirty.length
  }

  /** Characters that were written and not yet taken, at the least as many as the disk will be told. */
  get dirtyLength(): number {
    return this.#dirtyLength
  }

  /** A node, or why there is none: 100 names the first missing component, 104 the file in the way. */
  find(space: Space, key: string, index: number): Node | Refusal {
    let node = this.#lastDirAbove(space, key)
    if (key === '/') return node
    for (let start = startBelow(node); ;) {
      const slash = key.indexOf('/', start)
      const name = slash === -1 ? key.slice(start) : key.slice(start, slash)
      if (node.children === undefined) return refusal(104, node.key, index)
      const child = node.children.get(name)
      if (slash === -1) this.#lastDir = node
      if (child === undefined) return refusal(100, childKey(node, name), index)
      if (slash === -1) return child
      node = child
      start = slash + 1
    }
  }

  /** Where the way to `key` begins: many keys of one directory come in a row. */
  #lastDirAbove(space: Space, key: string): Node {
    const dir = this.#lastDir
    const isAbove =
      dir?.space === space && key.startsWith(dir.key) && key.charCodeAt(dir.key.length) === SLASH
    return isAbove ? dir : this.#roots[space]
  }

  /** The directory above `key`, made with all that is missing on the way; 104 when a file is in the way. */
  makeParent(space: Space, key: string, index: number, currentIndex: number): Node | Refusal {
    let node = this.#lastDirAbove(space, key)
    for (let start = startBelow(node); ;) {
      if (node.children === undefined) return refusal(104, node.key, currentIndex)
      const slash = key.indexOf('/', start)
      if (slash === -1) {
        this.#lastDir = node
        return node
      }
      const name = key.slice(start, slash)
      node =
        node.children.get(name) ??
        this.add(
          createNode({
            key: childKey(node, name),
            space,
            parent: node,
            value: undefined,
            index,
            expireAt: 0,
          }),
        )
      start = slash + 1
    }
  }

  /** Puts a node below its parent, which must be a directory without a child of that name. */
  add(node: Node): Node {
    const { parent } = node
    parent?.children?.set(nameBelow(parent, node.key), node)
    this.#count += 1
    if (node.expireAt !== 0) this.#heap.push(node)
    this.#dirtyLength += lengthOf(node)
    this.#dirty.push(node)
    return node
  }

  /** Notes that a node's value or index was written. */
  touch(node: Node): void {
    this.#dirtyLength += lengthOf(node)
    if (node.told !== 'current') return
    node.told = 'outdated'
    this.#dirty.push(node)
  }

  setExpiry(node: Node, expireAt: number): void {
    if (node.expireAt === expireAt) return
    this.#heap.remove(node)
    node.expireAt = expireAt
    if (expireAt !== 0) this.#heap.push(node)
    this.touch(node)
  }

  /** Takes a node out with all below it; `onRemoved` hears of each key, children first. */
  remove(node: Node, onRemoved: (key: string) => void): void {
    const { parent } = node
    parent?.children?.delete(nameBelow(parent, node.key))
    if (node.children === undefined) {
      this.#forget(node)
      onRemoved(node.key)
      return
    }
    this.#lastDir = undefined
    for (const gone of childrenFirst(node)) {
      this.#forget(gone)
      onRemoved(gone.key)
    }
  }

  #forget(node: Node): void {
    this.#heap.remove(node)
    this.#count -= 1
    this.#dirtyLength += node.key.length
    if (node.told === 'current') this.#dirty.push(node)
    node.told = node.told === 'nothing' ? 'never' : 'gone'
    // The disk may be told much later: until then only the key is of use.
    if (node.value !== undefined) node.value = ''
  }

  /** The oldest changes, until a limit is reached or passed. What is left stays dirty. */
  takeChanges(limit = NO_LIMIT): TreeChanges {
    const written: Node[] = []
    const removed: Removed[] = []
    let count = 0
    let length = 0
    for (const node of this.#dirty) {
      if (count >= limit.nodes || length >= limit.length) break
      count += 1
      length += lengthOf(node)
      if (node.told === 'never') continue
      if (node.told !== 'gone') {
        node.told = 'current'
        written.push(node)
      } else if (!this.#hasHeir(node)) removed.push(node)
    }
    this.#dirty = this.#dirty.slice(count)
    this.#dirtyLength = this.#dirty.length === 0 ? 0 : this.#dirtyLength - length
    return { written, removed }
  }

  /** Another node has its key by now: that one comes later and replaces its row, or is gone by then and removes it. */
  #hasHeir({ space, key }: Node): boolean {
    const heir = this.find(space, key, 0)
    if (isRefusal(heir)) return false
    if (heir.told === 'nothing') heir.told = 'outdated'
    return true
  }

  /** Every node but the roots, parents before children. */
  *nodes(): Generator<Node> {
    for (const space of SPACES) yield* below(this.#roots[space])
  }
}

/** Where in the key of something below `dir` the next name begins. */
function startBelow(dir: Node): number {
  return dir.parent === undefined ? 1 : dir.key.length + 1
}

function lengthOf({ key, value }: Node): number {
  return key.length + (value?.length ?? 0)
}

/** Without recursion: a tree may be as deep as a request line is long. */
function childrenFirst(top: Node): readonly Node[] {
  const order: Node[] = []
  const stack: Node[] = [top]
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    order.push(node)
    for (const child of node.children?.values() ?? []) stack.push(child)
  }
  return order.toReversed()
}

function* below(top: Node): Generator<Node> {
  const stack: Node[] = [...(top.children?.values() ?? [])]
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    yield node
    for (const child of node.children?.values() ?? []) stack.push(child)
  }
}
