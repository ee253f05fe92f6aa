import { randomBytes } from 'node:crypto'
import type { HttpContext } from './context.ts'
import { cleanKey, parseParameters } from './escape.ts'
import { handleKeys } from './keys.ts'
import { notFound, plainError, TEXT_TYPE, type RawRequest, type Responder } from './message.ts'
import type { Routes } from './router.ts'

/** Where discovery.etcd.io keeps its tokens, so that one service's store can be another's. */
const REGISTRY = '/_etcd/registry'
const FORM_TYPE = 'application/x-www-form-urlencoded'
const SIZE_DEFAULT = '3'
const INT64_MAX = 9223372036854775807n
/** `/TOKEN`, `/TOKEN/`, `/TOKEN/MEMBER`, `/TOKEN/_config`, `/TOKEN/_config/size` */
const TOKEN_PATH = /^\/[0-9a-f]{32}(?:\/|\/(?<below>[^/]+)|\/_config\/size)?$/
const HOST = /^[A-Za-z0-9.\-_[\]:]+$/

/**
 * The discovery service of etcd's public discovery.etcd.io (kvd.md 12) on the client port: `/new`
 * makes a token, and what is below a token is a directory of keys. Every other path stays what it was.
 * While auth is on the rights are those to the keys below `/_etcd/registry`.
 * @param newToken 32 hexadecimal digits that nobody can guess
 */
export function discoveryRoutes(
  context: HttpContext,
  newToken = (): string => randomBytes(16).toString('hex'),
): Routes {
  return new Map([
    [
      '/new',
      (request: RawRequest, responder: Responder) =>
        makeToken(context, request, responder, newToken()),
    ],
    [
      '/',
      (request: RawRequest, responder: Responder, path: string) => {
        if (!isServed(request.method, path)) notFound(responder)
        else passToKeys(context, request, path, responder)
      },
    ],
  ])
}

/** Members come and go; a token and its size stay. */
function isServed(method: string, path: string): boolean {
  const found = TOKEN_PATH.exec(path)
  if (found === null) return false
  const below = found.groups?.['below']
  if (path.endsWith('/_config/size') || below?.startsWith('_') === true) return method === 'GET'
  if (below === undefined) return method === 'GET' || method === 'PUT'
  return method === 'GET' || method === 'PUT' || method === 'DELETE'
}

function passToKeys(
  context: HttpContext,
  request: RawRequest,
  path: string,
  responder: Responder,
): void {
  const sent = { ...request, path: `/v2/keys${REGISTRY}${request.path}` }
  handleKeys(context, sent, `${REGISTRY}${cleanKey(path)}`, responder)
}

function makeToken(
  context: HttpContext,
  request: RawRequest,
  responder: Responder,
  token: string,
): void {
  const size = readSize(request)
  if ('problem' in size) {
    plainError(responder, 400, size.problem)
    return
  }
  const base = baseUrl(context, request)
  if (base === undefined) {
    plainError(responder, 400, `invalid host ${JSON.stringify(request.host ?? '')}`)
    return
  }
  const key = `${REGISTRY}/${token}/_config/size`
  const write: RawRequest = {
    ...request,
    method: 'PUT',
    path: `/v2/keys${key}`,
    query: 'prevExist=false',
    contentType: FORM_TYPE,
    body: `value=${size.text}`,
    isBodyTooLarge: false,
  }
  handleKeys(context, write, key, {
    reply: (status, head, body) => {
      if (status === 201) responder.reply(200, TEXT_TYPE, `${base}/${token}`)
      else if (status === 401) responder.reply(status, head, body)
      else plainError(responder, 400, 'Unable to generate token')
    },
    stream: (status, head) => responder.stream(status, head),
  })
}

/** Form before query, as Go's FormValue; the problem in the words of its number parser. */
function readSize(request: RawRequest): { text: string } | { problem: string } {
  const isForm = request.contentType?.toLowerCase().startsWith(FORM_TYPE) === true
  const form = isForm ? parseParameters(request.body).values.get('size')?.[0] : undefined
  const text = form ?? parseParameters(request.query).values.get('size')?.[0] ?? ''
  if (text === '') return { text: SIZE_DEFAULT }
  const parsing = `strconv.ParseInt: parsing ${JSON.stringify(text)}`
  if (!/^[+-]?\d{1,100}$/.test(text)) return { problem: `${parsing}: invalid syntax` }
  const size = BigInt(text.replace(/^\+/, ''))
  if (size > INT64_MAX || size < -INT64_MAX - 1n)
    return { problem: `${parsing}: value out of range` }
  // The original takes it, and then nobody can be a member.
  if (size < 1n) return { problem: `size ${size}: a cluster has at least 1 member` }
  return { text: String(size) }
}

/** `http://HOST` as the client calls this server; undefined when it says nonsense. */
function baseUrl({ cluster }: HttpContext, { host }: RawRequest): string | undefined {
  const urls = (cluster.member(cluster.localId)?.clientURLs ?? []).map((url) => new URL(url))
  const own = urls.find((url) => url.host === host) ?? urls[0]
  if (host === undefined || host === '') return own?.origin
  return HOST.test(host) ? `${own?.protocol ?? 'http:'}//${host}` : undefined
}
