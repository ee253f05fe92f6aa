import { STATUS_CODES } from 'node:http'

const statusLines = new Map<number, string>()

/** The first line of an answer. */
export function statusLine(status: number): string {
  let line = statusLines.get(status)
  if (line === undefined) {
    line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`
    statusLines.set(status, line)
  }
  return line
}

let last = { status: 0, head: '', dateLine: '', text: '', isFlat: false }

/**
 * An answer up to its length. Reads have the same one after the other: as one text, not one of parts, it is
 * copied at once.
 */
export function headToLength(status: number, head: string, dateLine: string): string {
  if (status === last.status && head === last.head && dateLine === last.dateLine) {
    if (!last.isFlat) {
      last.text = Buffer.from(last.text, 'latin1').toString('latin1')
      last.isFlat = true
    }
    return last.text
  }
  const text = `${statusLine(status)}${head}${dateLine}Content-Length: `
  last = { status, head, dateLine, text, isFlat: false }
  return text
}
