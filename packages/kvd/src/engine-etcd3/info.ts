import { endsWithin } from '@flotilla/daemon'
import {
  allowMethods,
  JSON_TYPE,
  TEXT_TYPE,
  type RawRequest,
  type Responder,
} from '../http/message.ts'
import { goDuration } from '../http/stats.ts'
import { shownArgv } from '../secrets.ts'
import { EtcdError } from './etcd-error.ts'
import { clusterHead, type Front } from './front.ts'

/** A cluster that takes longer than this for a read is of no use. */
const HEALTH_MS_MAX = 1_000

/** GET /health: whether a linearizable read comes to an end in time. */
export function serveHealth(front: Front, request: RawRequest, responder: Responder): void {
  if (!allowMethods(request, responder, ['GET'])) return
  void reportHealth(front, responder)
}

async function reportHealth(front: Front, responder: Responder): Promise<void> {
  const problem = await checkHealth(front)
  if (problem === undefined) responder.reply(200, TEXT_TYPE, '{"health": "true"}')
  else {
    const reason = JSON.stringify(problem)
    responder.reply(503, TEXT_TYPE, `{"health": "false", "reason": ${reason}}\n`)
  }
}

/** What is wrong, or undefined. */
async function checkHealth({ etcd, layout }: Front): Promise<string | undefined> {
  const read = etcd.read([{ key: layout.action }]).then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof EtcdError) return error.message
      throw error
    },
  )
  return (await endsWithin(read, HEALTH_MS_MAX)) ? await read : 'etcd does not answer'
}

/** GET /v2/machines: where the v2 API is served, which is not at etcd's own client URLs. */
export function serveMachines(front: Front, request: RawRequest, responder: Responder): void {
  if (!allowMethods(request, responder, ['GET', 'HEAD'])) return
  responder.reply(200, TEXT_TYPE, front.clientURLs.toSorted().join(', '))
}

/** GET /v2/stats/self, /leader, /store (kvd.md 9). `path` is one of them. */
export function serveStats(
  front: Front,
  request: RawRequest,
  path: string,
  responder: Responder,
): void {
  if (!allowMethods(request, responder, ['GET'])) return
  const what = path.slice(path.lastIndexOf('/') + 1)
  if (what === 'store') responder.reply(200, JSON_TYPE, front.stats.json(front.follower.watchers))
  else if (what === 'leader')
    responder.reply(403, `${JSON_TYPE}${clusterHead(front)}`, '{"message":"not current leader"}')
  else
    selfStats(front).then(
      (stats) => responder.reply(200, JSON_TYPE, JSON.stringify(stats)),
      (error: unknown) => {
        if (!(error instanceof EtcdError)) throw error
        responder.reply(500, JSON_TYPE, JSON.stringify({ message: error.message }))
      },
    )
}

/** Of this front, which is a follower in everything: it leads nothing and nobody. */
async function selfStats({ etcd, name, startedAtMs, nowMs }: Front): Promise<object> {
  const { header, leader } = await etcd.status()
  const startTime = new Date(startedAtMs).toISOString()
  const uptime = goDuration(nowMs() - startedAtMs)
  return {
    name,
    id: header.memberId,
    state: leader === header.memberId ? 'StateLeader' : 'StateFollower',
    startTime,
    leaderInfo: { leader, uptime, startTime },
    recvAppendRequestCnt: 0,
    sendAppendRequestCnt: 0,
  }
}

/** GET /debug/vars: what Go's expvar shows, as far as it has a meaning here. */
export function serveVars(front: Front, request: RawRequest, responder: Responder): void {
  if (!allowMethods(request, responder, ['GET'])) return
  const { etcd, fdLimit } = front
  const { header } = etcd
  const body = {
    cmdline: shownArgv(process.argv),
    file_descriptor_limit: fdLimit,
    memstats: process.memoryUsage(),
    'raft.status': { id: header?.memberId, term: header?.raftTerm, commit: header?.revision },
  }
  responder.reply(200, 'Content-Type: application/json; charset=utf-8\r\n', JSON.stringify(body))
}
