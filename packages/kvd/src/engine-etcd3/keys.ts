import { parseKeysRequest, type KeysRequest } from '../http/keys-request.ts'
import { allowMethods, JSON_TYPE, type RawRequest, type Responder } from '../http/message.ts'
import type { Command } from '../store/command.ts'
import { isRefusal, refusal, refusalJson, statusOf, type Refusal } from '../store/errors.ts'
import { EtcdError } from './etcd-error.ts'
import { clusterHead, successHead, type Front } from './front.ts'
import { depthOf } from './layout.ts'
import { revisionOf } from './nodes.ts'
import { servePoll } from './poll.ts'

const METHODS = ['HEAD', 'GET', 'PUT', 'POST', 'DELETE'] as const
/** etcd takes 128 operations in a transaction, and each directory on the way costs two. */
const DEPTH_MAX = 60

interface Call {
  readonly front: Front
  readonly request: RawRequest
  readonly key: string
  readonly responder: Responder
}

/** Answers a request to /v2/keys. `key` is the decoded, cleaned key. */
export function serveKeys(
  front: Front,
  request: RawRequest,
  key: string,
  responder: Responder,
): void {
  if (!allowMethods(request, responder, METHODS)) return
  const { metrics, nowMs } = front
  const call: Call = { front, request, key, responder }
  metrics.received(request.method)
  const parsed = parseKeysRequest(request, key, nowMs())
  if (parsed.type === 'refused') refuse(call, parsed.refusal)
  else if (depthOf(key) > DEPTH_MAX)
    refuse(call, refusal(300, 'etcdserver: too many operations in txn request', 0))
  else
    serve(call, parsed).catch((error: unknown) => {
      if (!(error instanceof EtcdError)) throw error
      refuse(call, refusal(300, error.message, 0))
    })
}

async function serve(call: Call, parsed: Exclude<KeysRequest, { type: 'refused' }>): Promise<void> {
  switch (parsed.type) {
    case 'read':
      await read(call, parsed)
      break
    case 'watch': {
      const problem = await servePoll(call.front, { ...parsed, key: call.key }, call.responder)
      if (problem !== undefined) refuse(call, problem)
      break
    }
    case 'write':
      await write(call, parsed.command, parsed.noValue)
      break
  }
}

async function read(call: Call, parsed: Extract<KeysRequest, { type: 'read' }>): Promise<void> {
  const { front, key, responder } = call
  const { recursive, sorted, quorum } = parsed
  const nowMs = front.nowMs()
  const isSerializable = front.isSerializable && !quorum
  const found = await front.reader.read({ key, recursive, sorted, isSerializable, nowMs })
  if (isRefusal(found)) {
    refuse(call, found)
    return
  }
  succeed(call, nowMs)
  const head = successHead(front, found.header)
  responder.reply(200, head, `{"action":"get","node":${found.json}}\n`)
}

async function write(call: Call, command: Command, isShort: boolean): Promise<void> {
  const { front, responder } = call
  const { outcome, conflicts } = await front.writer.write(command)
  const isFailed = isRefusal(outcome) && outcome.code === 300
  front.metrics.written(conflicts, isFailed)
  if (isRefusal(outcome)) {
    refuse(call, outcome)
    return
  }
  succeed(call, command.time)
  const revision = revisionOf(outcome.index)
  front.lastWritten = Math.max(front.lastWritten, revision)
  const header = front.etcd.header ?? { clusterId: '0', memberId: '0', raftTerm: 0 }
  const body = isShort ? `{"action":"${outcome.action}"}\n` : `${outcome.json}\n`
  responder.reply(outcome.isNew ? 201 : 200, successHead(front, { ...header, revision }), body)
}

function succeed({ front, request }: Call, sinceMs: number): void {
  front.metrics.succeeded(request.method, (front.nowMs() - sinceMs) / 1000)
}

function refuse({ front, request, responder }: Call, problem: Refusal): void {
  const status = statusOf(problem.code)
  front.metrics.failed(request.method, status)
  const head = `${JSON_TYPE}${clusterHead(front)}X-Etcd-Index: ${problem.index}\r\n`
  responder.reply(status, head, refusalJson(problem))
}
