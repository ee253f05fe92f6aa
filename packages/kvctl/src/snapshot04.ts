/** A node as etcd 0.4 stored it: a directory has children, a key has none. */
export interface SnapshotNode {
  readonly path: string
  readonly value: string
  /** Milliseconds since 1970; undefined: never. */
  readonly expiresMs: number | undefined
  readonly children: readonly SnapshotNode[] | undefined
}

/** What an import does, in order. `ttl` in seconds; 0 for ever; negative when it is past. */
export type Entry =
  | { readonly type: 'dir'; readonly key: string }
  | { readonly type: 'key'; readonly key: string; readonly value: string; readonly ttl: number }

/**
 * The tree of a snapshot of etcd 0.4: the JSON of its store as /v2/migration/snapshot gives it, or a
 * file of its snapshot directory (a line with a checksum, then JSON with the store in `state`).
 * Throws when it is neither.
 */
export function readSnapshot(text: string): SnapshotNode {
  const body = record(JSON.parse(text.replace(/^[0-9a-f]{8}\n/, '')))
  const { state } = body
  if (typeof state !== 'string') return readNode(body['Root'])
  return readSnapshot(Buffer.from(state, 'base64').toString('utf8'))
}

function readNode(value: unknown): SnapshotNode {
  const { Path: path, Value: content, ExpireTime: expires, Children: children } = record(value)
  return {
    path: typeof path === 'string' ? path : '/',
    value: typeof content === 'string' ? content : '',
    expiresMs: readTime(expires),
    children:
      children === undefined || children === null
        ? undefined
        : Object.values(record(children)).map(readNode),
  }
}

/** Go's zero time stands for none. */
function readTime(value: unknown): number | undefined {
  if (typeof value !== 'string' || value.startsWith('0001-01-01T00:00:00')) return undefined
  const time = Date.parse(value)
  return Number.isNaN(time) ? undefined : time
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  if (isRecord(value)) return value
  throw new TypeError('not a snapshot of etcd 0.4')
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The node of a path, hidden or not. */
export function findNode(root: SnapshotNode, path: string): SnapshotNode | undefined {
  let node: SnapshotNode | undefined = root
  for (const part of path.split('/').filter((name) => name !== '')) {
    node = node?.children?.find((child) => nameOf(child) === part)
  }
  return node
}

/** A node and all below it that a recursive, sorted read would show. */
export function* walk(node: SnapshotNode, nowMs: number): Generator<Entry> {
  if (node.children === undefined) {
    yield { type: 'key', key: node.path, value: node.value, ttl: ttlOf(node, nowMs) }
    return
  }
  yield { type: 'dir', key: node.path }
  const byPath = node.children.toSorted((a, b) => (a.path < b.path ? -1 : 1))
  for (const child of byPath) {
    if (!nameOf(child).startsWith('_')) yield* walk(child, nowMs)
  }
}

function ttlOf({ expiresMs }: SnapshotNode, nowMs: number): number {
  // A key that died less than a second ago would round to 0, for ever.
  return expiresMs === undefined ? 0 : Math.ceil((expiresMs - nowMs) / 1000) || -1
}

function nameOf({ path }: SnapshotNode): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
