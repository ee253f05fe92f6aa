import { Buffer } from 'node:buffer'
import { closeSync, fdatasyncSync, fstatSync, openSync, readSync, writeSync } from 'node:fs'
import { crc32 } from './checksum.ts'

/** How far the disk had acknowledged when it was last asked. */
export interface HighWater {
  /** Counts the writes of this mark. */
  readonly seq: number
  readonly term: number
  /** Member voted for in `term`; `0` for none. */
  readonly vote: string
  /** An entry that the log has, mostly its last one: 0 for none. */
  readonly lastIndex: number
  readonly lastTerm: number
  readonly lastChain: number
  /** Of a damaged member it may be more than the log has. */
  readonly commit: number
  /** Which start of the member has written this. */
  readonly incarnation: number
  /** The member does not count before the others have made it whole. */
  readonly isDamaged: boolean
  /** `commit` goes ahead of what the database was told; else that has it too, or has lost it. */
  readonly isAhead: boolean
}

const DAMAGED = 1
const AHEAD = 2
const SLOT_BYTES = 4096
const MARK_BYTES = 72
const CHECKSUM_AT = MARK_BYTES - 4
const FILE_BYTES = 2 * SLOT_BYTES
const MAGIC = 0x6877_6d35
/** Of marks that end with the chain. */
const MAGIC_BEFORE = 0x6877_6d33
const CHECKSUM_AT_BEFORE = 56

/**
 * The file `hwm`: two slots written in turn after every commit. A database that ends below it has
 * lost acknowledged entries: SQLite takes a damaged frame of its log for the log's end, silently
 * (raft.md 5.6, L10). The mark may lag behind the database, never lead it.
 */
export class HighWaterFile {
  readonly #fd: number
  readonly #slot = Buffer.alloc(MARK_BYTES)
  #seq: number

  constructor(path: string) {
    this.#fd = openSync(path, 'a+', 0o600)
    closeSync(this.#fd)
    this.#fd = openSync(path, 'r+')
    // Both slots get their blocks now: a mark must not fail for want of room after its commit.
    const { size } = fstatSync(this.#fd)
    const missing = FILE_BYTES - size
    if (missing > 0) writeSync(this.#fd, Buffer.alloc(missing), 0, missing, size)
    this.#seq = this.read()?.seq ?? 0
  }

  /** The newest slot that is whole; undefined when there is none. */
  read(): HighWater | undefined {
    const marks = [0, 1].map((slot) => this.#readSlot(slot)).filter((mark) => mark !== undefined)
    return marks.toSorted((left, right) => right.seq - left.seq)[0]
  }

  #readSlot(slot: number): HighWater | undefined {
    const bytes = Buffer.alloc(MARK_BYTES)
    const size = readSync(this.#fd, bytes, 0, MARK_BYTES, slot * SLOT_BYTES)
    const magic = bytes.readUInt32LE(0)
    if (size < MARK_BYTES || (magic !== MAGIC && magic !== MAGIC_BEFORE)) return undefined
    const checksumAt = magic === MAGIC ? CHECKSUM_AT : CHECKSUM_AT_BEFORE
    if (crc32(bytes.subarray(0, checksumAt)) !== bytes.readUInt32LE(checksumAt)) return undefined
    return {
      seq: bytes.readDoubleLE(4),
      term: bytes.readDoubleLE(12),
      vote: bytes.readBigUInt64LE(20).toString(16),
      lastIndex: bytes.readDoubleLE(28),
      lastTerm: bytes.readDoubleLE(36),
      commit: bytes.readDoubleLE(44),
      lastChain: bytes.readUInt32LE(52),
      incarnation: magic === MAGIC ? bytes.readDoubleLE(56) : 0,
      isDamaged: magic === MAGIC && (bytes.readUInt32LE(64) & DAMAGED) !== 0,
      isAhead: magic === MAGIC && (bytes.readUInt32LE(64) & AHEAD) !== 0,
    }
  }

  write(mark: Omit<HighWater, 'seq'>): void {
    const { term, vote, lastIndex, lastTerm, lastChain, commit, incarnation } = mark
    const flags = (mark.isDamaged ? DAMAGED : 0) | (mark.isAhead ? AHEAD : 0)
    this.#seq += 1
    const slot = this.#slot
    slot.writeUInt32LE(MAGIC, 0)
    slot.writeDoubleLE(this.#seq, 4)
    slot.writeDoubleLE(term, 12)
    slot.writeBigUInt64LE(BigInt(`0x${vote}`), 20)
    slot.writeDoubleLE(lastIndex, 28)
    slot.writeDoubleLE(lastTerm, 36)
    slot.writeDoubleLE(commit, 44)
    slot.writeUInt32LE(lastChain, 52)
    slot.writeDoubleLE(incarnation, 56)
    slot.writeUInt32LE(flags, 64)
    slot.writeUInt32LE(crc32(slot.subarray(0, CHECKSUM_AT)), CHECKSUM_AT)
    writeSync(this.#fd, slot, 0, MARK_BYTES, (this.#seq % 2) * SLOT_BYTES)
  }

  sync(): void {
    fdatasyncSync(this.#fd)
  }

  close(): void {
    closeSync(this.#fd)
  }
}
