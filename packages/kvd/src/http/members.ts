import { memberId } from '../cluster.ts'
import type { MemberChange } from '../membership/change.ts'
import type { ChangeProblem, Member } from '../membership/roster.ts'
import { NONE } from '../raft/types.ts'
import type { HttpContext } from './context.ts'
import { allowMethods, JSON_TYPE, plainError, type RawRequest, type Responder } from './message.ts'
import { MembersError, parseId, readPeerUrls } from './members-request.ts'
import { requireRoot } from './require-root.ts'

const METHODS = ['GET', 'POST', 'DELETE', 'PUT'] as const

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
      return { status: 200, body: `${readMembers(context, id)}\n` }
    case 'POST':
      return await addMember(context, request)
    case 'PUT':
      return await updateMember(context, request, id)
    default:
      return await removeMember(context, id)
  }
}

function readMembers({ cluster, replica }: HttpContext, id: string): string {
  if (id === '') return `{"members":[${cluster.members().map(memberJson).join(',')}]}`
  if (id !== 'leader') throw new MembersError(404, 'Not found')
  const leader = replica.lead === NONE ? undefined : cluster.member(replica.lead)
  if (leader === undefined) throw new MembersError(503, 'During election')
  return memberJson(leader)
}

function memberJson({ id, name, peerURLs, clientURLs }: Member): string {
  return JSON.stringify({ id, name, peerURLs, clientURLs })
}

async function addMember(context: HttpContext, request: RawRequest): Promise<Answer> {
  const peerURLs = readPeerUrls(request)
  refuseTaken(context, peerURLs, undefined)
  const id = memberId(peerURLs, String(Math.floor(context.nowMs() / 1000)))
  refuseWeak(context, undefined)
  const isLearner = !context.membership.addsVoters
  await change(context, { type: 'add', id, peerURLs, isLearner })
  const body = memberJson({ id, name: '', peerURLs, clientURLs: [], isLearner })
  return { status: 201, body: `${body}\n` }
}

async function removeMember(context: HttpContext, text: string): Promise<Answer> {
  const { id } = presentMember(context, text)
  refuseWeak(context, id)
  await change(context, { type: 'remove', id })
  return { status: 204, body: '' }
}

async function updateMember(
  context: HttpContext,
  request: RawRequest,
  text: string,
): Promise<Answer> {
  const urls = readPeerUrls(request)
  const id = parseId(text)
  if (context.cluster.isRemoved(id)) throw new MembersError(500, 'Internal Server Error')
  presentMember(context, text)
  refuseTaken(context, urls, id)
  await change(context, { type: 'update', id, peerURLs: urls })
  return { status: 204, body: '' }
}

const PROBLEMS: Readonly<Record<ChangeProblem, readonly [status: number, text: string]>> = {
  idRemoved: [500, 'Internal Server Error'],
  idExists: [409, 'etcdserver: ID exists'],
  urlExists: [409, 'etcdserver: peerURL exists'],
  notFound: [404, 'No such member'],
}

async function change({ replica }: HttpContext, wanted: MemberChange): Promise<void> {
  const told = await replica.change(wanted)
  if (told === undefined) return
  if (typeof told === 'object') throw new MembersError(500, 'Internal Server Error')
  const [status, text] = PROBLEMS[told]
  const shown = told === 'notFound' ? `${text}: ${wanted.id}` : text
  if (told === 'idRemoved' && wanted.type === 'remove')
    throw new MembersError(410, `Member permanently removed: ${wanted.id}`)
  throw new MembersError(status, shown)
}

/**
 * With --strict-reconfig-check a change must leave a quorum of started members (etcd 2.3
 * etcdserver/cluster.go isReadyToAddNewMember, isReadyToRemoveMember).
 * @param removed undefined: somebody is added
 */
function refuseWeak({ cluster, membership }: HttpContext, removed: string | undefined): void {
  if (!membership.isStrict) return
  const members = cluster.members().filter(({ id }) => id !== removed)
  const count = members.length + (removed === undefined ? 1 : 0)
  const started = members.filter(({ name }) => name !== '').length
  const isFirstPair = removed === undefined && count === 2 && started === 1
  if (!isFirstPair && started < Math.floor(count / 2) + 1)
    throw new MembersError(500, 'Internal Server Error')
}

function presentMember(context: HttpContext, text: string): Member {
  const id = parseId(text)
  const member = context.cluster.member(id)
  if (member !== undefined) return member
  if (context.cluster.isRemoved(id))
    throw new MembersError(410, `Member permanently removed: ${text}`)
  throw new MembersError(404, `No such member: ${text}`)
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
