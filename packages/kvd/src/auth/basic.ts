import { Buffer } from 'node:buffer'
import { decodeText } from '../store/text.ts'

/** What a client says about itself. */
export interface Credentials {
  readonly name: string
  readonly password: Buffer
}

const BASIC = /^basic ([A-Za-z0-9+/]*={0,2})$/i
const COLON = 0x3a

/** Reads an Authorization header (net/http BasicAuth); undefined when it is malformed. */
export function parseBasic(header: string): Credentials | undefined {
  const base64 = BASIC.exec(header)?.[1]
  if (base64 === undefined || base64.length % 4 !== 0) return undefined
  const bytes = Buffer.from(base64, 'base64')
  const colon = bytes.indexOf(COLON)
  if (colon === -1) return undefined
  return { name: decodeText(bytes.subarray(0, colon)), password: bytes.subarray(colon + 1) }
}
