import type { Space } from './node.ts'

export type Action =
  'get' | 'set' | 'create' | 'update' | 'compareAndSwap' | 'delete' | 'compareAndDelete' | 'expire'

/** One change of the store. Its JSON is made once and serves the writer, the watchers and the history. */
export interface StoreEvent {
  readonly index: number
  readonly action: Action
  readonly space: Space
  readonly key: string
  /** A directory went away: keys below it are affected too. */
  readonly removedDir: boolean
  /** A refresh: kept for the numbering, never shown to watchers. */
  readonly refresh: boolean
  /** There was nothing under this key before. */
  readonly isNew: boolean
  /** `{"action":...}` without newline. */
  readonly json: string
}

/** True when `key` lies strictly below `dir`. */
export function isBelow(key: string, dir: string): boolean {
  return dir === '/' ? key !== '/' : key.length > dir.length && key.startsWith(`${dir}/`)
}

/** True when a component of `key` after `base` begins with `_`: not for a watcher of `base`. */
export function isHiddenFrom(base: string, key: string): boolean {
  if (base.length > key.length) return false
  return key.includes('/_', base === '/' ? 0 : base.length)
}
