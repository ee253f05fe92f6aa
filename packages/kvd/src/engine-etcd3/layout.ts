import type { Span } from './messages.ts'

/** What a v3 key of this front stands for. `key` is the v2 key. */
export type Place =
  | { readonly type: 'file' | 'marker' | 'companion'; readonly key: string }
  /** The action's name: marks a revision as a v2 event. */
  | { readonly type: 'action' }
  /** What the v2 event of the revision is about. */
  | { readonly type: 'event' }

/**
 * Where the v2 tree lies in the v3 keys. Files and directory markers lie where etcd's own
 * `--experimental-enable-v2v3` puts them (etcd 3.4 etcdserver/api/v2v3/store.go), so that either
 * reads the other's data:
 *
 *   PREFIX/DEPTH/k/PATH      a file's value
 *   PREFIX/DEPTH/k/PATH/     an empty value: there is a directory
 *   PREFIX/act               the action, put in every revision that is a v2 event
 *
 * PATH is `/1` and the v2 key, DEPTH the number of its slashes in three digits: the children of a
 * directory are one range. Our own beside them:
 *
 *   PREFIX/DEPTH/x/PATH      companion of a node: createdIndex, expiration
 *   PREFIX/DEPTH/o/PATH      put with every in-order key made in that directory
 *   PREFIX/evt               the v2 event of the revision
 */
export class Layout {
  readonly action: string
  readonly event: string
  /** Everything of this front. */
  readonly all: Span
  readonly #prefix: string

  /** @param prefix begins with a slash and does not end in one */
  constructor(prefix: string) {
    this.#prefix = prefix
    this.action = `${prefix}/act`
    this.event = `${prefix}/evt`
    this.all = prefixSpan(`${prefix}/`)
  }

  file(key: string): string {
    return this.#place('k', key)
  }

  marker(key: string): string {
    return `${this.#place('k', key)}/`
  }

  companion(key: string): string {
    return this.#place('x', key)
  }

  order(key: string): string {
    return this.#place('o', key)
  }

  /** Files and markers `levels` below a directory: 1 for its children. */
  below(key: string, levels: number): Span {
    return prefixSpan(`${this.#place('k', key, levels)}/`)
  }

  companionsBelow(key: string, levels: number): Span {
    return prefixSpan(`${this.#place('x', key, levels)}/`)
  }

  ordersBelow(key: string, levels: number): Span {
    return prefixSpan(`${this.#place('o', key, levels)}/`)
  }

  #place(kind: 'k' | 'x' | 'o', key: string, levels = 0): string {
    const path = key === '/' ? '/1' : `/1${key}`
    const depth = String(depthOf(key) + 1 + levels).padStart(3, '0')
    return `${this.#prefix}/${depth}/${kind}/${path}`
  }

  /** Undefined for a key that says nothing about the tree. */
  parse(text: string): Place | undefined {
    if (text === this.action) return { type: 'action' }
    if (text === this.event) return { type: 'event' }
    if (!text.startsWith(`${this.#prefix}/`)) return undefined
    const rest = /^\d{3,}\/([kx])\/\/1(\/[\s\S]*)$/.exec(text.slice(this.#prefix.length + 1))
    if (rest === null) return undefined
    const [, kind = '', path = ''] = rest
    if (kind === 'x') return { type: 'companion', key: path }
    if (!path.endsWith('/')) return { type: 'file', key: path }
    return path === '/' ? undefined : { type: 'marker', key: path.slice(0, -1) }
  }
}

/** Number of a key's components; 0 for the root. */
export function depthOf(key: string): number {
  return key === '/' ? 0 : key.split('/').length - 1
}

/** All keys that begin with a text that ends in a slash. */
function prefixSpan(prefix: string): Span {
  return { key: prefix, end: `${prefix.slice(0, -1)}0` }
}

/** A span without one key of it. */
export function spansAround(span: Span, key: string): readonly Span[] {
  return [
    { key: span.key, end: key },
    { key: `${key}\0`, end: span.end ?? '' },
  ]
}

/** Every directory above a key but the root, from the top down. */
export function ancestorsOf(key: string): readonly string[] {
  const found: string[] = []
  for (let end = key.indexOf('/', 1); end !== -1; end = key.indexOf('/', end + 1))
    found.push(key.slice(0, end))
  return found
}

export function parentOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/')) || '/'
}
