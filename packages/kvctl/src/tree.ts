import type { KvNode } from '@flotilla/kv-client'

/** A key or directory as `export` writes it: no indexes, which another cluster could not keep. */
export interface TreeNode {
  readonly key: string
  readonly value?: string
  readonly ttl?: number
  readonly nodes?: readonly TreeNode[]
}

/** What there is to write, in an order in which no directory is missing. */
export interface TreeEntry {
  readonly key: string
  /** undefined: a directory. */
  readonly value: string | undefined
  /** Seconds; 0 for ever. */
  readonly ttl: number
}

/** The JSON of a tree, one field a line, ready to be compared line by line. */
export function treeJson(nodes: readonly KvNode[]): string {
  const trees = nodes.map(toTree)
  return `${JSON.stringify(trees.length === 1 ? trees[0] : trees, null, 2)}\n`
}

function toTree({ key, value, ttl, expiration, dir, nodes }: KvNode): TreeNode {
  return {
    key,
    ...(dir === true ? {} : { value: value ?? '' }),
    // Between its time and its removal a key has an expiration and a ttl that is negative, or 0 and left
    // out. Written without one it would live for ever after an import.
    ...(expiration === undefined && ttl === undefined ? {} : { ttl: Math.max(1, ttl ?? 0) }),
    ...(dir === true ? { nodes: (nodes ?? []).map(toTree) } : {}),
  }
}

/** Reads what `treeJson` wrote. Throws a TypeError that names the place for anything else. */
export function readTree(text: string): TreeEntry[] {
  const value: unknown = JSON.parse(text)
  const nodes = Array.isArray(value) ? value : [value]
  return nodes.flatMap((node) => readNode(node, 'the tree'))
}

function readNode(value: unknown, where: string): TreeEntry[] {
  if (typeof value !== 'object' || value === null) throw new TypeError(`${where} is no node`)
  const key = field(value, 'key')
  if (typeof key !== 'string') throw new TypeError(`${where} has a node without a key`)
  const content = field(value, 'value')
  const ttl = field(value, 'ttl') ?? 0
  const nodes = field(value, 'nodes')
  if (typeof ttl !== 'number') throw new TypeError(`${key} has a ttl that is no number`)
  if (Array.isArray(nodes)) {
    const below = nodes.flatMap((node) => readNode(node, key))
    return [{ key, value: undefined, ttl }, ...below]
  }
  if (typeof content !== 'string') throw new TypeError(`${key} has neither a value nor nodes`)
  return [{ key, value: content, ttl }]
}

function field(object: object, name: string): unknown {
  return Reflect.get(object, name)
}
