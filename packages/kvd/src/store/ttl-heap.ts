import type { Node } from './node.ts'

/** Nodes with a TTL, soonest first; ties by space and key, so that every replica agrees. */
export class TtlHeap {
  readonly #nodes: Node[] = []

  get size(): number {
    return this.#nodes.length
  }

  /** The node that expires first. */
  peek(): Node | undefined {
    return this.#nodes[0]
  }

  push(node: Node): void {
    node.heapIndex = this.#nodes.length
    this.#nodes.push(node)
    this.#rise(node.heapIndex)
  }

  /** Takes the node out; nothing happens when it is not in. */
  remove(node: Node): void {
    const hole = node.heapIndex
    if (hole === -1) return
    const last = this.#nodes.pop()
    node.heapIndex = -1
    if (last === undefined || last === node) return
    this.#put(hole, last)
    this.#rise(hole)
    this.#sink(last.heapIndex)
  }

  #put(index: number, node: Node): void {
    this.#nodes[index] = node
    node.heapIndex = index
  }

  #rise(start: number): void {
    let index = start
    while (index > 0) {
      const above = (index - 1) >> 1
      const node = this.#nodes[index]
      const parent = this.#nodes[above]
      if (node === undefined || parent === undefined || !isSooner(node, parent)) return
      this.#put(index, parent)
      this.#put(above, node)
      index = above
    }
  }

  #sink(start: number): void {
    let index = start
    for (;;) {
      const node = this.#nodes[index]
      const below = this.#soonerChild(index)
      const child = this.#nodes[below]
      if (node === undefined || child === undefined || !isSooner(child, node)) return
      this.#put(index, child)
      this.#put(below, node)
      index = below
    }
  }

  #soonerChild(index: number): number {
    const left = this.#nodes[2 * index + 1]
    const right = this.#nodes[2 * index + 2]
    return left !== undefined && right !== undefined && isSooner(right, left)
      ? 2 * index + 2
      : 2 * index + 1
  }
}

function isSooner(left: Node, right: Node): boolean {
  if (left.expireAt !== right.expireAt) return left.expireAt < right.expireAt
  if (left.space !== right.space) return left.space < right.space
  return left.key < right.key
}
