import { createHash } from 'node:crypto'
import type { MemberId } from '../raft/types.ts'

/** Characters (one byte each) that tell one process' requests from all others': 48 bits. */
const PREFIX_LENGTH = 6

/**
 * What the ids of a process begin with. Short, so that an id is one flat string of at most 12
 * characters: it is made, hashed and stored for every write. Two processes of one cluster that share
 * it would have to share a counter as well, at the same moment, to be mixed up.
 */
export function requestPrefix(memberId: MemberId, incarnation: number): string {
  const digest = createHash('sha256').update(`${memberId} ${incarnation}`).digest()
  return digest.toString('latin1', 0, PREFIX_LENGTH)
}
