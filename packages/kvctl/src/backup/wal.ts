import { crc32c } from './crc32c.ts'
import { bytesField, decodeFields, encodeFields, numberField } from './protobuf.ts'

// etcd's write-ahead log (etcd 2.3 wal/): segments of frames; a frame is the length of a record, 8
// bytes little endian, and the record, a protobuf message {type, crc, data}. The crc runs on over the
// data of all records; the first record of a segment repeats it. etcd 3 pads frames to 8 bytes and says
// so in the topmost byte of the length, and fills segments with zeros to their full size.

/** The length in front of a record. */
const HEAD_BYTES = 8

/** The kinds of records. */
export const RECORD = { metadata: 1, entry: 2, state: 3, crc: 4, snapshot: 5 } as const

const TYPES: ReadonlySet<number> = new Set(Object.values(RECORD))

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
 * is left out. Throws when there is damage anywhere else.
 */
export function readRecords(segments: readonly Buffer[]): WalRecord[] {
  const records: WalRecord[] = []
  let crc = 0
  for (const [n, segment] of segments.entries()) {
    let at = 0
    for (let end = frameEnd(segment, at); end !== undefined; end = frameEnd(segment, at)) {
      const record = readRecord(segment.subarray(at, end), crc)
      if (record === undefined) break
      crc = record.crc
      if (record.type !== RECORD.crc) records.push({ type: record.type, data: record.data })
      at = end
    }
    const isLast = n === segments.length - 1
    if (!isRest(segment.subarray(at), isLast)) throw new Error('walpb: crc mismatch')
  }
  return records
}

/** Where the frame at `at` ends; undefined when no whole frame is left. */
function frameEnd(segment: Buffer, at: number): number | undefined {
  if (at + HEAD_BYTES > segment.length) return undefined
  const head = readHead(segment, at)
  if (head === undefined || head.size === 0) return undefined
  const end = at + HEAD_BYTES + head.size + head.padding
  return end > segment.length ? undefined : end
}

/** 48 bits of length; the topmost byte is 0, or 0x80 and the number of bytes of padding. */
function readHead(segment: Buffer, at: number): { size: number; padding: number } | undefined {
  const top = segment.readUInt16LE(at + 6)
  if ((top & ~0x8700) !== 0 || (top !== 0 && top < 0x8000)) return undefined
  return { size: segment.readUIntLE(at, 6), padding: (top >> 8) & 7 }
}

/** The record of a frame that goes on from `before`; undefined when it is damaged. */
function readRecord(frame: Buffer, before: number): (WalRecord & { crc: number }) | undefined {
  const size = readHead(frame, 0)?.size ?? 0
  try {
    const fields = decodeFields(frame.subarray(HEAD_BYTES, HEAD_BYTES + size))
    const type = Number(numberField(fields, 1))
    const crc = Number(numberField(fields, 2))
    const data = bytesField(fields, 3)
    // A new reader knows no crc before the first record, which tells it.
    const isGood =
      type === RECORD.crc ? before === 0 || crc === before : crc === crc32c(data, before)
    return isGood && TYPES.has(type) ? { type, data, crc } : undefined
  } catch {
    return undefined
  }
}

/** What may follow the last whole record: zeros; in the last segment after a frame that is being written. */
function isRest(rest: Buffer, isLast: boolean): boolean {
  if (isBlank(rest)) return true
  const end = frameEnd(rest, 0)
  return isLast && (end === undefined || isBlank(rest.subarray(end)))
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
