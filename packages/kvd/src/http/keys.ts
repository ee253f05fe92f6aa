import type { Shown } from '../store/node.ts'
import type { Read } from '../store/store.ts'
import { isRefusal, refusal, refusalJson, statusOf, type Refusal } from '../store/errors.ts'
import { isTooDeep, KEY_DEPTH_MAX, type Command } from '../store/command.ts'
import type { Gate, HttpContext, Verdict } from './context.ts'
import { unescape } from './escape.ts'
import { parseKeysRequest, type KeysRequest } from './keys-request.ts'
import { allowMethods, JSON_TYPE, type RawRequest, type Responder } from './message.ts'
import { openWatch } from './watch.ts'

const METHODS = ['HEAD', 'GET', 'PUT', 'POST', 'DELETE'] as const

/** Answers a request to /v2/keys. `key` is the decoded, cleaned key. */
export function handleKeys(
  context: HttpContext,
  request: RawRequest,
  key: string,
  responder: Responder,
): void {
  if (!allowMethods(request, responder, METHODS)) return
  const method = countedMethod(request)
  if (isTooDeep(key)) {
    const problem = refusal(209, `a key has at most ${KEY_DEPTH_MAX} components`, 0)
    refuse({ context, request, key, responder, method }, problem)
    return
  }
  context.counters.received(method)
  const parsed = parseKeysRequest(request, key, context.nowMs())
  const call: Call = { context, request, key, responder, method }
  if (parsed.type === 'refused') {
    refuse(call, parsed.refusal)
    return
  }
  const gate = context.gate()
  if (gate === undefined) serve(call, parsed)
  else serveGuarded(call, parsed, gate)
}

interface Call {
  readonly context: HttpContext
  readonly request: RawRequest
  readonly key: string
  readonly responder: Responder
  /** Name of the method in metrics: quorum reads count apart. */
  readonly method: string
}

function countedMethod(request: RawRequest): string {
  if (request.query === '' || request.method !== 'GET') return request.method
  return request.query.includes('quorum=true') ? 'QGET' : 'GET'
}

function serveGuarded(
  call: Call,
  parsed: Exclude<KeysRequest, { type: 'refused' }>,
  gate: Gate,
): void {
  const isWrite = parsed.type === 'write'
  const access = {
    write: isWrite,
    recursive: isWrite ? parsed.command.recursive : parsed.recursive,
  }
  const decide = (verdict: Verdict): void => {
    if (verdict === 'allowed') serve(call, parsed)
    else if (verdict === 'refused') refuse(call, refusal(110, 'Insufficient credentials', 0))
    else refuse(call, refusal(300, 'etcdserver: too many requests', 0))
  }
  const verdict = gate.mayAccess(call.request, sentPath(call.request), access)
  if (typeof verdict === 'string') decide(verdict)
  else void verdict.then(decide)
}

/** The key as it was sent, with the final slash that it may have; empty for the bare prefix. */
function sentPath(request: RawRequest): string {
  return unescape(request.path, false).slice('/v2/keys'.length)
}

function serve(call: Call, parsed: Exclude<KeysRequest, { type: 'refused' }>): void {
  switch (parsed.type) {
    case 'read':
      if (needsQuorum(call.context, parsed)) readAtQuorum(call, parsed)
      else read(call, parsed)
      break
    case 'watch':
      watch(call, parsed)
      break
    case 'write':
      write(call, parsed.command, parsed.noValue)
      break
  }
}

type ReadRequest = Extract<KeysRequest, { type: 'read' }>

function needsQuorum({ replica }: HttpContext, { quorum, maxStalenessMs }: ReadRequest): boolean {
  if (replica.isAlone) return false
  return quorum || (maxStalenessMs !== Infinity && replica.stalenessMs > maxStalenessMs)
}

/** Waits until whatever was acknowledged before now is applied here. */
function readAtQuorum(call: Call, wanted: ReadRequest): void {
  call.context.replica.readIndex((problem) => {
    if (problem === undefined) read(call, wanted)
    else refuse(call, problem)
  })
}

/** Reads what this member has applied. */
function read(call: Call, { recursive, sorted }: ReadRequest): void {
  const { context, key } = call
  const startMs = context.nowMs()
  // What is left of a TTL is counted by the clock that ends it.
  const nowMs = startMs + context.replica.clockOffsetMs
  const found = readBounded(context, { space: 'keys', key, recursive, sorted, nowMs })
  if (isRefusal(found)) {
    refuse(call, found)
    return
  }
  context.counters.succeeded(call.method, (context.nowMs() - startMs) / 1000)
  const head = successHead(context, context.store.index)
  call.responder.reply(200, head, `{"action":"get","node":${found.json}}\n`, found.isAscii)
}

/** A listing may be longer than a string can be: an answer like any other. */
function readBounded(context: HttpContext, wanted: Read): Shown | Refusal {
  try {
    return context.store.read(wanted)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    return refusal(300, 'etcdserver: the answer is too long', context.store.index)
  }
}

function watch(call: Call, wanted: Extract<KeysRequest, { type: 'watch' }>): void {
  const { context, responder } = call
  const { request, key } = call
  const problem = openWatch(context, { ...wanted, key, request, path: sentPath(request) }, () =>
    responder.stream(200, successHead(context, context.store.index)),
  )
  if (problem !== undefined) refuse(call, problem)
}

function write(call: Call, command: Command, isShort: boolean): void {
  const { context, responder } = call
  context.replica.propose(command, (outcome) => {
    if (outcome === undefined) throw new Error('a write to keys was applied without an event')
    if (isRefusal(outcome)) {
      refuse(call, outcome)
      return
    }
    context.counters.succeeded(call.method, (context.nowMs() - command.time) / 1000)
    const status = outcome.isNew ? 201 : 200
    const head = successHead(context, outcome.index)
    const { json, isAscii } = isShort
      ? { json: `{"action":"${outcome.action}"}`, isAscii: true }
      : outcome.shown
    responder.reply(status, head, `${json}\n`, isAscii)
  })
}

function refuse(call: Call, problem: Refusal): void {
  const status = statusOf(problem.code)
  call.context.counters.failed(call.method, status)
  const { cluster, store } = call.context
  // Clients of the original find it in the text of the cause alone.
  const first = problem.code === 401 ? `X-Kvd-History-First: ${store.history.first}\r\n` : ''
  const head = `${JSON_TYPE}${cluster.head}X-Etcd-Index: ${problem.index}\r\n${first}`
  call.responder.reply(status, head, refusalJson(problem))
}

/** Made once for each index and term: between two writes every answer has the same. */
function successHead(context: HttpContext, storeIndex: number): string {
  const { replica, cluster, headCache } = context
  const { appliedIndex: raftIndex, term: raftTerm } = replica
  const isSame = headCache.storeIndex === storeIndex && headCache.raftIndex === raftIndex
  if (isSame && headCache.raftTerm === raftTerm) return headCache.text
  headCache.storeIndex = storeIndex
  headCache.raftIndex = raftIndex
  headCache.raftTerm = raftTerm
  headCache.text = `${JSON_TYPE}${cluster.head}X-Etcd-Index: ${storeIndex}\r\nX-Raft-Index: ${raftIndex}\r\nX-Raft-Term: ${raftTerm}\r\n`
  return headCache.text
}
