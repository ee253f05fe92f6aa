import { compareText, escapeJson, isPlain, quoteJson } from './text.ts'

/** Trees that share one index and one history: cluster data, the users' keys, users and roles. */
export const SPACES = ['cluster', 'keys', 'auth'] as const
export type Space = (typeof SPACES)[number]

/**
 * What the disk was told of a node, or of the one before it of the same key: nothing yet, what it is,
 * what it was; and when it is gone, something while it was there, or never anything.
 */
export type Told = 'nothing' | 'current' | 'outdated' | 'gone' | 'never'

/** A file or a directory. `value` is undefined for directories, `children` for files. */
export interface Node {
  readonly key: string
  readonly space: Space
  readonly parent: Node | undefined
  value: string | undefined
  children: Map<string, Node> | undefined
  createdIndex: number
  modifiedIndex: number
  /** Milliseconds since 1970, or 0 for a node without TTL. */
  expireAt: number
  /** Place in the TTL heap, -1 when it is not there. */
  heapIndex: number
  told: Told
}

export interface NodeFields {
  readonly key: string
  readonly space: Space
  readonly parent: Node | undefined
  readonly value: string | undefined
  readonly index: number
  readonly expireAt: number
}

export function createNode(fields: NodeFields): Node {
  return {
    key: fields.key,
    space: fields.space,
    parent: fields.parent,
    value: fields.value,
    children: fields.value === undefined ? new Map<string, Node>() : undefined,
    createdIndex: fields.index,
    modifiedIndex: fields.index,
    expireAt: fields.expireAt,
    heapIndex: -1,
    told: 'nothing',
  }
}

/** Last component of the key of one of `parent`'s children. */
export function nameBelow(parent: Node, key: string): string {
  return key.slice(parent.parent === undefined ? 1 : parent.key.length + 1)
}

export function childKey(parent: Node, name: string): string {
  return parent.key === '/' ? `/${name}` : `${parent.key}/${name}`
}

/** RFC 3339 in UTC, trailing zeros of the fraction cut, as Go prints times. */
export function formatTime(ms: number): string {
  const text = new Date(ms).toISOString()
  return text.replace(/\.?0*Z$/, 'Z')
}

/** Whole seconds left, rounded up; negative when the time is past (etcd 2.3 store/node.go). */
function ttlSeconds(expireAt: number, nowMs: number): number {
  const leftMs = expireAt - nowMs
  return leftMs > 0 ? Math.ceil(leftMs / 1000) : -Math.floor(-leftMs / 1000)
}

/** What an answer shows of a node. Members that are absent are left out of the JSON. */
export interface NodeView {
  readonly key: string
  readonly value: string | undefined
  readonly dir: boolean
  readonly expireAt: number
  readonly modifiedIndex: number
  readonly createdIndex: number
}

/** JSON, and what is known of it. */
export interface Shown {
  readonly json: string
  /** It has as many bytes as characters; false may mean that nobody looked. */
  readonly isAscii: boolean
}

/** JSON of a node in the wire's order of members (kvd.md 2.5). */
function viewJson(view: NodeView, nowMs: number): string {
  return keyedJson(escapeJson(view.key), view, nowMs)
}

/**
 * The same for who has escaped the key already. The root shows neither key nor indexes. As one text,
 * with few parts: a leader makes two of them for each write.
 * @param isPlainValue it is known to need no escaping
 */
export function keyedJson(
  key: string,
  view: NodeView,
  nowMs: number,
  isPlainValue = false,
): string {
  if (view.key === '/') return '{"dir":true}'
  const { value, expireAt, modifiedIndex, createdIndex } = view
  const dir = view.dir ? ',"dir":true' : ''
  const expiry = expireAt === 0 ? '' : expiryJson(expireAt, nowMs)
  if (value === undefined)
    return `{"key":"${key}"${dir}${expiry},"modifiedIndex":${modifiedIndex},"createdIndex":${createdIndex}}`
  const text = isPlainValue ? value : escapeJson(value)
  return `{"key":"${key}","value":"${text}"${dir}${expiry},"modifiedIndex":${modifiedIndex},"createdIndex":${createdIndex}}`
}

/** Of a directory, the members before `nodes`. */
function headJson({ key, expireAt }: Node, nowMs: number): string {
  if (key === '/') return '{"dir":true'
  return `{"key":${quoteJson(key)},"dir":true${expireAt === 0 ? '' : expiryJson(expireAt, nowMs)}`
}

/** Of a directory, the members after `nodes` and the closing brace. */
function tailJson({ key, modifiedIndex, createdIndex }: Node): string {
  if (key === '/') return '}'
  return `,"modifiedIndex":${modifiedIndex},"createdIndex":${createdIndex}}`
}

function expiryJson(expireAt: number, nowMs: number): string {
  const seconds = ttlSeconds(expireAt, nowMs)
  const ttl = seconds === 0 ? '' : `,"ttl":${seconds}`
  return `,"expiration":"${formatTime(expireAt)}"${ttl}`
}

/** A node without its children, as events show it. */
export function bareView(node: Node): NodeView {
  return {
    key: node.key,
    value: node.value,
    dir: node.children !== undefined,
    expireAt: node.expireAt,
    modifiedIndex: node.modifiedIndex,
    createdIndex: node.createdIndex,
  }
}

export interface Listing {
  readonly recursive: boolean
  readonly sorted: boolean
  readonly nowMs: number
}

interface Level {
  readonly node: Node
  readonly children: readonly Node[]
  at: number
}

/** A node as a read shows it: a directory with one level of children, or all; hidden ones left out. */
export function showNode(top: Node, listing: Listing): Shown {
  if (top.children !== undefined) return { json: listingJson(top, listing), isAscii: false }
  const { key, value = '' } = top
  const isAscii = isPlain(key) && isPlain(value)
  const shownKey = isAscii ? key : escapeJson(key)
  return { json: keyedJson(shownKey, bareView(top), listing.nowMs, isAscii), isAscii }
}

/** Without recursion: a tree may be as deep as a request line is long. */
function listingJson(top: Node, listing: Listing): string {
  let text = ''
  const levels: Level[] = []
  const enter = (node: Node): void => {
    const children = shownChildren(node, listing.sorted)
    text += headJson(node, listing.nowMs) + (children.length > 0 ? ',"nodes":[' : '')
    levels.push({ node, children, at: 0 })
  }
  enter(top)
  for (let level = levels.at(-1); level !== undefined; level = levels.at(-1)) {
    const child = level.children[level.at]
    if (child === undefined) {
      levels.pop()
      text += `${level.children.length > 0 ? ']' : ''}${tailJson(level.node)}`
      continue
    }
    if (level.at > 0) text += ','
    level.at += 1
    if (listing.recursive && child.children !== undefined) enter(child)
    else text += viewJson(bareView(child), listing.nowMs)
  }
  return text
}

function shownChildren(node: Node, isSorted: boolean): readonly Node[] {
  const shown: Node[] = []
  for (const [name, child] of node.children ?? []) if (!name.startsWith('_')) shown.push(child)
  return isSorted ? shown.toSorted((left, right) => compareText(left.key, right.key)) : shown
}
