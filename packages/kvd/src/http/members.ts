import { memberId, raftAttributesCommand, type Member } from '../cluster.ts'
import { isRefusal } from '../store/errors.ts'
import type { HttpContext } from './context.ts'
import { allowMethods, JSON_TYPE, plainError, type RawRequest, type Responder } from './message.ts'
import { peerUrlProblem } from './peer-urls.ts'
import { requireRoot } from './require-root.ts'

const METHODS = ['GET', 'POST', 'DELETE', 'PUT'] as const

/** A request about members that is answered with an error (kvd.md 8). */
class MembersError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/** Answers /v2/members. `path` is decoded. */
export function handleMembers(
  context: HttpContext,
  request: RawRequest,
  path: string,
  responder: Responder,
): void {
  if (!allowMethods(request, responder, METHODS)) return
  const id = path.slice('/v2/members'.length).replace(/^\//, '')
  const gate = request.method === 'GET' ? undefined : context.gate()
  requireRoot(gate, { request, responder }, () => serve(context, request, id, responder))
}

function serve(context: HttpContext, request: RawRequest, id: string, responder: Responder): void {
  const { head } = context.cluster
  const isChange = request.method === 'DELETE' || request.method === 'PUT'
  if (isChange && id === '') {
    plainError(responder, 405, 'Method Not Allowed', head)
    return
  }
  answer(context, request, id).then(
    ({ status, body }) => responder.reply(status, body === '' ? head : `${head}${JSON_TYPE}`, body),
    (error: unknown) => {
      if (!(error instanceof MembersError)) throw error
      const body = JSON.stringify({ message: error.message })
      responder.reply(error.status, `${head}${JSON_TYPE}`, body)
    },
  )
}

interface Answer {
  readonly status: number
  readonly body: string
}

async function answer(context: HttpContext, request: RawRequest, id: string): Promise<Answer> {
  switch (request.method) {
    case 'GET':
      return { status: 200, body: `${JSON.stringify(readMembers(context, id))}\n` }
    case 'POST':
      return addMember(context, request)
    case 'PUT':
      return await updateMember(context, request, id)
    default:
      return removeMember(context, id)
  }
}

function readMembers(context: HttpContext, id: string): Member | { members: readonly Member[] } {
  if (id === '') return { members: context.cluster.members() }
  const leader = context.cluster.member(context.cluster.localId)
  if (id === 'leader' && leader !== undefined) return leader
  throw new MembersError(404, 'Not found')
}

const NO_CLUSTER =
  'kvd: adding and removing members needs a cluster, which this version does not form'

function addMember(context: HttpContext, request: RawRequest): never {
  const urls = readPeerUrls(request)
  refuseTaken(context, urls, undefined)
  throw new MembersError(501, NO_CLUSTER)
}

function removeMember(context: HttpContext, text: string): never {
  presentMember(context, text)
  throw new MembersError(501, NO_CLUSTER)
}

async function updateMember(
  context: HttpContext,
  request: RawRequest,
  text: string,
): Promise<Answer> {
  const id = parseId(text)
  const urls = readPeerUrls(request)
  const member = presentMember(context, text)
  refuseTaken(context, urls, id)
  const outcome = await context.replica.proposeAsync(
    raftAttributesCommand('update', member.id, urls, context.nowMs()),
  )
  if (outcome === undefined || isRefusal(outcome))
    throw new MembersError(500, 'Internal Server Error')
  return { status: 204, body: '' }
}

function presentMember(context: HttpContext, text: string): Member {
  const id = parseId(text)
  const member = context.cluster.member(id)
  if (member !== undefined) return member
  if (context.cluster.isRemoved(id))
    throw new MembersError(410, `Member permanently removed: ${text}`)
  throw new MembersError(404, `No such member: ${text}`)
}

/** The id as it is printed: lower case, no leading zeros. */
function parseId(text: string): string {
  if (!/^0*[0-9a-fA-F]{1,16}$/.test(text)) throw new MembersError(404, `No such member: ${text}`)
  return BigInt(`0x${text}`).toString(16)
}

function readPeerUrls(request: RawRequest): readonly string[] {
  const type = request.contentType ?? ''
  if (type !== 'application/json')
    throw new MembersError(415, `Bad Content-Type ${type}, accept application/json`)
  let document: unknown
  try {
    document = JSON.parse(Buffer.from(request.body, 'latin1').toString('utf8'))
  } catch (error) {
    throw new MembersError(400, error instanceof Error ? error.message : 'invalid JSON')
  }
  const urls =
    typeof document === 'object' && document !== null && 'peerURLs' in document
      ? document.peerURLs
      : []
  if (
    Array.isArray(document) ||
    !Array.isArray(urls) ||
    !urls.every((url) => typeof url === 'string')
  )
    throw new MembersError(400, 'json: expected an object with peerURLs, a list of strings')
  if (urls.length === 0) throw new MembersError(400, 'no valid URLs given')
  for (const url of urls) {
    const problem = peerUrlProblem(url)
    if (problem !== undefined) throw new MembersError(400, problem)
  }
  return urls.toSorted()
}

function refuseTaken(
  context: HttpContext,
  urls: readonly string[],
  except: string | undefined,
): void {
  const others = context.cluster.members().filter((member) => member.id !== except)
  if (others.some((member) => member.id === memberId(urls, '')))
    throw new MembersError(409, 'etcdserver: ID exists')
  if (others.some((member) => member.peerURLs.some((url) => urls.includes(url))))
    throw new MembersError(409, 'etcdserver: peerURL exists')
}
