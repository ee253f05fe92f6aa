import type { RawRequest } from './message.ts'
import { peerUrlProblem } from './peer-urls.ts'

/** A request about members that is answered with an error (kvd.md 8). */
export class MembersError extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

/**
 * The id as it is printed: lower case, no leading zeros.
 * @throws MembersError
 */
export function parseId(text: string): string {
  if (!/^0*[0-9a-fA-F]{1,16}$/.test(text)) throw new MembersError(404, `No such member: ${text}`)
  return BigInt(`0x${text}`).toString(16)
}

/**
 * Peer URLs out of the body of a request, sorted.
 * @throws MembersError
 */
export function readPeerUrls(request: RawRequest): readonly string[] {
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
  return urls.map((url) => url.trim()).toSorted()
}
