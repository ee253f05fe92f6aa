import { Cors } from './cors.ts'
import { cleanKey, EscapeError, escapePath, isClean, unescape } from './escape.ts'
import { notFound, type RawRequest, type Responder } from './message.ts'

/** Serves one path of the client port. `path` is decoded and clean. */
export type Handler = (request: RawRequest, responder: Responder, path: string) => void

/** Serves /v2/keys. `key` is decoded and clean. */
export type KeysHandler = (request: RawRequest, key: string, responder: Responder) => void

const KEYS = '/v2/keys'
const KEYS_BELOW = '/v2/keys/'
/** A key without escapes or anything to clean: components that do not begin with a dot. */
const HOT = /^\/v2\/keys(?:\/[!-$&-\-0-~][!-$&-.0-~]*)+$/

export interface PathRouterOptions {
  readonly keys: KeysHandler
  /** Handlers by exact path, or by prefix when the path ends in a slash. */
  readonly table: ReadonlyMap<string, Handler>
  /** Allowed by --cors; `*` for any. */
  readonly origins: readonly string[]
}

/** Finds who serves a path of the client port (kvd.md 1): cleans it, adds CORS, knows no handler. */
export class PathRouter {
  readonly #keys: KeysHandler
  readonly #exact: ReadonlyMap<string, Handler>
  readonly #below: readonly (readonly [prefix: string, handler: Handler])[]
  readonly #cors: Cors

  constructor({ keys, table, origins }: PathRouterOptions) {
    this.#keys = keys
    this.#exact = table
    this.#below = [...table].filter(([path]) => path.endsWith('/'))
    this.#cors = new Cors(origins)
  }

  route(request: RawRequest, responder: Responder): void {
    const answer = this.#cors.isOff ? responder : this.#withCors(request, responder)
    if (request.method === 'OPTIONS') answer.reply(200, '', '')
    else if (HOT.test(request.path)) this.#keys(request, request.path.slice(KEYS.length), answer)
    else this.#routeDecoded(request, answer)
  }

  #routeDecoded(request: RawRequest, responder: Responder): void {
    let path: string
    try {
      path = unescape(request.path, false)
    } catch (error) {
      if (!(error instanceof EscapeError)) throw error
      responder.reply(
        400,
        'Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n',
        '400 Bad Request',
      )
      return
    }
    if (!isClean(path)) redirect(request, path, responder)
    else if (path === KEYS || path.startsWith(KEYS_BELOW))
      this.#keys(request, cleanKey(path.slice(KEYS.length) || '/'), responder)
    else {
      const handler =
        this.#exact.get(path) ?? this.#below.find(([prefix]) => path.startsWith(prefix))?.[1]
      if (handler === undefined) notFound(responder)
      else handler(request, responder, path)
    }
  }

  /** Adds the CORS headers where the origin is allowed. */
  #withCors(request: RawRequest, responder: Responder): Responder {
    const headers = this.#cors.headers(request.origin)
    if (headers === undefined) return responder
    const cors = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
    return {
      reply: (status, head, body) => responder.reply(status, cors + head, body),
      stream: (status, head) => responder.stream(status, cors + head),
    }
  }
}

/** 301 to the cleaned path, as Go's mux does; the query is kept. */
function redirect(request: RawRequest, path: string, responder: Responder): void {
  const rooted = path.startsWith('/') ? path : `/${path}`
  const clean = cleanKey(rooted)
  const slash = rooted.endsWith('/') && clean !== '/' ? '/' : ''
  const query = request.query === '' ? '' : `?${request.query}`
  const location = `${escapePath(clean + slash)}${query}`
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    responder.reply(301, `Location: ${location}\r\n`, '')
    return
  }
  const body = `<a href="${escapeHtml(location)}">Moved Permanently</a>.\n\n`
  responder.reply(301, `Content-Type: text/html; charset=utf-8\r\nLocation: ${location}\r\n`, body)
}

const HTML: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => HTML[sign] ?? sign)
}
