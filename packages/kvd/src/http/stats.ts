import { shownArgv } from '../secrets.ts'
import { NONE, type Role } from '../raft/types.ts'
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
  const { replica, store, cluster } = context
  const what = path.slice(path.lastIndexOf('/') + 1)
  if (what === 'leader' && !replica.isLeader) {
    responder.reply(403, `${JSON_TYPE}${cluster.head}`, '{"message":"not current leader"}')
    return
  }
  const body =
    what === 'store'
      ? store.statsJson()
      : JSON.stringify(what === 'leader' ? leaderStats(context) : selfStats(context))
  responder.reply(200, JSON_TYPE, body)
}

function leaderStats({ cluster, traffic }: HttpContext): object {
  return { leader: cluster.localId, followers: traffic.followers() }
}

const STATES: Readonly<Record<Role, string>> = {
  leader: 'StateLeader',
  follower: 'StateFollower',
  candidate: 'StateCandidate',
  preCandidate: 'StateCandidate',
}

function selfStats({ cluster, startedAtMs, nowMs, replica, traffic }: HttpContext): object {
  const { role, lead } = replica.raft
  const { leadSinceMs } = replica
  const isLed = lead !== NONE
  return {
    name: cluster.member(cluster.localId)?.name ?? '',
    id: cluster.localId,
    state: STATES[role],
    startTime: new Date(startedAtMs).toISOString(),
    leaderInfo: {
      leader: isLed ? lead : '',
      uptime: isLed ? goDuration(nowMs() - leadSinceMs) : '0s',
      startTime: new Date(leadSinceMs).toISOString(),
    },
    ...traffic.self(),
  }
}

/** A duration as Go prints it: `1h2m3.5s`, `250ms`. */
export function goDuration(ms: number): string {
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
  const { role, lead, term, vote, commit } = replica.raft
  const raftState = STATES[role]
  const status = { id: cluster.localId, term, vote, commit, lead, raftState, progress: {} }
  const body = {
    cmdline: shownArgv(process.argv),
    file_descriptor_limit: context.fdLimit,
    memstats: process.memoryUsage(),
    'raft.status': status,
  }
  responder.reply(200, 'Content-Type: application/json; charset=utf-8\r\n', JSON.stringify(body))
}
