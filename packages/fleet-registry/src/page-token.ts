/** Position in a paged list: page number from 1, and how many items make a page. Both have 16 bits on the wire. */
export interface PageToken {
  readonly limit: number
  readonly page: number
}

const TOKEN_BYTES = 4

/** URL-safe base64 of the two numbers, little-endian: limit 100, page 2 is `ZAACAA==`. */
export function encodePageToken(token: PageToken): string {
  const bytes = Buffer.alloc(TOKEN_BYTES)
  bytes.writeUInt16LE(token.limit & 0xffff, 0)
  bytes.writeUInt16LE(token.page & 0xffff, 2)
  return bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_')
}

/** Reads a token; `undefined` when the text is no URL-safe base64 of at least four bytes. */
export function decodePageToken(text: string): PageToken | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9_-]*={0,2}$/.test(text)) return undefined
  const bytes = Buffer.from(text, 'base64url')
  if (bytes.length < TOKEN_BYTES) return undefined
  return { limit: bytes.readUInt16LE(0), page: bytes.readUInt16LE(2) }
}
