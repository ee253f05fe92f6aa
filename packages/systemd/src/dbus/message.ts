import { DBusFormatError, isVariant, Reader, type Value, Writer } from './marshal.ts'

/** Message types (D-Bus specification, "Message Format"). */
export const METHOD_CALL = 1
export const METHOD_RETURN = 2
export const ERROR = 3
export const SIGNAL = 4

/** What a message carries besides its body. */
export interface Header {
  readonly type: number
  readonly serial: number
  readonly path: string
  readonly interface: string
  readonly member: string
  readonly errorName: string
  readonly replySerial: number
  readonly destination: string
  readonly sender: string
  readonly signature: string
}

/** A message that arrived. Its body is decoded when somebody asks: of most signals nobody does. */
export interface Message extends Header {
  /** Throws DBusFormatError. */
  body(): readonly Value[]
}

/** A message to send; what is left out is not sent. */
export type Outgoing = Partial<Omit<Header, 'signature'>> & {
  readonly type: number
  readonly serial: number
  readonly signature?: string
  readonly body?: readonly Value[]
}

/** The specification's limit for a whole message. */
const MESSAGE_BYTES_MAX = 128 * 1024 * 1024

const FIXED_BYTES = 16
const NO_FLAGS = 0
const VERSION = 1

/** Header field codes and the types of their values. */
const FIELDS = [
  { key: 'path', code: 1, signature: 'o' },
  { key: 'interface', code: 2, signature: 's' },
  { key: 'member', code: 3, signature: 's' },
  { key: 'errorName', code: 4, signature: 's' },
  { key: 'replySerial', code: 5, signature: 'u' },
  { key: 'destination', code: 6, signature: 's' },
  { key: 'sender', code: 7, signature: 's' },
  { key: 'signature', code: 8, signature: 'g' },
] as const

const EMPTY = {
  path: '',
  interface: '',
  member: '',
  errorName: '',
  replySerial: 0,
  destination: '',
  sender: '',
  signature: '',
}

/** The bytes of a message. */
export function encodeMessage(message: Outgoing): Buffer {
  const { type, serial, signature = '', body = [] } = message
  const bodyBytes = new Writer().write(signature, body).bytes()
  const fields = FIELDS.flatMap(({ key, code, signature: kind }) => {
    const value = key === 'signature' ? signature : message[key]
    if (value === undefined || value === '') return []
    return [[code, { signature: kind, value }] as const]
  })
  const writer = new Writer()
  const fixed = ['l'.charCodeAt(0), type, NO_FLAGS, VERSION, bodyBytes.length, serial]
  writer.write('yyyyuua(yv)', [...fixed, fields])
  writer.align(8)
  const bytes = Buffer.concat([writer.bytes(), bodyBytes])
  if (bytes.length > MESSAGE_BYTES_MAX) throw new DBusFormatError('message too long')
  return bytes
}

/** Cuts a stream into messages. */
export class MessageSplitter {
  #chunks: Buffer[] = []
  #size = 0
  #wanted = FIXED_BYTES

  /** The messages that are complete with these bytes. Throws DBusFormatError: the stream is then lost. */
  push(chunk: Buffer): Message[] {
    this.#chunks.push(chunk)
    this.#size += chunk.length
    const messages: Message[] = []
    if (this.#size < this.#wanted) return messages
    let rest = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks)
    for (;;) {
      this.#wanted = rest.length < FIXED_BYTES ? FIXED_BYTES : messageLength(rest)
      if (rest.length < this.#wanted) break
      messages.push(decodeMessage(rest.subarray(0, this.#wanted)))
      rest = rest.subarray(this.#wanted)
    }
    this.#chunks = rest.length === 0 ? [] : [rest]
    this.#size = rest.length
    return messages
  }
}

function isLittleEndian(bytes: Buffer): boolean {
  const mark = bytes[0]
  if (mark === 0x6c) return true
  if (mark === 0x42) return false
  throw new DBusFormatError('bad byte order mark')
}

const padded = (size: number): number => (size + 7) & ~7

/** The length of the message whose first 16 bytes these are. */
function messageLength(bytes: Buffer): number {
  const isLittle = isLittleEndian(bytes)
  const body = isLittle ? bytes.readUInt32LE(4) : bytes.readUInt32BE(4)
  const fields = isLittle ? bytes.readUInt32LE(12) : bytes.readUInt32BE(12)
  const length = FIXED_BYTES + padded(Math.min(fields, MESSAGE_BYTES_MAX)) + body
  if (length > MESSAGE_BYTES_MAX) throw new DBusFormatError('message too long')
  return length
}

/** Reads one whole message. Throws DBusFormatError. */
export function decodeMessage(bytes: Buffer): Message {
  const isLittle = isLittleEndian(bytes)
  const reader = new Reader(bytes, isLittle)
  const [, type, , version, bodyLength, serial, fields] = reader.read('yyyyuua(yv)')
  if (version !== VERSION) throw new DBusFormatError('unknown protocol version')
  const header = { ...EMPTY, ...readFields(fields), type: Number(type), serial: Number(serial) }
  const start = padded(reader.position)
  if (start + Number(bodyLength) !== bytes.length) throw new DBusFormatError('wrong body length')
  // The body begins at a multiple of 8, so its alignment may count from the message's start.
  return { ...header, body: () => new Reader(bytes, isLittle, start).read(header.signature) }
}

function readFields(fields: Value | undefined): Partial<Header> {
  if (!Array.isArray(fields)) throw new DBusFormatError('no header fields')
  const entries = fields.flatMap((field: Value) => {
    if (!Array.isArray(field)) return []
    const [code, variant]: readonly Value[] = field
    const known = FIELDS.find((each) => each.code === code)
    // Unknown fields must be ignored (D-Bus specification, "Header Fields").
    if (known === undefined || !isVariant(variant)) return []
    if (variant.signature !== known.signature) throw new DBusFormatError(`bad ${known.key} field`)
    return [[known.key, variant.value] as const]
  })
  return Object.fromEntries(entries)
}
