// As much of protocol buffers as etcd's files need: varints and byte strings, each field once.

/** A field's value: a number for wire type 0, bytes for wire type 2. */
export type Field = bigint | Buffer

/** The fields of a message by number; the last one of a number counts. Throws a RangeError when it is cut off. */
export function decodeFields(message: Buffer): Map<number, Field> {
  const fields = new Map<number, Field>()
  for (let at = 0; at < message.length;) {
    const tag = readVarint(message, at)
    const number = Number(tag.value >> 3n)
    const value = readVarint(message, tag.end)
    switch (Number(tag.value & 7n)) {
      case 0:
        fields.set(number, value.value)
        at = value.end
        break
      case 2: {
        at = value.end + Number(value.value)
        if (at > message.length) throw new RangeError('unexpected EOF')
        fields.set(number, message.subarray(value.end, at))
        break
      }
      default:
        throw new RangeError(`unexpected wire type in field ${number}`)
    }
  }
  return fields
}

/** A field of wire type 0; 0 when it is absent. */
export function numberField(fields: ReadonlyMap<number, Field>, number: number): bigint {
  const value = fields.get(number)
  return typeof value === 'bigint' ? value : 0n
}

/** A field of wire type 2; empty when it is absent. */
export function bytesField(fields: ReadonlyMap<number, Field>, number: number): Buffer {
  const value = fields.get(number)
  return Buffer.isBuffer(value) ? value : Buffer.alloc(0)
}

/** A message of these fields, in this order. */
export function encodeFields(fields: readonly (readonly [number, Field])[]): Buffer {
  return Buffer.concat(
    fields.flatMap(([number, value]) =>
      typeof value === 'bigint'
        ? [varint(BigInt(number) << 3n), varint(value)]
        : [varint((BigInt(number) << 3n) | 2n), varint(BigInt(value.length)), value],
    ),
  )
}

function readVarint(bytes: Buffer, start: number): { value: bigint; end: number } {
  let value = 0n
  for (let at = start, shift = 0n; at < bytes.length && shift < 70n; at++, shift += 7n) {
    const byte = bytes[at] ?? 0
    value |= BigInt(byte & 0x7f) << shift
    if (byte < 0x80) return { value, end: at + 1 }
  }
  throw new RangeError('unexpected EOF')
}

function varint(value: bigint): Buffer {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, value)
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  bytes.push(Number(rest))
  return Buffer.from(bytes)
}
