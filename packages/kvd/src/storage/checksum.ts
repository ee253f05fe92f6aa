import * as zlib from 'node:zlib'

const TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit += 1) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1
  return crc
})

/** CRC-32 for the Nodes before 20.15, whose zlib has none. */
export function crc32Table(bytes: Uint8Array, start = 0): number {
  let crc = ~start
  for (const byte of bytes) crc = (crc >>> 8) ^ (TABLE[(crc ^ byte) & 0xff] ?? 0)
  return ~crc >>> 0
}

const crc32Fast: (bytes: Uint8Array, start?: number) => number =
  'crc32' in zlib && typeof zlib.crc32 === 'function' ? zlib.crc32 : crc32Table

/** CRC-32 (IEEE) of `bytes`, continuing from `start`. */
export function crc32(bytes: Uint8Array, start = 0): number {
  // zlib forgets `start` when no bytes come and there is no memory behind them.
  return bytes.length === 0 ? start : crc32Fast(bytes, start)
}
