/**
 * The D-Bus wire format of values (D-Bus specification, "Marshaling"): a pure encoder and decoder, one function pair for
 * each type, chosen by the signature.
 *
 * In JavaScript: y n q i u d are numbers, x and t are bigints, b is a boolean, s o g are strings, `ay` is a Uint8Array,
 * other arrays, structs and dictionary entries are arrays, and a variant is a Variant.
 */

/** A value that carries its own type. */
export interface Variant {
  readonly signature: string
  readonly value: Value
}

export type Value = string | number | bigint | boolean | Uint8Array | readonly Value[] | Variant

/** Bytes or values that are no valid D-Bus. */
export class DBusFormatError extends Error {
  override readonly name = 'DBusFormatError'
  readonly code = 'DBUS_FORMAT'
}

/** One complete type. */
export interface Type {
  readonly code: string
  /** What an array holds, the fields of a struct, key and value of a dictionary entry. */
  readonly children: readonly Type[]
}

/** Limits of the specification. */
const ARRAY_BYTES_MAX = 64 * 1024 * 1024
const DEPTH_MAX = 64
const SIGNATURE_BYTES_MAX = 255

const ALIGNMENTS: Readonly<Record<string, number>> = Object.fromEntries(
  ['1ygv', '2nq', '4biusoa', '8xtd({'].flatMap(([size = '1', ...codes]) =>
    codes.map((code) => [code, Number(size)]),
  ),
)
const BASIC = 'ybnqiuxtdsog'

const parsed = new Map<string, readonly Type[]>()
/** Signatures come from the peer, so the cache is bounded. */
const PARSED_MAX = 1000

/** The types of a signature; a bounded number of them is kept. */
function parseSignature(signature: string): readonly Type[] {
  const known = parsed.get(signature)
  if (known !== undefined) return known
  if (signature.length > SIGNATURE_BYTES_MAX) throw new DBusFormatError('signature too long')
  const types: Type[] = []
  for (let at = 0; at < signature.length;) {
    const { type, next } = parseType(signature, at, 0)
    types.push(type)
    at = next
  }
  if (parsed.size >= PARSED_MAX) parsed.clear()
  parsed.set(signature, types)
  return types
}

function parseType(signature: string, start: number, depth: number): { type: Type; next: number } {
  if (depth > DEPTH_MAX) throw new DBusFormatError('signature nested too deeply')
  const code = signature.charAt(start)
  if (BASIC.includes(code) && code !== '') return { type: { code, children: [] }, next: start + 1 }
  if (code === 'v') return { type: { code, children: [] }, next: start + 1 }
  if (code === 'a') {
    const isDictionary = signature.charAt(start + 1) === '{'
    const item = isDictionary
      ? parseGroup(signature, start + 1, '}', depth + 1)
      : parseType(signature, start + 1, depth + 1)
    return { type: { code, children: [item.type] }, next: item.next }
  }
  if (code === '(') return parseGroup(signature, start, ')', depth + 1)
  throw new DBusFormatError(`bad signature "${signature}"`)
}

function parseGroup(
  signature: string,
  start: number,
  end: string,
  depth: number,
): { type: Type; next: number } {
  const children: Type[] = []
  let at = start + 1
  while (signature.charAt(at) !== end) {
    const child = parseType(signature, at, depth)
    children.push(child.type)
    at = child.next
  }
  const isEntry = end === '}'
  const isValid = isEntry
    ? children.length === 2 && BASIC.includes(children[0]?.code ?? 'v')
    : children.length > 0
  if (!isValid) throw new DBusFormatError(`bad signature "${signature}"`)
  return { type: { code: signature.charAt(start), children }, next: at + 1 }
}

/** Appends values, little-endian. Positions count from the start of the writer, which must be 8-aligned in the message. */
export class Writer {
  #bytes = Buffer.alloc(256)
  #length = 0

  get length(): number {
    return this.#length
  }

  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  write(signature: string, values: readonly Value[]): this {
    const types = parseSignature(signature)
    if (types.length !== values.length) {
      throw new DBusFormatError(`signature "${signature}" needs ${types.length} values`)
    }
    for (const [index, type] of types.entries()) this.#value(type, values[index])
    return this
  }

  align(size: number): void {
    this.#grow(size)
    while (this.#length % size !== 0) this.#bytes[this.#length++] = 0
  }

  #grow(size: number): void {
    const needed = this.#length + size
    if (needed <= this.#bytes.length) return
    const larger = Buffer.alloc(Math.max(needed, this.#bytes.length * 2))
    this.#bytes.copy(larger, 0, 0, this.#length)
    this.#bytes = larger
  }

  #value(type: Type, value: Value | undefined): void {
    const { code } = type
    this.align(ALIGNMENTS[code] ?? 1)
    if (typeof value === 'number' && 'ynqiud'.includes(code)) this.#number(code, value)
    else if (typeof value === 'bigint' && 'xt'.includes(code)) this.#bigint(code, value)
    else if (typeof value === 'boolean' && code === 'b') this.#number('u', value ? 1 : 0)
    else if (typeof value === 'string' && 'sog'.includes(code)) this.#string(code, value)
    else if (code === 'a') this.#array(type.children[0], value)
    else if ((code === '(' || code === '{') && Array.isArray(value)) this.#group(type, value)
    else if (code === 'v' && isVariant(value)) this.#variant(value)
    else throw new DBusFormatError(`type ${code} cannot hold ${typeof value}`)
  }

  #number(code: string, value: number): void {
    this.#grow(8)
    const at = this.#length
    try {
      if (code === 'y') this.#length = this.#bytes.writeUInt8(value, at)
      else if (code === 'n') this.#length = this.#bytes.writeInt16LE(value, at)
      else if (code === 'q') this.#length = this.#bytes.writeUInt16LE(value, at)
      else if (code === 'i') this.#length = this.#bytes.writeInt32LE(value, at)
      else if (code === 'u') this.#length = this.#bytes.writeUInt32LE(value, at)
      else this.#length = this.#bytes.writeDoubleLE(value, at)
    } catch (cause) {
      throw new DBusFormatError(`type ${code} cannot hold ${value}`, { cause })
    }
  }

  #bigint(code: string, value: bigint): void {
    this.#grow(8)
    try {
      this.#length =
        code === 'x'
          ? this.#bytes.writeBigInt64LE(value, this.#length)
          : this.#bytes.writeBigUInt64LE(value, this.#length)
    } catch (cause) {
      throw new DBusFormatError(`type ${code} cannot hold ${value}`, { cause })
    }
  }

  #string(code: string, value: string): void {
    if (value.includes('\0')) throw new DBusFormatError('strings cannot hold a zero byte')
    const size = Buffer.byteLength(value)
    if (code === 'g' && size > SIGNATURE_BYTES_MAX) throw new DBusFormatError('signature too long')
    this.#number(code === 'g' ? 'y' : 'u', size)
    this.#grow(size + 1)
    this.#bytes.write(value, this.#length)
    this.#length += size
    this.#bytes[this.#length++] = 0
  }

  #array(item: Type | undefined, value: Value | undefined): void {
    if (item === undefined) throw new DBusFormatError('array without a type')
    const lengthAt = this.#length
    this.#number('u', 0)
    // The length does not count the padding before the first item, which is there even when there is none.
    this.align(ALIGNMENTS[item.code] ?? 1)
    const start = this.#length
    if (value instanceof Uint8Array && item.code === 'y') {
      this.#grow(value.length)
      this.#bytes.set(value, this.#length)
      this.#length += value.length
    } else if (Array.isArray(value)) for (const each of value) this.#value(item, each)
    else throw new DBusFormatError(`an array cannot hold ${typeof value}`)
    const size = this.#length - start
    if (size > ARRAY_BYTES_MAX) throw new DBusFormatError('array too long')
    this.#bytes.writeUInt32LE(size, lengthAt)
  }

  #group(type: Type, values: readonly Value[]): void {
    if (values.length !== type.children.length) throw new DBusFormatError('wrong number of fields')
    for (const [index, child] of type.children.entries()) this.#value(child, values[index])
  }

  #variant({ signature, value }: Variant): void {
    this.#string('g', signature)
    const [type, more] = parseSignature(signature)
    if (type === undefined || more !== undefined)
      throw new DBusFormatError('a variant has one type')
    this.#value(type, value)
  }
}

export function isVariant(value: Value | undefined): value is Variant {
  return typeof value === 'object' && !Array.isArray(value) && 'signature' in value
}

/** Reads values from a message; positions count from the start of the bytes. */
export class Reader {
  readonly #bytes: Buffer
  readonly #isLittle: boolean
  #at: number
  #depth = 0

  constructor(bytes: Buffer, isLittle: boolean, at = 0) {
    this.#bytes = bytes
    this.#isLittle = isLittle
    this.#at = at
  }

  get position(): number {
    return this.#at
  }

  read(signature: string): Value[] {
    try {
      return parseSignature(signature).map((type) => this.#value(type))
    } catch (cause) {
      if (cause instanceof RangeError) throw new DBusFormatError('message cut short', { cause })
      throw cause
    }
  }

  align(size: number): void {
    const rest = this.#at % size
    if (rest !== 0) this.#at += size - rest
  }

  #take(size: number): number {
    const at = this.#at
    if (at + size > this.#bytes.length) throw new DBusFormatError('message cut short')
    this.#at = at + size
    return at
  }

  #uint32(): number {
    const at = this.#take(4)
    return this.#isLittle ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at)
  }

  #value(type: Type): Value {
    const { code } = type
    this.align(ALIGNMENTS[code] ?? 1)
    switch (code) {
      case 's':
      case 'o':
        return this.#string(this.#uint32())
      case 'g':
        return this.#signature()
      case 'u':
        return this.#uint32()
      case 'b':
        return this.#boolean()
      case 'a':
        return this.#array(type.children[0])
      case '(':
      case '{':
        return type.children.map((child) => this.#value(child))
      case 'v':
        return this.#variant()
      default:
        return this.#number(code)
    }
  }

  #boolean(): boolean {
    const value = this.#uint32()
    if (value > 1) throw new DBusFormatError('a boolean is 0 or 1')
    return value === 1
  }

  #number(code: string): number | bigint {
    const bytes = this.#bytes
    const isLittle = this.#isLittle
    switch (code) {
      case 'y':
        return bytes.readUInt8(this.#take(1))
      case 'n':
        return isLittle ? bytes.readInt16LE(this.#take(2)) : bytes.readInt16BE(this.#take(2))
      case 'q':
        return isLittle ? bytes.readUInt16LE(this.#take(2)) : bytes.readUInt16BE(this.#take(2))
      case 'i':
        return isLittle ? bytes.readInt32LE(this.#take(4)) : bytes.readInt32BE(this.#take(4))
      case 'x':
        return isLittle ? bytes.readBigInt64LE(this.#take(8)) : bytes.readBigInt64BE(this.#take(8))
      case 't':
        return isLittle
          ? bytes.readBigUInt64LE(this.#take(8))
          : bytes.readBigUInt64BE(this.#take(8))
      case 'd':
        return isLittle ? bytes.readDoubleLE(this.#take(8)) : bytes.readDoubleBE(this.#take(8))
      default:
        throw new DBusFormatError(`unknown type ${code}`)
    }
  }

  #string(size: number): string {
    const at = this.#take(size + 1)
    return this.#bytes.toString('utf8', at, at + size)
  }

  #signature(): string {
    return this.#string(this.#bytes.readUInt8(this.#take(1)))
  }

  #array(item: Type | undefined): Value {
    if (item === undefined) throw new DBusFormatError('array without a type')
    const size = this.#uint32()
    if (size > ARRAY_BYTES_MAX) throw new DBusFormatError('array too long')
    this.align(ALIGNMENTS[item.code] ?? 1)
    const end = this.#at + size
    if (end > this.#bytes.length) throw new DBusFormatError('message cut short')
    if (item.code === 'y') return this.#bytes.subarray(this.#take(size), end)
    const items: Value[] = []
    while (this.#at < end) items.push(this.#value(item))
    if (this.#at !== end) throw new DBusFormatError('array longer than it says')
    return items
  }

  #variant(): Variant {
    const signature = this.#signature()
    const [type, more] = parseSignature(signature)
    if (type === undefined || more !== undefined)
      throw new DBusFormatError('a variant has one type')
    // Variants in variants can be as deep as the message is long.
    this.#depth += 1
    if (this.#depth > DEPTH_MAX) throw new DBusFormatError('variants nested too deeply')
    const value = this.#value(type)
    this.#depth -= 1
    return { signature, value }
  }
}
