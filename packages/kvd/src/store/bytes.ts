import { Buffer } from 'node:buffer'
import { encodeText } from './text.ts'

/** A UTF-16 unit takes at most three bytes. */
const BYTES_PER_UNIT = 3
const CAPACITY = 1 << 16
/** With less room than this left, the rest of a buffer is given up. */
const REST_MIN = 1 << 12
/** And with more than this: whoever keeps a few bytes of it keeps all of it in memory. */
const CAPACITY_MAX = 1 << 20

/**
 * Numbers (little-endian) and texts one behind the other. `reserve` comes first: the writing methods
 * trust that there is room.
 */
export class ByteWriter {
  #buffer: Buffer
  #start = 0
  #end = 0

  constructor(capacity = CAPACITY) {
    this.#buffer = Buffer.allocUnsafe(capacity)
  }

  /** Bytes written since the last `take`. */
  get length(): number {
    return this.#end - this.#start
  }

  /** Makes room for `bytes` and for texts of `units` UTF-16 units together. */
  reserve(bytes: number, units = 0): void {
    const needed = this.#end + bytes + units * BYTES_PER_UNIT
    if (needed <= this.#buffer.length) return
    const size = needed - this.#start
    const larger = Buffer.allocUnsafe(Math.max(size, this.length * 2, CAPACITY))
    this.#buffer.copy(larger, 0, this.#start, this.#end)
    this.#buffer = larger
    this.#end = this.length
    this.#start = 0
  }

  u8(value: number): void {
    this.#buffer[this.#end] = value
    this.#end += 1
  }

  u32(value: number): void {
    this.#end = this.#buffer.writeUInt32LE(value, this.#end)
  }

  f64(value: number): void {
    this.#end = this.#buffer.writeDoubleLE(value, this.#end)
  }

  bytes(bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.#end)
    this.#end += bytes.length
  }

  /** A text made by `decodeText`, without its length. */
  text(text: string, isWellFormed: boolean): void {
    this.#end += isWellFormed
      ? this.#buffer.write(text, this.#end, 'utf8')
      : encodeText(text).copy(this.#buffer, this.#end)
  }

  /** A text of one-byte characters behind its length, a u8. */
  name(text: string): void {
    if (text.length > 0xff) throw new RangeError(`a name of ${text.length} bytes`)
    this.u8(text.length)
    this.#end += this.#buffer.write(text, this.#end, 'latin1')
  }

  /** A text made by `decodeText` behind its length, a u32. */
  sizedText(text: string, isWellFormed: boolean): void {
    const at = this.length
    this.u32(0)
    if (text === '') return
    this.text(text, isWellFormed)
    this.patchU32(this.length - at - 4, at)
  }

  /** What was written from `from` on, of the bytes since the last `take`. */
  view(from: number): Buffer {
    return this.#buffer.subarray(this.#start + from, this.#end)
  }

  /** Writes over four bytes, `at` of those since the last `take`: a length that comes after what it counts. */
  patchU32(value: number, at: number): void {
    this.#buffer.writeUInt32LE(value, this.#start + at)
  }

  /**
   * What was written so far; the writer is empty afterwards and never touches it again.
   * @param from bytes at the start that are left out
   */
  take(from = 0): Buffer {
    const taken = this.#buffer.subarray(this.#start + from, this.#end)
    this.#start = this.#end
    if (this.#buffer.length - this.#end < REST_MIN || this.#buffer.length > CAPACITY_MAX) {
      this.#buffer = Buffer.allocUnsafe(CAPACITY)
      this.#start = 0
      this.#end = 0
    }
    return taken
  }
}
