/** The request line and the few headers that matter. Texts are latin1. */
export interface Head {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly keepsAlive: boolean
  readonly contentLength: number
  readonly contentType: string | undefined
  readonly authorization: string | undefined
  readonly origin: string | undefined
}

const REQUEST_LINE = /^([A-Z]{1,16}) (\/[^\s?#\0]*)(?:\?([^\s#\0]*))? HTTP\/1\.1$/
// Whole names only, so that a header merely containing one does not count.
const HEADER = /\r\n([A-Za-z-]+):[ \t]*([^\r\n\0]*)/g
const HEADER_BLOCK = /^(?:\r\n[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*)*$/

/**
 * Reads a head of plain shape: HTTP/1.1, origin form, no body but one of known length. Undefined
 * for everything else, which a full parser has to judge.
 * @param end where the head ends, at its final CRLF CRLF
 */
export function parseHead(input: string, end: number): Head | undefined {
  const lineEnd = input.indexOf('\r\n')
  const line = REQUEST_LINE.exec(input.slice(0, lineEnd))
  if (line === null) return undefined
  const block = input.slice(lineEnd, end)
  if (!HEADER_BLOCK.test(block)) return undefined
  let contentLength: number | undefined
  let contentType: string | undefined
  let authorization: string | undefined
  let origin: string | undefined
  let keepsAlive = true
  for (const [, name = '', value = ''] of block.matchAll(HEADER)) {
    switch (name.toLowerCase()) {
      case 'content-length':
        if (contentLength !== undefined || !/^\d{1,15}$/.test(value.trim())) return undefined
        contentLength = Number(value)
        break
      case 'content-type':
        contentType = value.trimEnd()
        break
      case 'authorization':
        authorization = value.trimEnd()
        break
      case 'origin':
        origin = value.trimEnd()
        break
      case 'connection':
        if (/^close$/i.test(value.trim())) keepsAlive = false
        else if (!/^keep-alive$/i.test(value.trim())) return undefined
        break
      case 'transfer-encoding':
      case 'expect':
      case 'upgrade':
        return undefined
    }
  }
  const [, method = '', path = '', query = ''] = line
  const head = { method, path, query, keepsAlive, contentLength: contentLength ?? 0 }
  return { ...head, contentType, authorization, origin }
}
