import { Buffer } from 'node:buffer'

/** Bytes from a peer do not mean anything; the connection that brought them is done. */
export class CodecError extends Error {
  override readonly name = 'CodecError'
  readonly code = 'CODEC'
}

/** Reads what `ByteWriter` wrote. Never reads behind the end. */
export class ByteReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  #take(size: number): number {
    if (size > this.left) throw new CodecError(`${size} bytes wanted, ${this.left} left`)
    const at = this.#at
    this.#at += size
    return at
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1))
  }

  u16(): number {
    return this.#bytes.readUInt16LE(this.#take(2))
  }

  u32(): number {
    return this.#bytes.readUInt32LE(this.#take(4))
  }

  flag(): boolean {
    const value = this.u8()
    if (value > 1) throw new CodecError(`${value} is neither true nor false`)
    return value === 1
  }

  /** An index, a term, a number of a batch. */
  whole(): number {
    const value = this.#bytes.readDoubleLE(this.#take(8))
    if (!Number.isSafeInteger(value) || value < 0) throw new CodecError(`${value} is no index`)
    return value
  }

  /** A view of the next `size` bytes. */
  bytes(size: number): Buffer {
    const at = this.#take(size)
    return this.#bytes.subarray(at, at + size)
  }

  /** A short text: its length in one byte, then latin1. */
  name(): string {
    const size = this.u8()
    const at = this.#take(size)
    return this.#bytes.toString('latin1', at, at + size)
  }
}
