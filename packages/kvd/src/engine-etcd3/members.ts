import {
  allowMethods,
  JSON_TYPE,
  plainError,
  type RawRequest,
  type Responder,
} from '../http/message.ts'
import { MembersError, parseId, readPeerUrls } from '../http/members-request.ts'
import { EtcdError } from './etcd-error.ts'
import { clusterHead, type Front } from './front.ts'
import type { EtcdMember } from './messages.ts'

const METHODS = ['GET', 'POST', 'DELETE', 'PUT'] as const

/** Answers /v2/members with the members of the etcd cluster (kvd.md 8). `path` is decoded. */
export function serveMembers(
  front: Front,
  request: RawRequest,
  path: string,
  responder: Responder,
): void {
  if (!allowMethods(request, responder, METHODS)) return
  const id = path.slice('/v2/members'.length).replace(/^\//, '')
  const isChange = request.method === 'DELETE' || request.method === 'PUT'
  const head = clusterHead(front)
  if (isChange && id === '') {
    plainError(responder, 405, 'Method Not Allowed', head)
    return
  }
  answer(front, request, id).then(
    ({ status, body }) => responder.reply(status, body === '' ? head : `${head}${JSON_TYPE}`, body),
    (error: unknown) => {
      const { status, message } = problemOf(error, { front, request, id })
      responder.reply(status, `${head}${JSON_TYPE}`, JSON.stringify({ message }))
    },
  )
}

interface Answer {
  readonly status: number
  readonly body: string
}

async function answer(front: Front, request: RawRequest, id: string): Promise<Answer> {
  const { etcd, removedMembers } = front
  switch (request.method) {
    case 'GET':
      return { status: 200, body: `${JSON.stringify(await readMembers(front, id))}\n` }
    case 'POST': {
      const { added } = await etcd.changeMember({ type: 'add', peerURLs: readPeerUrls(request) })
      if (added === undefined) throw new MembersError(500, 'Internal Server Error')
      const peerURLs = added.peerURLs.toSorted()
      return { status: 201, body: `${JSON.stringify({ ...added, peerURLs })}\n` }
    }
    case 'PUT': {
      const peerURLs = readPeerUrls(request)
      await etcd.changeMember({ type: 'update', id: parseId(id), peerURLs })
      return { status: 204, body: '' }
    }
    default: {
      const removed = parseId(id)
      await etcd.changeMember({ type: 'remove', id: removed })
      removedMembers.add(removed)
      return { status: 204, body: '' }
    }
  }
}

async function readMembers(
  front: Front,
  id: string,
): Promise<EtcdMember | { members: readonly EtcdMember[] }> {
  if (id === '') return { members: await members(front) }
  if (id !== 'leader') throw new MembersError(404, 'Not found')
  const { leader } = await front.etcd.status()
  const found = (await members(front)).find((member) => member.id === leader)
  if (found === undefined) throw new MembersError(503, 'During election')
  return found
}

/**
 * The members, sorted by id. Their client URLs are those of the fronts: a client of the v2 API that
 * follows them would find none at etcd.
 */
async function members({ etcd, clientURLs }: Front): Promise<readonly EtcdMember[]> {
  const { members: found } = await etcd.members()
  return found
    .toSorted((left, right) => (BigInt(`0x${left.id}`) < BigInt(`0x${right.id}`) ? -1 : 1))
    .map(({ id, name, peerURLs, clientURLs: own }) => ({
      id,
      name,
      peerURLs,
      // A member that never started has none.
      clientURLs: own.length === 0 ? [] : clientURLs,
    }))
}

interface Asked {
  readonly front: Front
  readonly request: RawRequest
  /** As the client wrote it. */
  readonly id: string
}

/** What etcd's refusals mean in v2 (etcd 3.4 etcdserver/api/v3rpc/rpctypes/error.go). */
function problemOf(
  error: unknown,
  { front, request, id }: Asked,
): { status: number; message: string } {
  if (error instanceof MembersError) return error
  if (!(error instanceof EtcdError)) throw error
  const { message } = error
  if (message.includes('member not found')) {
    if (!front.removedMembers.has(parseId(id)))
      return { status: 404, message: `No such member: ${id}` }
    if (request.method === 'DELETE')
      return { status: 410, message: `Member permanently removed: ${id}` }
  }
  if (message.includes('member ID already exist'))
    return { status: 409, message: 'etcdserver: ID exists' }
  if (message.includes('Peer URLs already exists'))
    return { status: 409, message: 'etcdserver: peerURL exists' }
  return { status: 500, message: 'Internal Server Error' }
}
