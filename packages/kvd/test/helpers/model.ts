import assert from 'node:assert/strict'
import type { WireEvent, WireNode } from './answers.ts'

/** What the model knows of one key. A directory has no value. */
export interface ModelNode {
  readonly value: string | undefined
  readonly expiration: string | undefined
  readonly createdIndex: number
  readonly modifiedIndex: number
}

/** The tree that follows from a stream of events: nothing but the specification of the v2 API. */
export class Model {
  readonly nodes = new Map<string, ModelNode>()

  /** Applies the next event and checks that it fits what came before it. @throws AssertionError */
  apply(event: WireEvent): void {
    const { action, node, prevNode } = event
    const before = this.nodes.get(node.key)
    if (prevNode !== undefined) this.#checkBefore(prevNode, before)
    switch (action) {
      case 'create':
        assert.equal(before, undefined, `create of ${node.key}, which exists`)
        this.#put(node)
        return
      case 'set':
        assert.equal(before === undefined, prevNode === undefined, `set of ${node.key}: prevNode`)
        this.#put(node)
        return
      case 'update':
      case 'compareAndSwap':
        assert.ok(before, `${action} of ${node.key}, which does not exist`)
        assert.equal(node.createdIndex, before.createdIndex, `${action} of ${node.key}`)
        // etcd 2.3 store/store.go: an update of a directory changes its TTL, not its index.
        this.#put(node.dir ? { ...node, modifiedIndex: before.modifiedIndex } : node)
        return
      case 'delete':
      case 'compareAndDelete':
      case 'expire':
        assert.ok(before, `${action} of ${node.key}, which does not exist`)
        assert.equal(node.createdIndex, before.createdIndex, `${action} of ${node.key}`)
        this.#remove(node.key)
        return
      default:
        assert.fail(`unknown action ${action}`)
    }
  }

  #checkBefore(prevNode: WireNode, before: ModelNode | undefined): void {
    const { key, createdIndex, value } = prevNode
    assert.ok(before, `prevNode of ${key}, which did not exist`)
    assert.equal(createdIndex, before.createdIndex, `prevNode of ${key}: createdIndex`)
    assert.equal(prevNode.modifiedIndex, before.modifiedIndex, `prevNode of ${key}: modifiedIndex`)
    if (!prevNode.dir) assert.equal(value, before.value, `prevNode of ${key}: value`)
  }

  #put(node: WireNode): void {
    for (const parent of parentsOf(node.key)) {
      if (this.nodes.has(parent)) continue
      const index = node.modifiedIndex
      this.nodes.set(parent, {
        value: undefined,
        expiration: undefined,
        createdIndex: index,
        modifiedIndex: index,
      })
    }
    this.nodes.set(node.key, toModel(node))
  }

  #remove(key: string): void {
    for (const path of this.nodes.keys())
      if (path === key || path.startsWith(`${key}/`)) this.nodes.delete(path)
  }

  /** The nodes that a recursive read of the root lists: hidden ones and all below them are left out. */
  visible(): Map<string, ModelNode> {
    return new Map([...this.nodes].filter(([key]) => !key.includes('/_')))
  }
}

/** The model of a recursive answer: every node below its root. */
export function modelOf(root: WireNode): Map<string, ModelNode> {
  const found = new Map<string, ModelNode>()
  const visit = (node: WireNode): void => {
    if (node.key !== root.key) found.set(node.key, toModel(node))
    node.nodes.forEach(visit)
  }
  visit(root)
  return found
}

function toModel(node: WireNode): ModelNode {
  const { value, expiration, createdIndex, modifiedIndex } = node
  return { value: node.dir ? undefined : value, expiration, createdIndex, modifiedIndex }
}

function* parentsOf(key: string): Generator<string> {
  for (let end = key.indexOf('/', 1); end !== -1; end = key.indexOf('/', end + 1))
    yield key.slice(0, end)
}

/** The keys at which two trees differ, one line each, long values cut: empty when they are equal. */
export function differences(
  actual: ReadonlyMap<string, ModelNode>,
  expected: ReadonlyMap<string, ModelNode>,
): string[] {
  const keys = [...new Set([...actual.keys(), ...expected.keys()])].toSorted()
  return keys
    .map((key) => [key, textOf(actual.get(key)), textOf(expected.get(key))] as const)
    .filter(([, is, shouldBe]) => is !== shouldBe)
    .map(([key, is, shouldBe]) => `${key}: ${cut(is)}, expected ${cut(shouldBe)}`)
}

function textOf(node: ModelNode | undefined): string {
  if (node === undefined) return 'nothing'
  const { value, expiration, createdIndex, modifiedIndex } = node
  return `${createdIndex}/${modifiedIndex} ${expiration ?? ''} ${value ?? '(directory)'}`
}

function cut(text: string): string {
  return text.length > 80 ? `${text.slice(0, 80)}... (${text.length})` : text
}
