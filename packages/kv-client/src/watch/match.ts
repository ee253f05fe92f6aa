import type { KvResponse } from '../types.ts'

/**
 * Whether a live watch of `key` hears this event (spec/kvd.md 6.2, 6.4). etcd answers from its
 * history by looser rules: hidden keys below the watched one, and the removal of a directory whose
 * name merely begins like the watched key, come too. A watch that resumes must not show them.
 */
export function matches(key: string, recursive: boolean, event: KvResponse): boolean {
  const path = event.node.key
  if (path === key) return true
  const prefix = key === '/' ? '/' : `${key}/`
  if (path.startsWith(prefix)) return recursive && !hasHiddenPart(path.slice(prefix.length - 1))
  return isRemoval(event.action) && key.startsWith(path === '/' ? '/' : `${path}/`)
}

function isRemoval(action: string): boolean {
  return action === 'delete' || action === 'expire'
}

function hasHiddenPart(path: string): boolean {
  return path.includes('/_')
}
