/** Wire types of the encoding (protobuf.dev/programming-guides/encoding). */
const VARINT = 0
const FIXED_64 = 1
const SIZED = 2
const FIXED_32 = 5

/** Writes one message, field by field. Numbers that are 0 are left out, as proto3 does. */
export class FieldWriter {
  readonly #parts: Uint8Array[] = []

  /** @param value not negative; a number must be a safe integer */
  number(field: number, value: number | bigint): this {
    if (BigInt(value) !== 0n) this.#parts.push(varint(tag(field, VARINT)), varint(value))
    return this
  }

  /** A member of a oneof: also 0 says something there. */
  choice(field: number, value: number): this {
    this.#parts.push(varint(tag(field, VARINT)), varint(value))
    return this
  }

  bool(field: number, value: boolean): this {
    return this.number(field, value ? 1 : 0)
  }

  bytes(field: number, value: Uint8Array): this {
    if (value.length > 0) this.#sized(field, value)
    return this
  }

  message(field: number, value: FieldWriter): this {
    this.#sized(field, value.finish())
    return this
  }

  #sized(field: number, value: Uint8Array): void {
    this.#parts.push(varint(tag(field, SIZED)), varint(value.length), value)
  }

  finish(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

function tag(field: number, wireType: number): number {
  return field * 8 + wireType
}

function varint(value: number | bigint): Uint8Array {
  if (value < 0x80) return Uint8Array.of(Number(value))
  const bytes: number[] = []
  let left = BigInt(value)
  while (left >= 0x80n) {
    bytes.push(Number(left & 0x7fn) | 0x80)
    left >>= 7n
  }
  bytes.push(Number(left))
  return Uint8Array.from(bytes)
}

/** The bytes are no message. */
export class EncodingError extends Error {
  override readonly name = 'EncodingError'
  readonly code = 'ENCODING'
}

/** Reads one message, field by field, in the order of the bytes. */
export class FieldReader {
  readonly #bytes: Buffer
  #at = 0
  #wireType = VARINT
  /** Number of the field that `next` found. */
  field = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Goes to the next field; its value must then be taken or skipped. */
  next(): boolean {
    if (this.#at >= this.#bytes.length) return false
    const head = this.#varint()
    this.field = Math.floor(head / 8)
    this.#wireType = head % 8
    return true
  }

  /** An integer that a number can hold: revisions, counts, flags. */
  number(): number {
    this.#expect(VARINT)
    return this.#varint()
  }

  /** A 64-bit integer without loss: ids. */
  big(): bigint {
    this.#expect(VARINT)
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#byte()
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
  }

  bytes(): Buffer {
    this.#expect(SIZED)
    const end = this.#varint() + this.#at
    return this.#take(end)
  }

  /** The fields of a message within this one. */
  message(): FieldReader {
    return new FieldReader(this.bytes())
  }

  /** Steps over a field that nobody knows. */
  skip(): void {
    if (this.#wireType === VARINT) this.#varint()
    else if (this.#wireType === FIXED_64) this.#take(this.#at + 8)
    else if (this.#wireType === FIXED_32) this.#take(this.#at + 4)
    else this.bytes()
  }

  #take(end: number): Buffer {
    if (end > this.#bytes.length) throw new EncodingError('a field ends behind its message')
    const taken = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return taken
  }

  #expect(wireType: number): void {
    if (this.#wireType !== wireType)
      throw new EncodingError(`field ${this.field} has wire type ${this.#wireType}`)
  }

  #byte(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw new EncodingError('a number ends behind its message')
    this.#at += 1
    return byte
  }

  #varint(): number {
    let value = 0
    for (let factor = 1; ; factor *= 0x80) {
      const byte = this.#byte()
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
  }
}
