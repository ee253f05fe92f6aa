import { Buffer } from 'node:buffer'
import { ByteWriter } from './bytes.ts'
import { decodeText } from './text.ts'
import { SPACES, type Space } from './node.ts'

const OPERATIONS = [
  'noop',
  'sync',
  'set',
  'create',
  'createInOrder',
  'update',
  'compareAndSwap',
  'delete',
  'compareAndDelete',
  // Of no concern to the store: members find out whether they hold the same (raft.md 5.9).
  'check',
  'checked',
] as const

/** Each directory on the way holds its whole key: what a path costs grows with the square of its depth. */
export const KEY_DEPTH_MAX = 1_000
/** A TTL that ends after the year 2262 overflows the original's clock; here it means permanent. */
export const TTL_SECONDS_MAX = 7_400_000_000

/** Whether a key has more than `KEY_DEPTH_MAX` components. */
export function isTooDeep(key: string): boolean {
  if (key.length < 2 * KEY_DEPTH_MAX) return false
  return key.split('/', KEY_DEPTH_MAX + 2).length > KEY_DEPTH_MAX + 1
}

const CHECKS_FROM = OPERATIONS.indexOf('check')

export type Operation = (typeof OPERATIONS)[number]

/** What a log entry asks of the store. Time comes with it, so that every replica decides alike. */
export interface Command {
  readonly op: Operation
  readonly space: Space
  /** Milliseconds since 1970: the proposer's clock, and once in a log the time of the leader's stamp. */
  readonly time: number
  readonly key: string
  readonly value: string
  readonly dir: boolean
  readonly recursive: boolean
  readonly refresh: boolean
  /** Milliseconds since 1970; 0 for no TTL. It moves with `time` when that is stamped. */
  readonly expireAt: number
  /** Empty: no condition. */
  readonly prevValue: string
  /** Decimal digits without leading zeros (64 bits do not fit a number); empty: no condition. */
  readonly prevIndex: string
}

/**
 * A command with everything that is not named left empty. Written out member by member: spreading
 * objects costs more than all the rest of a write's way to the log.
 */
export function command(fields: Partial<Command> & Pick<Command, 'op' | 'time'>): Command {
  return {
    op: fields.op,
    space: fields.space ?? 'keys',
    time: fields.time,
    key: fields.key ?? '/',
    value: fields.value ?? '',
    dir: fields.dir ?? false,
    recursive: fields.recursive ?? false,
    refresh: fields.refresh ?? false,
    expireAt: fields.expireAt ?? 0,
    prevValue: fields.prevValue ?? '',
    prevIndex: fields.prevIndex ?? '',
  }
}

// op u8 | space u8 | flags u8 | time f64 | TTL in ms f64 | four times (length u32, bytes)
const HEAD_BYTES = 19
const TIME_AT = 3
const TTL_AT = 11
const TEXTS = 4
const FLAG = { dir: 1, recursive: 2, refresh: 4, rawBytes: 8, ttl: 16 } as const

/** Packs commands as frames (length u32, command) one behind the other: what a disk batch holds. */
export class CommandWriter {
  readonly #writer: ByteWriter
  #count = 0

  constructor(capacity?: number) {
    this.#writer = new ByteWriter(capacity)
  }

  /** Commands appended since the last `take`. */
  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#writer.length
  }

  append(entry: Command): void {
    const writer = this.#writer
    const { key, value, prevValue, prevIndex } = entry
    const isText = key.isWellFormed() && value.isWellFormed() && prevValue.isWellFormed()
    const units = key.length + value.length + prevValue.length + prevIndex.length
    writer.reserve(4 + HEAD_BYTES + 4 * TEXTS, units)
    const start = writer.length
    this.#count += 1
    writer.u32(0)
    this.#writeHead(entry, isText)
    writer.sizedText(key, isText)
    writer.sizedText(value, isText)
    writer.sizedText(prevValue, isText)
    writer.sizedText(prevIndex, isText)
    writer.patchU32(writer.length - start - 4, start)
  }

  /** The frames gathered so far; the writer is empty afterwards and never touches them again. */
  take(): Buffer {
    this.#count = 0
    return this.#writer.take()
  }

  /** The only command gathered so far, without its length. */
  takeOne(): Buffer {
    this.#count = 0
    return this.#writer.take(4)
  }

  #writeHead(entry: Command, isText: boolean): void {
    let flags = isText ? 0 : FLAG.rawBytes
    if (entry.dir) flags |= FLAG.dir
    if (entry.recursive) flags |= FLAG.recursive
    if (entry.refresh) flags |= FLAG.refresh
    if (entry.expireAt !== 0) flags |= FLAG.ttl
    this.#writer.u8(OPERATIONS.indexOf(entry.op))
    this.#writer.u8(SPACES.indexOf(entry.space))
    this.#writer.u8(flags)
    this.#writer.f64(entry.time)
    this.#writer.f64(entry.expireAt === 0 ? 0 : entry.expireAt - entry.time)
  }
}

const STAMP = Buffer.alloc(8)

/**
 * Gives a packed command its time, in place: a TTL counts from then on (raft.md 8.1). Stamped again,
 * as a proposal that comes to the next leader is, it is as if it never had been before.
 * @param time milliseconds since 1970
 */
export function stampCommand(bytes: Uint8Array, time: number): void {
  STAMP.writeDoubleLE(time)
  bytes.set(STAMP, TIME_AT)
}

/** Whether a packed command is a `check` or `checked`, without unpacking it. */
export function isCheck(bytes: Uint8Array): boolean {
  return (bytes[0] ?? 0) >= CHECKS_FROM
}

/** The commands of a batch made by `CommandWriter`. */
export function* frames(batch: Buffer): Generator<Buffer> {
  for (let at = 0; at < batch.length;) {
    const size = batch.readUInt32LE(at)
    yield batch.subarray(at + 4, at + 4 + size)
    at += 4 + size
  }
}

/**
 * Unpacks one command.
 * @throws Error when the bytes are no command: a broken invariant, as checksums were verified before
 */
export function decodeCommand(bytes: Buffer): Command {
  const op = OPERATIONS[bytes[0] ?? -1]
  const space = SPACES[bytes[1] ?? -1]
  if (op === undefined || space === undefined || bytes.length < HEAD_BYTES)
    throw new Error(`no command: ${bytes.subarray(0, HEAD_BYTES).toString('hex')}`)
  const flags = bytes[2] ?? 0
  const time = bytes.readDoubleLE(TIME_AT)
  const isText = (flags & FLAG.rawBytes) === 0
  const keyEnd = textEnd(bytes, HEAD_BYTES)
  const valueEnd = textEnd(bytes, keyEnd)
  const prevValueEnd = textEnd(bytes, valueEnd)
  const prevIndexEnd = textEnd(bytes, prevValueEnd)
  return {
    op,
    space,
    time,
    key: readText(bytes, HEAD_BYTES + 4, keyEnd, isText),
    value: readText(bytes, keyEnd + 4, valueEnd, isText),
    dir: (flags & FLAG.dir) !== 0,
    recursive: (flags & FLAG.recursive) !== 0,
    refresh: (flags & FLAG.refresh) !== 0,
    expireAt: (flags & FLAG.ttl) === 0 ? 0 : time + bytes.readDoubleLE(TTL_AT),
    prevValue: readText(bytes, valueEnd + 4, prevValueEnd, isText),
    prevIndex: readText(bytes, prevValueEnd + 4, prevIndexEnd, isText),
  }
}

function textEnd(bytes: Buffer, at: number): number {
  const end = at + 4 + readU32(bytes, at)
  if (end > bytes.length) throw new Error('no command: a text ends behind the frame')
  return end
}

/** Less dear than the method of a buffer, which checks what `textEnd` does anyway. */
function readU32(bytes: Buffer, at: number): number {
  const low = (bytes[at] ?? 0) + (bytes[at + 1] ?? 0) * 0x100
  return low + (bytes[at + 2] ?? 0) * 0x1_0000 + (bytes[at + 3] ?? 0) * 0x100_0000
}

function readText(bytes: Buffer, from: number, end: number, isText: boolean): string {
  if (from === end) return ''
  return isText ? bytes.toString('utf8', from, end) : decodeText(bytes.subarray(from, end))
}
