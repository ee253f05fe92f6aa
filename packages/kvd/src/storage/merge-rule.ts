import type { Amount } from './pack-table.ts'

/** What a batch merges at the least, so that a merge comes to an end. */
const STEP_ROWS = 16
const STEP_BYTES = 256 * 1024
/** A batch merges more than it brings, or packs would pile up. */
const STEP_FACTOR = 2
/**
 * Of one that brings much at once, such as a whole image, only so much counts: merging all of it would
 * hold up everybody.
 */
const BROUGHT_ROWS_MAX = 1_000
const BROUGHT_BYTES_MAX = 8 * 1024 * 1024
/**
 * And what waits beyond so many times what a merge begins with: a single entry may change a thousand
 * nodes, and when many do so, each batch has to merge as much as it brings.
 */
const BACKLOG_FACTOR = 4
/** This part of it besides, so that it goes away again. */
const EXCESS_PART = 256
/** So many in any case when too many bytes wait: small rows may lie before large ones. */
const EXCESS_ROWS = 2_000

/** What is known when a batch may merge. */
export interface Backlog {
  /** Of the batch: each may have made a row that has to be merged. */
  readonly entries: number
  readonly brought: Amount
  /** In packs of the image, without what this batch brought. */
  readonly waiting: Amount
  /** With so much a merge begins. */
  readonly due: Amount
}

/** How much a batch may move from packs into the table. What waits stays bounded, whatever comes, while batches may merge. */
export function mergeStep({ entries, brought, waiting, due }: Backlog): Amount {
  const rowsOver = Math.max(0, waiting.rows - BACKLOG_FACTOR * due.rows)
  const bytesOver = Math.max(0, waiting.bytes - BACKLOG_FACTOR * due.bytes)
  const rows = entries + Math.min(brought.rows, BROUGHT_ROWS_MAX + rowsOver)
  const bytes = Math.min(brought.bytes, BROUGHT_BYTES_MAX + bytesOver)
  return {
    rows: Math.max(
      STEP_ROWS + STEP_FACTOR * rows + Math.ceil(rowsOver / EXCESS_PART),
      bytesOver > 0 ? EXCESS_ROWS : 0,
    ),
    bytes: Math.max(STEP_FACTOR * bytes + Math.ceil(bytesOver / EXCESS_PART), STEP_BYTES),
  }
}
