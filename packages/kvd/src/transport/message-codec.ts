import { Buffer } from 'node:buffer'
import type {
  Conf,
  Entry,
  Message,
  MessageBody,
  MessageType,
  PropResult,
  SnapshotMeta,
} from '../raft/types.ts'
import { crc32 } from '../storage/checksum.ts'
import {
  PROPOSAL_BYTES,
  readEntry,
  readProposal,
  writeEntry,
  writeProposal,
} from '../storage/entry-codec.ts'
import { ByteWriter } from '../store/bytes.ts'
import { ByteReader, CodecError } from '../store/byte-reader.ts'

// frame: version u8 | type u8 | flags u16 | length u32 | CRC-32 of the body u32 | body
// body: from, to (names) | term, incarnation f64 | what the type needs
const VERSION = 1
const HEAD_BYTES = 12
/** Members, learners: far more than a cluster has. */
const NAMES_MAX = 1_000

const TYPES: readonly MessageType[] = [
  'preVote',
  'vote',
  'preVoteResp',
  'voteResp',
  'app',
  'appResp',
  'appReject',
  'hb',
  'hbResp',
  'readIdx',
  'readIdxResp',
  'prop',
  'propResp',
  'snapOffer',
  'snapResp',
  'timeoutNow',
  'lost',
  'whole',
]

/** What was packed last: a leader sends the same entries to one follower after the other. */
let packed:
  | {
      readonly first: Entry | undefined
      readonly last: Entry | undefined
      readonly count: number
      readonly bytes: Buffer
    }
  | undefined

/** Packs messages as frames, one behind the other. */
export class MessageWriter {
  readonly #writer = new ByteWriter()

  /** Bytes packed since the last `take`. */
  get length(): number {
    return this.#writer.length
  }

  write(message: Message): void {
    const writer = this.#writer
    writer.reserve(HEAD_BYTES)
    const start = writer.length
    writer.u8(VERSION)
    writer.u8(TYPES.indexOf(message.type))
    writer.u8(0)
    writer.u8(0)
    writer.u32(0)
    writer.u32(0)
    this.#name(message.from)
    this.#name(message.to)
    this.#wholes(message.term, message.incarnation)
    this.#body(message)
    const body = writer.view(start + HEAD_BYTES)
    writer.patchU32(body.length, start + 4)
    writer.patchU32(crc32(body), start + 8)
  }

  take(): Buffer {
    return this.#writer.take()
  }

  #body(body: MessageBody): void {
    switch (body.type) {
      case 'preVote':
      case 'vote':
        this.#wholes(body.lastIndex, body.lastTerm)
        this.#flag(body.isTransfer)
        break
      case 'preVoteResp':
        this.#flag(body.isGranted)
        this.#wholes(body.known?.index ?? 0, body.known?.term ?? 0)
        break
      case 'voteResp':
        this.#flag(body.isGranted)
        this.#whole(body.wallMs)
        break
      case 'app':
        this.#wholes(body.prevIndex, body.prevTerm, body.commit)
        this.#u32(body.prevChain)
        this.#entries(body.entries)
        break
      case 'appResp':
        this.#whole(body.index)
        this.#flag(body.isDamaged)
        break
      case 'appReject':
        this.#wholes(body.index, body.hintIndex, body.hintTerm)
        break
      case 'hb':
        this.#wholes(body.commit, body.life, body.readBatch, body.clusterMs)
        break
      case 'hbResp':
        this.#wholes(body.readBatch, body.wallMs)
        this.#flag(body.isDamaged)
        break
      case 'readIdx':
        this.#whole(body.batch)
        break
      case 'readIdxResp':
        this.#wholes(body.batch, body.index)
        break
      case 'prop':
        this.#writer.reserve(PROPOSAL_BYTES + body.proposal.id.length + body.proposal.data.length)
        writeProposal(this.#writer, body.proposal)
        break
      case 'propResp':
        this.#name(body.id)
        this.#result(body.result)
        break
      case 'snapOffer':
        this.#meta(body.meta)
        break
      case 'snapResp':
        this.#whole(body.index)
        this.#flag(body.isOk)
        break
      case 'lost':
        this.#whole(body.life)
        break
      case 'whole':
        this.#wholes(body.life, body.index, body.lastTerm)
        break
      case 'timeoutNow':
        break
    }
  }

  #entries(entries: readonly Entry[]): void {
    const count = entries.length
    const [first, last] = [entries[0], entries.at(-1)]
    this.#u32(count)
    if (count === 0) return
    // Between the same two ends of a log are the same entries: whatever replaces one replaces all behind it.
    if (packed?.first === first && packed?.last === last && packed?.count === count) {
      this.#writer.reserve(packed.bytes.length)
      this.#writer.bytes(packed.bytes)
      return
    }
    const start = this.#writer.length
    for (const entry of entries) writeEntry(this.#writer, entry)
    packed = { first, last, count, bytes: this.#writer.view(start) }
  }

  #u32(value: number): void {
    this.#writer.reserve(4)
    this.#writer.u32(value)
  }

  #flag(value: boolean): void {
    this.#writer.reserve(1)
    this.#writer.u8(value ? 1 : 0)
  }

  #whole(value: number): void {
    this.#writer.reserve(8)
    this.#writer.f64(value)
  }

  #wholes(...values: readonly number[]): void {
    for (const value of values) this.#whole(value)
  }

  #name(name: string): void {
    this.#writer.reserve(1 + name.length)
    this.#writer.name(name)
  }

  #result(result: PropResult): void {
    this.#flag(result.type === 'appended')
    if (result.type === 'appended') this.#wholes(result.index, result.term)
  }

  #meta({ index, term, chain, conf }: SnapshotMeta): void {
    this.#wholes(index, term)
    this.#u32(chain)
    for (const names of [conf.voters, conf.learners]) {
      this.#u32(names.length)
      for (const name of names) this.#name(name)
    }
  }
}

/**
 * The messages of some frames. They share the memory of `bytes`.
 * @throws CodecError when anything about any of them is wrong; none of them counts then
 */
export function readMessages(bytes: Buffer): Message[] {
  const reader = new ByteReader(bytes)
  const messages: Message[] = []
  while (reader.left > 0) messages.push(readFrame(reader))
  return messages
}

function readFrame(reader: ByteReader): Message {
  const version = reader.u8()
  if (version !== VERSION) throw new CodecError(`a frame of version ${version}`)
  const number = reader.u8()
  const type = TYPES[number]
  if (type === undefined || reader.u16() !== 0) throw new CodecError(`a frame of type ${number}`)
  const length = reader.u32()
  const checksum = reader.u32()
  const body = reader.bytes(length)
  if (crc32(body) !== checksum) throw new CodecError(`a ${type} fails its checksum`)
  const inner = new ByteReader(body)
  const [from, to, term] = [inner.name(), inner.name(), inner.whole()]
  const incarnation = inner.whole()
  const message: Message = { from, to, term, incarnation, ...readBody(type, inner) }
  if (inner.left > 0) throw new CodecError(`a ${type} is ${inner.left} bytes too long`)
  return message
}

function readBody(type: MessageType, reader: ByteReader): MessageBody {
  switch (type) {
    case 'preVote':
    case 'vote':
      return {
        type,
        lastIndex: reader.whole(),
        lastTerm: reader.whole(),
        isTransfer: reader.flag(),
      }
    case 'preVoteResp':
      return readPreVoteResp(reader)
    case 'voteResp':
      return { type, isGranted: reader.flag(), wallMs: reader.whole() }
    case 'app': {
      const [prevIndex, prevTerm, commit] = [reader.whole(), reader.whole(), reader.whole()]
      const prevChain = reader.u32()
      const entries = readEntries(reader, prevIndex + 1)
      return { type, prevIndex, prevTerm, prevChain, commit, entries }
    }
    case 'appResp':
      return { type, index: reader.whole(), isDamaged: reader.flag() }
    case 'appReject':
      return { type, index: reader.whole(), hintIndex: reader.whole(), hintTerm: reader.whole() }
    case 'hb':
      return {
        type,
        commit: reader.whole(),
        life: reader.whole(),
        readBatch: reader.whole(),
        clusterMs: reader.whole(),
      }
    case 'hbResp':
      return {
        type,
        readBatch: reader.whole(),
        wallMs: reader.whole(),
        isDamaged: reader.flag(),
      }
    case 'readIdx':
      return { type, batch: reader.whole() }
    case 'readIdxResp':
      return { type, batch: reader.whole(), index: reader.whole() }
    case 'prop':
      return { type, proposal: readProposal(reader) }
    case 'propResp':
      return { type, id: reader.name(), result: readResult(reader) }
    case 'snapOffer':
      return { type, meta: readMeta(reader) }
    case 'snapResp':
      return { type, index: reader.whole(), isOk: reader.flag() }
    case 'lost':
      return { type, life: reader.whole() }
    case 'whole':
      return { type, life: reader.whole(), index: reader.whole(), lastTerm: reader.whole() }
    case 'timeoutNow':
      return { type }
  }
}

/** They must follow each other: whoever takes them counts on it. */
function readEntries(reader: ByteReader, first: number): Entry[] {
  const count = reader.u32()
  const entries: Entry[] = []
  for (let at = 0; at < count; at += 1) {
    const entry = readEntry(reader)
    const expected = first + at
    if (entry.index !== expected)
      throw new CodecError(`entry ${entry.index} in the place of ${expected}`)
    entries.push(entry)
  }
  return entries
}

function readPreVoteResp(reader: ByteReader): MessageBody {
  const isGranted = reader.flag()
  const [index, term] = [reader.whole(), reader.whole()]
  const body = { type: 'preVoteResp', isGranted } as const
  return index === 0 ? body : { ...body, known: { index, term } }
}

function readResult(reader: ByteReader): PropResult {
  if (!reader.flag()) return { type: 'dropped' }
  return { type: 'appended', index: reader.whole(), term: reader.whole() }
}

function readMeta(reader: ByteReader): SnapshotMeta {
  const [index, term, chain] = [reader.whole(), reader.whole(), reader.u32()]
  const conf: Conf = { voters: readNames(reader), learners: readNames(reader) }
  return { index, term, chain, conf }
}

function readNames(reader: ByteReader): string[] {
  const count = reader.u32()
  if (count > NAMES_MAX) throw new CodecError(`${count} members`)
  return Array.from({ length: count }, () => reader.name())
}
