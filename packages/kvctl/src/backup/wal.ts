import { crc32c } from './crc32c.ts'
import { bytesField, decodeFields, encodeFields, numberField } from './protobuf.ts'

// etcd's write-ahead log (etcd 2.3 wal/): segments of frames; a frame is the length of a record, 8
// bytes little endian, and the record, a protobuf message {type, crc, data}. The crc runs on over the
// data of all records; the first record of a segment repeats it. etcd 3 pads frames to 8 bytes and says
// so in the topmost byte of the length, and fills segments with zeros to their full size.

/** The kinds of records. */
export const RECORD = { metadata: 1, entry: 2, state: 3, crc: 4, snapshot: 5 } as const

export interface WalRecord {
  readonly type: number
  readonly data: Buffer
}

/** Where a snapshot ends and the log goes on. */
export interface Place {
  readonly index: number
  readonly term: number
}

/**
 * The records of consecutive segments. A last record that is not whole (the server is writing it)
 * is left out. Throws when a checksum is wrong anywhere else.
 */
export function readRecords(segments: readonly Buffer[]): WalRecord[] {
  const records: WalRecord[] = []
  let crc = 0
  for (const [n, segment] of segments.entries()) {
    const isLast = n === segments.length - 1
    for (let at = 0; ;) {
      const frame = readFrame(segment, at)
      if (frame === undefined) break
      const { type, stored, data } = frame.record
      const expected = type === RECORD.crc ? crc : crc32c(data, crc)
      // A new reader knows no crc before the first record, which tells it.
      const isGood = stored === expected || (type === RECORD.crc && crc === 0)
      if (!isGood && isLast && isBlank(segment.subarray(frame.end))) break
      if (!isGood) throw new Error('walpb: crc mismatch')
      crc = stored
      if (type !== RECORD.crc) records.push({ type, data })
      at = frame.end
    }
  }
  return records
}

interface Frame {
  readonly record: { readonly type: number; readonly stored: number; readonly data: Buffer }
  readonly end: number
}

function readFrame(segment: Buffer, at: number): Frame | undefined {
  if (at + 8 > segment.length) return undefined
  const top = segment[at + 7] ?? 0
  const size = segment.readUIntLE(at, 6)
  const padding = top & 0x80 ? top & 7 : 0
  const end = at + 8 + size + padding
  if (size === 0 || end > segment.length) return undefined
  try {
    const fields = decodeFields(segment.subarray(at + 8, at + 8 + size))
    const type = Number(numberField(fields, 1))
    const stored = Number(numberField(fields, 2))
    return { record: { type, stored, data: bytesField(fields, 3) }, end }
  } catch {
    return undefined
  }
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0)
}

/** A segment of these records, as the first one of a log. */
export function writeSegment(records: readonly WalRecord[]): Buffer {
  let crc = 0
  const frames = [{ type: RECORD.crc, data: Buffer.alloc(0) }, ...records].map(({ type, data }) => {
    crc = crc32c(data, crc)
    const record = encodeFields([
      [1, BigInt(type)],
      [2, BigInt(crc)],
      ...(type === RECORD.crc ? [] : ([[3, data]] as const)),
    ])
    const length = Buffer.alloc(8)
    length.writeUIntLE(record.length, 0, 6)
    return Buffer.concat([length, record])
  })
  return Buffer.concat(frames)
}

/** What a log says after a snapshot: the entries, and the last hard state. */
export function logAfter(
  records: readonly WalRecord[],
  start: Place,
): { entries: Buffer[]; state: Buffer | undefined } {
  const entries: Buffer[] = []
  let state: Buffer | undefined
  for (const { type, data } of records) {
    if (type === RECORD.state) state = data
    if (type !== RECORD.entry) continue
    const index = Number(numberField(decodeFields(data), 3))
    if (index <= start.index) continue
    // A leader that was replaced may have written entries here before: the later ones count.
    entries.length = Math.min(entries.length, index - start.index - 1)
    entries.push(data)
  }
  return { entries, state }
}

export function placeRecord({ index, term }: Place): WalRecord {
  const data = encodeFields([
    [1, BigInt(index)],
    [2, BigInt(term)],
  ])
  return { type: RECORD.snapshot, data }
}

/** The identity of a member: who it is, and in which cluster. */
export function metadataRecord(memberId: bigint, clusterId: bigint): WalRecord {
  const data = encodeFields([
    [1, memberId],
    [2, clusterId],
  ])
  return { type: RECORD.metadata, data }
}
