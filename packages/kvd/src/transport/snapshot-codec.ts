import { Buffer } from 'node:buffer'
import { createHash } from 'node:crypto'
import type { Place } from '../raft/types.ts'
import { crc32 } from '../storage/checksum.ts'
import type { EventRow, SnapshotHead } from '../storage/messages.ts'
import { CodecError } from '../store/byte-reader.ts'
import { COUNTERS, createStats, type StoreStats } from '../store/stats.ts'

// frame: kind u8 | length u32 | CRC-32 of the body u32 | body
// head (JSON), rows (as packChanges packs them) ..., events (JSON) ..., end (SHA-256 of all bytes before its frame)
const KINDS = ['head', 'rows', 'events', 'end'] as const
const HEAD_BYTES = 9
/**
 * A row is never cut, nor is an event, which has a value and the one before it, 10 MiB each. A byte of them takes
 * at most nine: a control character is escaped as JSON three times.
 */
const FRAME_BYTES_MAX = 256 * 1024 * 1024

/** Between whom, in which term, and of what. */
export interface SnapshotTitle extends SnapshotHead {
  readonly from: string
  readonly to: string
  readonly term: number
  /** Of the sender. */
  readonly incarnation: number
}

export type SnapshotFrame =
  | { readonly kind: 'head'; readonly title: SnapshotTitle }
  | { readonly kind: 'rows'; readonly pack: Uint8Array }
  | { readonly kind: 'events'; readonly row: EventRow }

/** Packs a snapshot for the wire, a frame at a time. */
export class SnapshotWriter {
  readonly #hash = createHash('sha256')

  frame(frame: SnapshotFrame): Buffer {
    const bytes = pack(KINDS.indexOf(frame.kind), bodyOf(frame))
    this.#hash.update(bytes)
    return bytes
  }

  end(): Buffer {
    return pack(KINDS.indexOf('end'), this.#hash.digest())
  }
}

function bodyOf(frame: SnapshotFrame): Uint8Array {
  switch (frame.kind) {
    case 'head':
      return Buffer.from(JSON.stringify(frame.title))
    case 'rows':
      return frame.pack
    case 'events':
      return Buffer.from(JSON.stringify(frame.row))
  }
}

function pack(kind: number, body: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + body.length)
  bytes.writeUInt8(kind, 0)
  bytes.writeUInt32LE(body.length, 1)
  bytes.writeUInt32LE(crc32(body), 5)
  bytes.set(body, HEAD_BYTES)
  return bytes
}

/** Reads what `SnapshotWriter` packed, however the bytes are cut. */
export class SnapshotParser {
  readonly #hash = createHash('sha256')
  #chunks: Buffer[] = []
  #length = 0
  #isEnded = false
  #isBegun = false

  /** The end was there, and everything before it. */
  get isWhole(): boolean {
    return this.#isEnded && this.#length === 0
  }

  /** Frames that are complete with these bytes. @throws CodecError */
  *push(chunk: Buffer): Generator<SnapshotFrame> {
    this.#chunks.push(chunk)
    this.#length += chunk.length
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) yield frame
  }

  #next(): SnapshotFrame | undefined {
    if (this.#isEnded && this.#length > 0) throw new CodecError('bytes behind the end')
    if (this.#length < HEAD_BYTES) return undefined
    const head = this.#peek(HEAD_BYTES)
    const kind = KINDS[head.readUInt8(0)]
    const length = head.readUInt32LE(1)
    if (kind === undefined || length > FRAME_BYTES_MAX)
      throw new CodecError(`a frame of kind ${head.readUInt8(0)} and ${length} bytes`)
    if (this.#length < HEAD_BYTES + length) return undefined
    const bytes = this.#take(HEAD_BYTES + length)
    const body = bytes.subarray(HEAD_BYTES)
    if (crc32(body) !== head.readUInt32LE(5)) throw new CodecError(`a ${kind} fails its checksum`)
    if (kind === 'end') {
      this.#end(body)
      return undefined
    }
    this.#hash.update(bytes)
    if (this.#isBegun === (kind === 'head')) throw new CodecError(`a ${kind} out of order`)
    this.#isBegun = true
    return readFrame(kind, body)
  }

  #end(digest: Buffer): void {
    if (!this.#hash.digest().equals(digest)) throw new CodecError('the snapshot fails its checksum')
    this.#isEnded = true
    if (this.#length > 0) throw new CodecError('bytes behind the end')
  }

  #peek(size: number): Buffer {
    const [first] = this.#chunks
    if (first !== undefined && first.length >= size) return first
    this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0] ?? Buffer.alloc(0)
  }

  #take(size: number): Buffer {
    const all = this.#peek(size)
    this.#length -= size
    this.#chunks[0] = all.subarray(size)
    return all.subarray(0, size)
  }
}

function readFrame(kind: 'head' | 'rows' | 'events', body: Buffer): SnapshotFrame {
  // In memory of its own: it is kept, and handed to another thread.
  if (kind === 'rows') return { kind, pack: new Uint8Array(body) }
  const fields = readObject(kind, body)
  return kind === 'head'
    ? { kind, title: readTitle(fields) }
    : { kind, row: { last: whole(fields, 'last'), body: text(fields, 'body') } }
}

function readObject(kind: string, body: Buffer): ReadonlyMap<string, unknown> {
  let document: unknown
  try {
    document = JSON.parse(body.toString('utf8'))
  } catch {
    throw new CodecError(`a ${kind} that is no JSON`)
  }
  return fieldsOf(document, kind)
}

function fieldsOf(value: unknown, what: string): ReadonlyMap<string, unknown> {
  if (typeof value !== 'object' || value === null) throw new CodecError(`${what} is no object`)
  return new Map(Object.entries(value))
}

function readTitle(fields: ReadonlyMap<string, unknown>): SnapshotTitle {
  const place = fieldsOf(fields.get('place'), 'place')
  return {
    from: text(fields, 'from'),
    to: text(fields, 'to'),
    term: whole(fields, 'term'),
    incarnation: whole(fields, 'incarnation'),
    place: readPlace(place),
    storeIndex: whole(fields, 'storeIndex'),
    count: whole(fields, 'count'),
    stats: readStats(fieldsOf(fields.get('stats'), 'stats')),
  }
}

function readPlace(fields: ReadonlyMap<string, unknown>): Place {
  return {
    index: whole(fields, 'index'),
    term: whole(fields, 'term'),
    chain: whole(fields, 'chain'),
  }
}

function readStats(fields: ReadonlyMap<string, unknown>): StoreStats {
  const stats: StoreStats = { ...createStats(), syncTime: whole(fields, 'syncTime') }
  for (const counter of COUNTERS) if (fields.has(counter)) stats[counter] = whole(fields, counter)
  return stats
}

function whole(fields: ReadonlyMap<string, unknown>, name: string): number {
  const value = fields.get(name)
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
    throw new CodecError(`${name} is no index`)
  return value
}

function text(fields: ReadonlyMap<string, unknown>, name: string): string {
  const value = fields.get(name)
  if (typeof value !== 'string') throw new CodecError(`${name} is no text`)
  return value
}
