import { isRefusal, refusal, type Refusal } from './errors.ts'
import { childKey, createNode, nameBelow, SPACES, type Node, type Space } from './node.ts'
import { TtlHeap } from './ttl-heap.ts'

interface Removed {
  readonly space: Space
  readonly key: string
}

const SLASH = 0x2f

/** Rows for the disk: nodes written or gone since the last call of `takeChanges`. None comes twice. */
export interface TreeChanges {
  readonly written: readonly Node[]
  readonly removed: readonly Removed[]
}

/**
 * The nodes of all spaces, their TTLs, and which of them the disk has not seen yet.
 * Knows nothing of actions, events or indexes beyond storing them.
 */
export class Tree {
  readonly #roots: Readonly<Record<Space, Node>>
  readonly #heap = new TtlHeap()
  #written: Node[] = []
  #removed: Removed[] = []
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
    return this.#written.length + this.#removed.length
  }

  /** Characters that were written since the disk was last told, at the least as many as it will be told. */
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
    this.touch(node)
    return node
  }

  /** Notes that a node's value or index was written. */
  touch(node: Node): void {
    this.#dirtyLength += node.key.length + (node.value?.length ?? 0)
    if (node.isDirty) return
    node.isDirty = true
    this.#written.push(node)
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
    const { space, key } = node
    this.#heap.remove(node)
    this.#count -= 1
    this.#dirtyLength += key.length
    this.#removed.push({ space, key })
  }

  takeChanges(): TreeChanges {
    const written = this.#written.filter((node) => this.#isPresent(node))
    const isGone = ({ space, key }: Removed): boolean => isRefusal(this.find(space, key, 0))
    const removed = new Map(
      this.#removed.filter(isGone).map((node) => [`${node.space} ${node.key}`, node]),
    )
    for (const node of this.#written) node.isDirty = false
    this.#written = []
    this.#removed = []
    this.#dirtyLength = 0
    return { written, removed: [...removed.values()] }
  }

  #isPresent(node: Node): boolean {
    return this.find(node.space, node.key, 0) === node
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
