import type { HttpContext } from './context.ts'
import { allowMethods, JSON_TYPE, type RawRequest, type Responder } from './message.ts'

/** GET /v2/stats/self, /leader, /store (kvd.md 9). `path` is one of them. */
export function answerStats(
  context: HttpContext,
  request: RawRequest,
  path: string,
  responder: Responder,
): void {
  if (!allowMethods(request, responder, ['GET'])) return
  const what = path.slice(path.lastIndexOf('/') + 1)
  const body =
    what === 'store'
      ? context.store.statsJson()
      : what === 'leader'
        ? JSON.stringify({ leader: context.cluster.localId, followers: {} })
        : JSON.stringify(selfStats(context))
  responder.reply(200, JSON_TYPE, body)
}

function selfStats(context: HttpContext): object {
  const { cluster, startedAtMs, nowMs } = context
  const startTime = new Date(startedAtMs).toISOString()
  return {
    name: cluster.member(cluster.localId)?.name ?? '',
    id: cluster.localId,
    state: 'StateLeader',
    startTime,
    leaderInfo: {
      leader: cluster.localId,
      uptime: goDuration(nowMs() - startedAtMs),
      startTime,
    },
    recvAppendRequestCnt: 0,
    sendAppendRequestCnt: 0,
  }
}

/** A duration as Go prints it: `1h2m3.5s`, `250ms`. */
function goDuration(ms: number): string {
  if (ms <= 0) return '0s'
  if (ms < 1000) return `${ms}ms`
  const hours = Math.floor(ms / 3_600_000)
  const minutes = Math.floor(ms / 60_000) % 60
  const seconds = `${(ms % 60_000) / 1000}s`
  if (hours > 0) return `${hours}h${minutes}m${seconds}`
  return minutes > 0 ? `${minutes}m${seconds}` : seconds
}

/** GET /debug/vars: what Go's expvar shows, as far as it has a meaning here. */
export function answerVars(context: HttpContext, request: RawRequest, responder: Responder): void {
  if (!allowMethods(request, responder, ['GET'])) return
  const { cluster, replica } = context
  const status = {
    id: cluster.localId,
    term: replica.term,
    vote: cluster.localId,
    commit: replica.appliedIndex,
    lead: cluster.localId,
    raftState: 'StateLeader',
    progress: {},
  }
  const body = {
    cmdline: process.argv,
    file_descriptor_limit: context.fdLimit,
    memstats: process.memoryUsage(),
    'raft.status': status,
  }
  responder.reply(200, 'Content-Type: application/json; charset=utf-8\r\n', JSON.stringify(body))
}
