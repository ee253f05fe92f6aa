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
import { refusal, refusalJson } from '../store/errors.ts'
import { DIVERGED_HEAD, JSON_TYPE, type RawRequest, type Responder } from './message.ts'
import { PathRouter, type Handler } from './path-router.ts'
import { answerStats, answerVars } from './stats.ts'
import { unservedCause } from './unserved.ts'

/** What is said of the process, and not of what it stores. */
const OF_THE_PROCESS: ReadonlySet<string> = new Set([
  '/health',
  '/version',
  '/metrics',
  '/debug/vars',
  '/config/local/log',
  '/v2/stats/self',
  '/v2/stats/leader',
])

/** What is not served by the core of kvd but plugged into the client port, by path prefix. */
export type Routes = ReadonlyMap<string, Handler>

/** The client port's table of paths (kvd.md 1), independent of who parsed the request. */
export class Router {
  readonly #context: HttpContext
  readonly #router: PathRouter

  /**
   * @param origins allowed by --cors; `*` for any
   * @param extra routes by exact path, or by prefix when the path ends in a slash
   */
  constructor(context: HttpContext, origins: readonly string[], extra: Routes) {
    this.#context = context
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
    this.#router = new PathRouter({
      keys: (request, key, responder) => handleKeys(context, request, key, responder),
      table,
      origins,
    })
  }

  route(request: RawRequest, responder: Responder): void {
    const cause = unservedCause(this.#context.replica)
    if (cause !== undefined && !OF_THE_PROCESS.has(request.path))
      responder.reply(503, `${DIVERGED_HEAD}${JSON_TYPE}`, refusalJson(refusal(300, cause, 0)))
    else this.#router.route(request, responder)
  }
}
