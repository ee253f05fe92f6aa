import { request as requestPlain, type IncomingMessage } from 'node:http'
import { request as requestSecure } from 'node:https'
import { hostOf, serverName } from './tls/tls-config.ts'
import type { DialOptions } from './tls/tls-identity.ts'

const ANSWER_MS = 5_000
/** A list of members is a few hundred bytes for each. */
const ANSWER_BYTES_MAX = 4 * 1024 * 1024

export interface PeerAnswer {
  readonly text: string
  /** Empty when the peer does not say. */
  readonly clusterId: string
}

/**
 * GET of a path of a peer port, such as `/members` and `/version`.
 * Rejects when there is no answer of status 200 in time.
 * @param tls how to dial an https URL
 */
export async function askPeer(
  url: URL,
  tls: () => DialOptions,
  answerMs = ANSWER_MS,
): Promise<PeerAnswer> {
  const signal = AbortSignal.timeout(answerMs)
  const options = { agent: false, signal, host: hostOf(url) } as const
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    const request =
      url.protocol === 'https:'
        ? requestSecure(url, { ...options, ...tls(), servername: serverName(url) }, resolve)
        : requestPlain(url, options, resolve)
    request.once('error', reject).end()
  })
  const text = await readText(answer)
  if (answer.statusCode !== 200) throw new Error(`${url.href} answered ${answer.statusCode}`)
  const clusterId = answer.headers['x-etcd-cluster-id']
  return { text, clusterId: typeof clusterId === 'string' ? clusterId : '' }
}

async function readText(answer: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of answer) {
    if (!Buffer.isBuffer(part)) continue
    size += part.length
    if (size > ANSWER_BYTES_MAX) throw new Error(`more than ${ANSWER_BYTES_MAX} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}
