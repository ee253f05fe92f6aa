import type { Random } from '../helpers/random.ts'
import type { Change } from './file-model.ts'

/** What a disk writes as one (correctness.md 5). */
const SECTOR_BYTES = 512

/** Which of the pending changes a power loss leaves. */
export const LOSSES = ['none', 'all', 'prefix', 'sectors', 'torn'] as const
export type Loss = (typeof LOSSES)[number]

/** The changes that are on the disk afterwards, or the parts of them. */
export function afterLoss(loss: Loss, pending: readonly Change[], random: Random): Change[] {
  switch (loss) {
    case 'none':
      return []
    case 'all':
      return [...pending]
    case 'prefix':
      return pending.slice(0, random.int(1, Math.max(1, pending.length - 1)))
    case 'sectors':
      return someSectors(pending, random)
    case 'torn':
      return tornEnd(pending, random)
  }
}

/** Bytes in any order, sector by sector; names in their own order, as a journal keeps them. */
function someSectors(pending: readonly Change[], random: Random): Change[] {
  const probability = random.pick([0.1, 0.5, 0.5, 0.9] as const)
  const names = pending.filter(({ type }) => type !== 'write' && type !== 'truncate')
  const kept = new Set(names.slice(0, random.int(0, names.length)))
  return pending.flatMap((change): Change[] => {
    if (change.type === 'write') return sectorsOf(change).filter(() => random.chance(probability))
    if (change.type === 'truncate') return random.chance(probability) ? [change] : []
    return kept.has(change) ? [change] : []
  })
}

type Write = Extract<Change, { type: 'write' }>

function sectorsOf(change: Write): Write[] {
  const parts: Write[] = []
  const end = change.offset + change.data.length
  for (let offset = change.offset; offset < end;) {
    const next = Math.min(end, offset - (offset % SECTOR_BYTES) + SECTOR_BYTES)
    const data = change.data.subarray(offset - change.offset, next - change.offset)
    parts.push({ ...change, offset, data })
    offset = next
  }
  return parts
}

/** A prefix whose last write stops somewhere. */
function tornEnd(pending: readonly Change[], random: Random): Change[] {
  const writes = pending.flatMap(({ type }, at) => (type === 'write' ? [at] : []))
  if (writes.length === 0) return pending.slice(0, random.int(0, pending.length))
  const at = random.pick(writes)
  const torn = pending[at]
  if (torn?.type !== 'write') return []
  const data = torn.data.subarray(0, random.int(0, torn.data.length - 1))
  return [...pending.slice(0, at), { ...torn, data }]
}
