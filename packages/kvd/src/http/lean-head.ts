/** The few headers that matter, out of one header block. Texts are latin1. */
export interface LeanHeaders {
  readonly keepsAlive: boolean
  readonly contentLength: number
  readonly host: string
  readonly contentType: string | undefined
  readonly authorization: string | undefined
  readonly origin: string | undefined
}

/** Method and target of a request line. */
export interface RequestLine {
  readonly method: string
  readonly path: string
  readonly query: string
}

const VERSION = ' HTTP/1.1'
const METHOD = /^[A-Z]{1,16}$/
const TARGET = /^\/[!-"$-~\x80-\xff]*$/
const LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\0]*)$/

/** Headers that count once: which of two counts is for the full parser to say. */
const SINGLE = new Set([
  'content-length',
  'content-type',
  'authorization',
  'origin',
  'connection',
  'host',
])

/**
 * Reads a request line of plain shape: HTTP/1.1, origin form. Undefined for everything else, which
 * a full parser has to judge.
 */
export function parseRequestLine(line: string): RequestLine | undefined {
  const space = line.indexOf(' ')
  if (space === -1 || !line.endsWith(VERSION)) return undefined
  const method = line.slice(0, space)
  const target = line.slice(space + 1, line.length - VERSION.length)
  if (method !== 'GET' && method !== 'PUT' && !METHOD.test(method)) return undefined
  if (!TARGET.test(target)) return undefined
  const mark = target.indexOf('?')
  if (mark === -1) return { method, path: target, query: '' }
  return { method, path: target.slice(0, mark), query: target.slice(mark + 1) }
}

/**
 * Reads a header block, each line led by CRLF. Undefined when it asks for more than a body of known
 * length, or when anything about it is unusual.
 */
export function parseHeaders(block: string): LeanHeaders | undefined {
  const found = new Map<string, string>()
  for (const text of block.split('\r\n').slice(1)) {
    const [, name = '', value = ''] = LINE.exec(text) ?? []
    if (name === '') return undefined
    const lower = name.toLowerCase()
    if (lower === 'transfer-encoding' || lower === 'expect' || lower === 'upgrade') return undefined
    if (found.has(lower) && SINGLE.has(lower)) return undefined
    found.set(lower, value.trimEnd())
  }
  const host = found.get('host')
  if (host === undefined) return undefined
  const length = found.get('content-length')
  if (length !== undefined && !/^\d{1,15}$/.test(length)) return undefined
  const connection = found.get('connection')?.toLowerCase() ?? 'keep-alive'
  if (connection !== 'close' && connection !== 'keep-alive') return undefined
  return {
    keepsAlive: connection === 'keep-alive',
    contentLength: Number(length ?? 0),
    host,
    contentType: found.get('content-type'),
    authorization: found.get('authorization'),
    origin: found.get('origin'),
  }
}
