import type { LogLevel } from '@flotilla/daemon'
import { SERVER_VERSION } from '../cluster.ts'
import { NONE } from '../raft/types.ts'
import type { HttpContext } from './context.ts'
import {
  allowMethods,
  JSON_TYPE,
  plainError,
  TEXT_TYPE,
  type RawRequest,
  type Responder,
} from './message.ts'

/** GET /version: JSON without newline. */
export function answerVersion(
  context: { readonly cluster: { readonly version: string | undefined } },
  request: RawRequest,
  responder: Responder,
): void {
  if (!allowMethods(request, responder, ['GET'])) return
  const etcdcluster = context.cluster.version ?? 'not_decided'
  responder.reply(200, JSON_TYPE, JSON.stringify({ etcdserver: SERVER_VERSION, etcdcluster }))
}

/** A commit that takes longer than this is a sick disk (raft.md 5.4). */
const STALLED_MS_MAX = 1_000
/** The cluster must confirm a read within this time (raft.md 10). */
const CONFIRM_MS_MAX = 1_000

/** GET /health: true while this member can serve reads and writes of the cluster, else false with the reason. */
export function answerHealth(
  context: HttpContext,
  request: RawRequest,
  responder: Responder,
): void {
  if (!allowMethods(request, responder, ['GET'])) return
  let isAnswered = false
  const answer = (reason: string | undefined): void => {
    if (isAnswered) return
    isAnswered = true
    clearTimeout(timer)
    if (reason === undefined) responder.reply(200, TEXT_TYPE, '{"health": "true"}')
    else responder.reply(503, TEXT_TYPE, `{"health": "false", "reason": "${reason}"}\n`)
  }
  const late = (): void =>
    answer(
      context.replica.lead === NONE
        ? 'nobody leads the cluster'
        : 'a majority of the members does not answer',
    )
  const timer = setTimeout(late, CONFIRM_MS_MAX)
  const { isFull, stalledMs } = context.replica.status
  if (isFull) answer('no room left on the disk')
  else if (stalledMs > STALLED_MS_MAX) answer('the disk does not answer')
  else if (context.replica.isDamaged) answer('entries that were acknowledged are lost here')
  else if (context.replica.isDiverged) answer('what is stored here is not what the others hold')
  else if (context.replica.isAlone) answer(undefined)
  else context.replica.readIndex((problem) => answer(problem?.cause))
}

/** GET /v2/machines: all client URLs, sorted, without newline. */
export function answerMachines(
  context: HttpContext,
  request: RawRequest,
  responder: Responder,
): void {
  if (!allowMethods(request, responder, ['GET', 'HEAD'])) return
  const urls = context.cluster.members().flatMap((member) => member.clientURLs)
  responder.reply(200, TEXT_TYPE, urls.toSorted().join(', '))
}

/** Prometheus text, any method. */
export function answerMetrics(
  context: Pick<HttpContext, 'metrics'>,
  _request: RawRequest,
  responder: Responder,
): void {
  context.metrics().then(
    ({ type, text }) => responder.reply(200, `Content-Type: ${type}\r\n`, text),
    (error: unknown) => {
      const why = error instanceof Error ? error.message : String(error)
      plainError(responder, 500, `metrics cannot be made: ${why}`)
    },
  )
}

const LEVELS: Readonly<Record<string, LogLevel>> = {
  CRITICAL: 'error',
  ERROR: 'error',
  WARNING: 'warn',
  NOTICE: 'info',
  INFO: 'info',
  DEBUG: 'debug',
  TRACE: 'debug',
}

/** PUT /config/local/log `{"Level":"DEBUG"}`: field and level in any case. */
export function answerConfigLog(
  context: Pick<HttpContext, 'setLogLevel'>,
  request: RawRequest,
  responder: Responder,
): void {
  if (!allowMethods(request, responder, ['PUT'])) return
  const wanted = readLevel(request.body)
  const level = LEVELS[wanted?.toUpperCase() ?? '']
  if (level !== undefined) {
    context.setLogLevel(level)
    responder.reply(204, '', '')
    return
  }
  const message = wanted === undefined ? 'Invalid json body' : `Invalid log level ${wanted}`
  responder.reply(400, JSON_TYPE, JSON.stringify({ message }))
}

/** The level asked for; undefined when the body is no JSON object of texts. */
function readLevel(body: string): string | undefined {
  let document: unknown
  try {
    document = JSON.parse(Buffer.from(body, 'latin1').toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) return undefined
  const level = Object.entries(document).find(([name]) => name.toLowerCase() === 'level')?.[1]
  if (level === undefined) return ''
  return typeof level === 'string' ? level : undefined
}
