import { Buffer } from 'node:buffer'
import type { Entry, EntryKind, Place, Proposal } from '../raft/types.ts'
import { ByteReader, CodecError } from '../store/byte-reader.ts'
import type { ByteWriter } from '../store/bytes.ts'
import { crc32 } from './checksum.ts'

// proposal: kind u8 | id (name) | data length u32, data
// entry:    index f64 | term f64 | chain u32 | proposal
const KINDS: readonly EntryKind[] = ['noop', 'request', 'conf']
/** Of a proposal without its texts. */
export const PROPOSAL_BYTES = 6
const ENTRY_BYTES = 20 + PROPOSAL_BYTES
/** Of a frame: the length before the entry. */
const LENGTH_BYTES = 4
/** Behind index, term and chain. */
const KIND_AT = 20
const ID_BYTES_MAX = 0xff
/** Of a proposal: more than any client may write (10 MiB), and little enough for a frame between members. */
export const DATA_BYTES_MAX = 14 * 1024 * 1024

/** The caller has reserved `PROPOSAL_BYTES`, and what id and data take. */
export function writeProposal(writer: ByteWriter, { kind, id, data }: Proposal): void {
  writer.u8(KINDS.indexOf(kind))
  writer.name(id)
  writer.u32(data.length)
  writer.bytes(data)
}

/** @throws CodecError */
export function readProposal(reader: ByteReader): Proposal {
  const number = reader.u8()
  const kind = KINDS[number]
  if (kind === undefined) throw new CodecError(`an entry of kind ${number}`)
  return { kind, id: reader.name(), data: reader.bytes(reader.u32()) }
}

/** An entry as it is on the wire and on the disk. */
export function writeEntry(writer: ByteWriter, entry: Entry): void {
  writer.reserve(ENTRY_BYTES + entry.id.length + entry.data.length)
  writer.f64(entry.index)
  writer.f64(entry.term)
  writer.u32(entry.chain)
  writeProposal(writer, entry)
}

/** @throws CodecError */
export function readEntry(reader: ByteReader): Entry {
  const index = reader.whole()
  const term = reader.whole()
  const chain = reader.u32()
  const { kind, id, data } = readProposal(reader)
  // Written out: spreading costs more than all the rest.
  return { index, term, kind, id, data, chain }
}

/**
 * Entries packed one behind the other, each behind its length (u32): what a disk batch holds.
 * In memory of their own: they may be handed to another thread.
 */
export function packEntries(entries: readonly Entry[]): Uint8Array {
  let bytes = 0
  for (const { id, data } of entries) bytes += LENGTH_BYTES + ENTRY_BYTES + id.length + data.length
  const packed = Buffer.from(new ArrayBuffer(bytes))
  let at = 0
  for (const entry of entries) at = putEntry(packed, at, entry)
  return new Uint8Array(packed.buffer)
}

function putEntry(packed: Buffer, start: number, entry: Entry): number {
  const { index, term, chain, kind, id, data } = entry
  let at = packed.writeUInt32LE(ENTRY_BYTES + id.length + data.length, start)
  at = packed.writeDoubleLE(index, at)
  at = packed.writeDoubleLE(term, at)
  at = packed.writeUInt32LE(chain, at)
  at = packed.writeUInt8(KINDS.indexOf(kind), at)
  at = packed.writeUInt8(id.length, at)
  at += packed.write(id, at, 'latin1')
  at = packed.writeUInt32LE(data.length, at)
  packed.set(data, at)
  return at + data.length
}

/** Where the entry ends that begins at `at` of a pack; undefined when the pack ends before. */
export function frameEnd(pack: Buffer, at: number): number | undefined {
  if (at + LENGTH_BYTES > pack.length) return undefined
  const end = at + LENGTH_BYTES + pack.readUInt32LE(at)
  return end > pack.length ? undefined : end
}

/** The entry that `frameEnd` found, without its length. */
export function frameBody(pack: Buffer, at: number, end: number): Buffer {
  return pack.subarray(at + LENGTH_BYTES, end)
}

/** Where the entry stands that begins at `at` of a pack. */
export function placeIn(pack: Buffer, at: number): Place {
  const index = pack.readDoubleLE(at + LENGTH_BYTES)
  const term = pack.readDoubleLE(at + LENGTH_BYTES + 8)
  const chain = pack.readUInt32LE(at + LENGTH_BYTES + 16)
  return { index, term, chain }
}

/** Whether a change of the members is among the entries of `packEntries`. */
export function hasChange({ buffer, byteOffset, byteLength }: Uint8Array): boolean {
  const conf = KINDS.indexOf('conf')
  const pack = Buffer.from(buffer, byteOffset, byteLength)
  for (let at: number | undefined = 0; at !== undefined; at = frameEnd(pack, at))
    if (pack[at + LENGTH_BYTES + KIND_AT] === conf) return true
  return false
}

/** One entry of `packEntries`, without its length. @throws CodecError */
export function unpackEntry(bytes: Buffer): Entry {
  const reader = new ByteReader(bytes)
  const entry = readEntry(reader)
  if (reader.left > 0) throw new CodecError(`an entry is ${reader.left} bytes too long`)
  return entry
}

const HEAD_BYTES = 18
const head = Buffer.alloc(HEAD_BYTES + ID_BYTES_MAX)
/** The head up to each length that an id can give it: made for every entry they would be garbage. */
const heads = Array.from({ length: ID_BYTES_MAX + 1 }, (_, length) =>
  head.subarray(0, HEAD_BYTES + length),
)

/** Checksum over an entry and, by `before`, all entries before it (docs/decisions/log-chain.md). */
export function entryChain(before: number, entry: Omit<Entry, 'chain'>): number {
  head.writeDoubleLE(entry.index, 0)
  head.writeDoubleLE(entry.term, 8)
  head[16] = KINDS.indexOf(entry.kind)
  head[17] = entry.id.length
  const length = head.write(entry.id, HEAD_BYTES, 'latin1')
  return crc32(entry.data, crc32(heads[length] ?? head, before))
}
