import { Buffer } from 'node:buffer'
import { StoreEvent, type Action } from '../store/event.ts'
import type { Space } from '../store/node.ts'
import { crc32 } from './checksum.ts'
import type { DiskNode } from './rows.ts'

const head = Buffer.alloc(36)

/** Checksum over all columns of a node. */
export function nodeChecksum(node: DiskNode): number {
  head.writeUInt32LE(node.path.length, 0)
  head.writeInt32LE(node.value === null ? -1 : node.value.length, 4)
  head.writeDoubleLE(node.created, 8)
  head.writeDoubleLE(node.modified, 16)
  head.writeDoubleLE(node.expireMs, 24)
  const crc = crc32(node.path, crc32(head.subarray(0, 32)))
  return node.value === null ? crc : crc32(node.value, crc)
}

/** Checksum over all columns of a pack of rows. */
export function packChecksum(seq: number, rows: number, pack: Uint8Array): number {
  head.writeDoubleLE(seq, 0)
  head.writeDoubleLE(rows, 8)
  return crc32(pack, crc32(head.subarray(0, 16)))
}

/** Checksum of a text column together with the number that it belongs to. */
export function textChecksum(index: number, text: string): number {
  head.writeDoubleLE(index, 0)
  return crc32(Buffer.from(text, 'utf8'), crc32(head.subarray(0, 8)))
}

type EventRow = readonly [
  index: number,
  action: Action,
  space: Space,
  key: string,
  flags: number,
  json: string,
]

/** Events as one JSON text: what a row of table `event` holds. */
export function packEvents(events: readonly StoreEvent[]): string {
  const rows = events.map((event): EventRow => {
    const flags = (event.removedDir ? 1 : 0) | (event.refresh ? 2 : 0) | (event.isNew ? 4 : 0)
    return [event.index, event.action, event.space, event.key, flags, event.json]
  })
  return JSON.stringify(rows)
}

/** The events of `packEvents`; the caller has checked the text's checksum. */
export function unpackEvents(text: string): readonly StoreEvent[] {
  const rows: readonly EventRow[] = JSON.parse(text)
  return rows.map(([index, action, space, key, flags, json]) => {
    const removedDir = (flags & 1) !== 0
    const refresh = (flags & 2) !== 0
    const isNew = (flags & 4) !== 0
    return new StoreEvent({ index, action, space, key, removedDir, refresh, isNew }, json)
  })
}
