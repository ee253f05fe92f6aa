import { Cors } from './cors.ts'
import { cleanKey, EscapeError, escapePath, isClean, unescape } from './escape.ts'
import type { HttpContext } from './context.ts'
import {
  answerConfigLog,
  answerHealth,
  answerMachines,
  answerMetrics,
  answerVersion,
} from './info.ts'
import { handleKeys } from './keys.ts'
import { handleMembers } from './members.ts'
import { notFound, type RawRequest, type Responder } from './message.ts'
import { answerStats, answerVars } from './stats.ts'

/** Serves one path of the client port. `path` is decoded and clean. */
export type Handler = (request: RawRequest, responder: Responder, path: string) => void

/** What is not served by the core of kvd but plugged into the client port, by path prefix. */
export type Routes = ReadonlyMap<string, Handler>

const KEYS = '/v2/keys'
const KEYS_BELOW = '/v2/keys/'
/** A key without escapes or anything to clean: components that do not begin with a dot. */
const HOT = /^\/v2\/keys(?:\/[!-$&-\-0-~][!-$&-.0-~]*)+$/

/** The client port's table of paths (kvd.md 1), independent of who parsed the request. */
export class Router {
  readonly #context: HttpContext
  readonly #exact: ReadonlyMap<string, Handler>
  readonly #below: readonly (readonly [prefix: string, handler: Handler])[]
  readonly #cors: Cors

  /**
   * @param origins allowed by --cors; `*` for any
   * @param extra routes by exact path, or by prefix when the path ends in a slash
   */
  constructor(context: HttpContext, origins: readonly string[], extra: Routes) {
    this.#context = context
    this.#cors = new Cors(origins)
    const members: Handler = (request, responder, path) =>
      handleMembers(context, request, path, responder)
    const stats: Handler = (request, responder, path) =>
      answerStats(context, request, path, responder)
    const table = new Map<string, Handler>([
      ['/v2/members', members],
      ['/v2/members/', members],
      ['/v2/machines', (request, responder) => answerMachines(context, request, responder)],
      ['/v2/stats/self', stats],
      ['/v2/stats/leader', stats],
      ['/v2/stats/store', stats],
      ['/health', (request, responder) => answerHealth(context, request, responder)],
      ['/version', (request, responder) => answerVersion(context, request, responder)],
      ['/metrics', (request, responder) => answerMetrics(context, request, responder)],
      ['/debug/vars', (request, responder) => answerVars(context, request, responder)],
      ['/config/local/log', (request, responder) => answerConfigLog(context, request, responder)],
      ...extra,
    ])
    this.#exact = table
    this.#below = [...table].filter(([path]) => path.endsWith('/'))
  }

  route(request: RawRequest, responder: Responder): void {
    const answer = this.#cors.isOff ? responder : this.#withCors(request, responder)
    if (request.method === 'OPTIONS') answer.reply(200, '', '')
    else if (HOT.test(request.path))
      handleKeys(this.#context, request, request.path.slice(KEYS.length), answer)
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
      handleKeys(this.#context, request, cleanKey(path.slice(KEYS.length) || '/'), responder)
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
