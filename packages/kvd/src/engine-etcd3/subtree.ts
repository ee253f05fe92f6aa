import { EtcdError } from './etcd-error.ts'
import type { Etcd } from './etcd.ts'
import { depthOf, parentOf, type Layout } from './layout.ts'
import type { TxnOperation } from './messages.ts'
import { subtree } from './decision.ts'
import { nodesAmong } from './nodes.ts'
import { eventText } from './records.ts'

/** A node that an expired directory has left. */
export interface Orphan {
  readonly key: string
  readonly isDir: boolean
}

/** Deeper than this, what an expired directory has left stays until its place is taken. */
const LEVELS_MAX = 40

/** What lay below a directory at a revision, parents first; nothing when etcd no longer knows. */
export async function listBelow(
  etcd: Pick<Etcd, 'read'>,
  layout: Layout,
  place: { readonly dir: string; readonly revision: number },
): Promise<readonly Orphan[]> {
  const found: Orphan[] = []
  const present = new Set([place.dir])
  for (let levels = 1; ; levels += 1) {
    const request = { ...layout.below(place.dir, levels), revision: place.revision }
    const ranges = await etcd.read([request]).then(
      (response) => response.ranges,
      (error: unknown) => {
        if (error instanceof EtcdError && error.code === 'COMPACTED') return []
        throw error
      },
    )
    const level = nodesAmong(layout, ranges.flat())
      .filter(({ key }) => present.has(parentOf(key)))
      .map(({ key, value }) => ({ key, isDir: value === undefined }))
    found.push(...level)
    const dirs = level.filter(({ isDir }) => isDir)
    if (dirs.length === 0) return found
    for (const { key } of dirs) present.add(key)
  }
}

/**
 * Deletes what an expired directory has left, unless there is a directory of that name again; then
 * what the old one's directories have left. Many fronts may do so at a time: one of them does it.
 */
export async function sweep(
  etcd: Pick<Etcd, 'txn'>,
  layout: Layout,
  dir: string,
  orphans: readonly Orphan[],
): Promise<void> {
  const [first] = orphans
  if (first === undefined) return
  const depths = orphans.map(({ key }) => depthOf(key) - depthOf(dir))
  const levels = Math.min(
    LEVELS_MAX,
    depths.reduce((most, depth) => Math.max(most, depth), 0),
  )
  const isLeft = first.isDir ? layout.marker(first.key) : layout.file(first.key)
  const { succeeded, ranges } = await etcd.txn({
    compare: [
      { target: 'version', key: layout.marker(dir), is: 0 },
      { target: 'version', key: isLeft, than: 'greater', is: 0 },
    ],
    success: [
      ...subtree(layout, dir, levels).map((span): TxnOperation => ({ type: 'delete', ...span })),
      { type: 'put', key: layout.event, value: sweepText(dir), lease: 0n },
    ],
    failure: [{ type: 'range', key: layout.marker(dir) }],
  })
  const isThereAgain = !succeeded && (ranges[0]?.length ?? 0) > 0
  if (!isThereAgain) return
  for (const child of orphans)
    if (child.isDir && parentOf(child.key) === dir)
      await sweep(
        etcd,
        layout,
        child.key,
        orphans.filter(({ key }) => key.startsWith(`${child.key}/`)),
      )
}

function sweepText(dir: string): string {
  return eventText({
    action: 'sweep',
    key: dir,
    isDir: true,
    isRefresh: false,
    isNew: false,
    timeMs: 0,
  })
}
