import { setTimeout as delay } from 'node:timers/promises'
import { fieldsOf } from '../helpers/answers.ts'
import type { Cluster } from './cluster.ts'
import type { Member } from './member.ts'
import { TrialError } from './trial-error.ts'

const POLL_MS = 50
const ASK_MS = 2_000

/**
 * Takes a member out of its cluster, lets its process find that out, twice, and has a new member
 * join at its place, with nothing on its disk.
 * @throws TrialError when a step is not done within `limitMs`
 */
export async function replaceMember(
  cluster: Cluster,
  member: Member,
  limitMs: number,
): Promise<void> {
  const [helper] = cluster.members.filter((other) => other !== member)
  if (helper === undefined) throw new RangeError('a single member cannot be replaced')
  const members = new Members(helper, limitMs)
  const id = await members.idOf(member)
  member.expectEnd()
  await members.until(`${member.name} is removed`, 'DELETE', `/${id}`, (known) =>
    known.every((one) => one.id !== id),
  )
  await member.untilEnded(limitMs)
  await member.start()
  await member.untilEnded(limitMs)
  const body = JSON.stringify({ peerURLs: [member.peerUrl] })
  const isKnown = (known: readonly Known[]): boolean =>
    known.some(({ url }) => url === member.peerUrl)
  await members.until(`${member.name} is added`, 'POST', '', isKnown, body)
  member.renew(cluster.members)
  await member.start()
}

interface Known {
  readonly id: string
  readonly url: string
}

/** The list of members as one of them shows it. */
class Members {
  readonly #url: string
  readonly #limitMs: number

  constructor({ endpoint }: Member, limitMs: number) {
    this.#url = `http://${endpoint.host}:${endpoint.port}/v2/members`
    this.#limitMs = limitMs
  }

  async idOf(member: Member): Promise<string> {
    const known = await this.#list()
    const found = known.find(({ url }) => url === member.peerUrl)
    if (found === undefined) throw new TrialError('NO_ANSWER', `${member.name} is not listed`)
    return found.id
  }

  /** Sends a request again and again until the list is as wanted: a late answer may be lost. */
  async until(
    what: string,
    method: string,
    path: string,
    isDone: (known: readonly Known[]) => boolean,
    body?: string,
  ): Promise<void> {
    const deadline = performance.now() + this.#limitMs
    while (!isDone(await this.#list())) {
      if (performance.now() > deadline)
        throw new TrialError('NO_ANSWER', `not within ${this.#limitMs} ms: ${what}`)
      await this.#send(method, path, body)
      await delay(POLL_MS)
    }
  }

  async #list(): Promise<Known[]> {
    const { members } = fieldsOf(JSON.parse((await this.#send('GET', '')) ?? '{}'))
    const list: readonly unknown[] = Array.isArray(members) ? members : []
    return list.map((one) => {
      const { id, peerURLs } = fieldsOf(one)
      const [url]: readonly unknown[] = Array.isArray(peerURLs) ? peerURLs : []
      return { id: String(id), url: String(url) }
    })
  }

  /** The text of an answer that is no error. */
  async #send(method: string, path: string, body?: string): Promise<string | undefined> {
    try {
      const signal = AbortSignal.timeout(ASK_MS)
      const headers = { 'Content-Type': 'application/json' }
      const sent = { method, signal, ...(body !== undefined && { body, headers }) }
      const answer = await fetch(`${this.#url}${path}`, sent)
      const text = await answer.text()
      return answer.ok ? text : undefined
    } catch {
      return undefined // nobody answered, or not in time: asked again
    }
  }
}
