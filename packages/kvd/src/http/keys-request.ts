import { parseGoBool } from '@flotilla/daemon'
import { command, TTL_SECONDS_MAX, type Command, type Operation } from '../store/command.ts'
import { refusal, type Refusal } from '../store/errors.ts'
import { parseParameters, type Parameters } from './escape.ts'
import type { RawRequest } from './message.ts'

/** What a request to /v2/keys asks for (kvd.md 2). */
export type KeysRequest =
  | { readonly type: 'refused'; readonly refusal: Refusal }
  | {
      readonly type: 'read'
      readonly recursive: boolean
      readonly sorted: boolean
      readonly quorum: boolean
      /** Milliseconds since this member last heard of a leader; more, and the read is one at quorum. */
      readonly maxStalenessMs: number
    }
  | {
      readonly type: 'watch'
      readonly recursive: boolean
      readonly stream: boolean
      readonly waitIndex: number
    }
  | { readonly type: 'write'; readonly command: Command; readonly noValue: boolean }

const UINT64_MAX = 18446744073709551615n
const FORM_TYPE = 'application/x-www-form-urlencoded'
const MEDIA_TYPE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+(\/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?$/
const MEDIA_PARAMETER =
  /^\s*[!#$%&'*+\-.^_`|~0-9A-Za-z]+\s*=\s*("(\\.|[^"\\])*"|[!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*$/

class Refused extends Error {
  readonly refusal: Refusal

  constructor(code: Refusal['code'], cause: string) {
    super(cause)
    this.refusal = refusal(code, cause, 0)
  }
}

const PLAIN_READ: KeysRequest = {
  type: 'read',
  recursive: false,
  sorted: false,
  quorum: false,
  maxStalenessMs: Infinity,
}

const NO_PARAMETERS: Parameters = new Map()

/** Reads a request; the checks come in the original's order (kvd.md 2.3). */
export function parseKeysRequest(request: RawRequest, key: string, nowMs: number): KeysRequest {
  const isRead = request.method === 'GET' || request.method === 'HEAD'
  if (isRead && request.query === '') return PLAIN_READ
  if (request.method === 'PUT' && request.query === '') {
    const value = loneValue(request)
    if (value !== undefined)
      return {
        type: 'write',
        command: command({ op: 'set', time: nowMs, key, value }),
        noValue: false,
      }
  }
  try {
    return parseFully(request, key, nowMs)
  } catch (error) {
    if (error instanceof Refused) return { type: 'refused', refusal: error.refusal }
    throw error
  }
}

const PLAIN_VALUE = /^[^&;%+\x80-\xff]*$/

/** The body `value=...` without anything to undo: the common write. */
function loneValue(request: RawRequest): string | undefined {
  if (request.contentType !== FORM_TYPE || !request.body.startsWith('value=')) return undefined
  const value = request.body.slice('value='.length)
  return PLAIN_VALUE.test(value) ? value : undefined
}

function parseFully(request: RawRequest, key: string, nowMs: number): KeysRequest {
  const form = readForm(request)
  const { method } = request
  const prevIndex = uint(form, 'prevIndex', 203) ?? '0'
  const waitIndex = uint(form, 'waitIndex', 203) ?? '0'
  const recursive = bool(form, 'recursive')
  const sorted = bool(form, 'sorted')
  const wait = bool(form, 'wait')
  const dir = bool(form, 'dir')
  const quorum = bool(form, 'quorum')
  const stream = bool(form, 'stream')
  if (wait && method !== 'GET') throw new Refused(209, '"wait" can only be used with GET requests')
  const prevValue = first(form, 'prevValue')
  if (prevValue === '') throw new Refused(201, '"prevValue" cannot be empty')
  const noValue = bool(form, 'noValueOnSuccess')
  const ttl = readTtl(form)
  const prevExist = nullableBool(form, 'prevExist')
  const refresh = readRefresh(form, ttl)
  if (method === 'GET' && wait && !quorum)
    return { type: 'watch', recursive, stream, waitIndex: Number(waitIndex) }
  if (method === 'GET' || method === 'HEAD')
    return {
      type: 'read',
      recursive,
      sorted,
      quorum: quorum && method === 'GET',
      maxStalenessMs: readStaleness(form),
    }
  const conditions = {
    prevExist,
    prevValue: prevValue ?? '',
    prevIndex: prevIndex === '0' ? '' : prevIndex,
  }
  const op = operationOf(method, conditions)
  const isConditional = op === 'compareAndSwap' || op === 'compareAndDelete'
  return {
    type: 'write',
    noValue: noValue && method !== 'DELETE',
    command: command({
      op,
      time: nowMs,
      key,
      value: first(form, 'value') ?? '',
      dir,
      recursive,
      refresh,
      expireAt: ttl === undefined || ttl > TTL_SECONDS_MAX ? 0 : nowMs + ttl * 1000,
      prevValue: isConditional ? conditions.prevValue : '',
      prevIndex: isConditional ? conditions.prevIndex : '',
    }),
  }
}

/** Which operation a write is (kvd.md 4). */
function operationOf(
  method: string,
  conditions: { prevExist: boolean | undefined; prevValue: string; prevIndex: string },
): Operation {
  const isConditional = conditions.prevValue !== '' || conditions.prevIndex !== ''
  if (method === 'POST') return 'createInOrder'
  if (method === 'DELETE') return isConditional ? 'compareAndDelete' : 'delete'
  if (conditions.prevExist === false) return 'create'
  if (isConditional) return 'compareAndSwap'
  return conditions.prevExist === true ? 'update' : 'set'
}

/** Body before query; the body only as a form of PUT, POST (net/http ParseForm). */
function readForm(request: RawRequest): Parameters {
  const body = readBody(request)
  const query = request.query === '' ? undefined : parseParameters(request.query)
  const problem = body?.problem ?? query?.problem
  if (problem !== undefined) throw new Refused(210, problem.message)
  if (body === undefined) return query?.values ?? NO_PARAMETERS
  if (query === undefined) return body.values
  const merged = new Map(body.values)
  for (const [name, values] of query.values)
    merged.set(name, [...(body.values.get(name) ?? []), ...values])
  return merged
}

function readBody(request: RawRequest): ReturnType<typeof parseParameters> | undefined {
  if (request.method !== 'PUT' && request.method !== 'POST') return undefined
  if (request.contentType === undefined || request.contentType === '') return undefined
  if (!isForm(request.contentType)) return undefined
  if (request.isBodyTooLarge) throw new Refused(210, 'http: POST too large')
  return parseParameters(request.body)
}

function isForm(contentType: string): boolean {
  if (contentType === FORM_TYPE) return true
  const [type = '', ...parameters] = contentType.split(';')
  const name = type.trim().toLowerCase()
  if (name === '') throw new Refused(210, 'mime: no media type')
  if (!MEDIA_TYPE.test(name))
    throw new Refused(
      210,
      name.includes('/') && name.indexOf('/') === name.length - 1
        ? 'mime: expected token after slash'
        : 'mime: unexpected content after media subtype',
    )
  const last = parameters.length - 1
  for (const [at, parameter] of parameters.entries()) {
    if (at === last && parameter.trim() === '') continue
    if (!MEDIA_PARAMETER.test(parameter)) throw new Refused(210, 'mime: invalid media parameter')
  }
  return name === FORM_TYPE
}

function first(form: Parameters, name: string): string | undefined {
  return form.get(name)?.[0]
}

function bool(form: Parameters, name: string): boolean {
  const text = first(form, name)
  if (text === undefined) return false
  const value = parseGoBool(text)
  if (value === undefined) throw new Refused(209, `invalid value for "${name}"`)
  return value
}

function nullableBool(form: Parameters, name: 'prevExist' | 'refresh'): boolean | undefined {
  const text = first(form, name)
  if (text === undefined) return undefined
  const value = parseGoBool(text)
  if (value === undefined) throw new Refused(209, `invalid value for ${name}`)
  return value
}

/** Decimal digits without leading zeros; 64 bits do not fit a number. */
function uint(form: Parameters, name: string, code: 202 | 203): string | undefined {
  const text = first(form, name)
  if (text === undefined) return undefined
  if (!/^\d+$/.test(text)) throw new Refused(code, `invalid value for "${name}"`)
  const digits = text.replace(/^0+(?=\d)/, '')
  if (digits.length > 20 || (digits.length === 20 && BigInt(digits) > UINT64_MAX))
    throw new Refused(code, `invalid value for "${name}"`)
  return digits
}

/** kvd only (raft.md 8.2). */
function readStaleness(form: Parameters): number {
  const text = first(form, 'maxStalenessMs')
  if (text === undefined) return Infinity
  if (!/^\d{1,15}$/.test(text)) throw new Refused(209, 'invalid value for "maxStalenessMs"')
  return Number(text)
}

function readTtl(form: Parameters): number | undefined {
  if ((first(form, 'ttl') ?? '') === '') return undefined
  const digits = uint(form, 'ttl', 202)
  return digits === undefined ? undefined : Number(digits)
}

function readRefresh(form: Parameters, ttl: number | undefined): boolean {
  const refresh = nullableBool(form, 'refresh')
  if (refresh !== true) return false
  if ((first(form, 'value') ?? '') !== '')
    throw new Refused(211, 'A value was provided on a refresh')
  if (ttl === undefined) throw new Refused(212, 'No TTL value set')
  return true
}
