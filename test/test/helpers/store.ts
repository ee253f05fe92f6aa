import { waitFor } from '../../src/harness/deadline.ts'
import { items, member, textOf } from '../../src/harness/json.ts'
import type { Machine } from '../../src/harness/machine.ts'

/** An answer of the store, read to its end. */
export interface Answer {
  readonly status: number
  readonly text: string
}

/** What a store or a proxy says of one of its members. */
export interface StoreMember {
  readonly id: string
  readonly name: string
  readonly peerURLs: readonly string[]
  readonly clientURLs: readonly string[]
}

const ANSWER_MS = 10_000

/** Asks a URL that the sandbox can reach; a `value` makes it a PUT. Rejects when there is no answer in 10 s. */
export async function ask(url: string, value?: string): Promise<Answer> {
  const body = value === undefined ? {} : { method: 'PUT', body: new URLSearchParams({ value }) }
  const response = await fetch(url, { ...body, signal: AbortSignal.timeout(ANSWER_MS) })
  return { status: response.status, text: await response.text() }
}

/** The store's or the proxy's official client port on a machine. */
export function clientURL(machine: Machine): string {
  return `http://${machine.address}:2379`
}

/** The members, as the store or the proxy on a machine says. */
export async function membersSeenBy(machine: Machine): Promise<readonly StoreMember[]> {
  const { text } = await ask(`${clientURL(machine)}/v2/members`)
  const document: unknown = JSON.parse(text)
  return items(member(document, 'members')).map((one) => ({
    id: textOf(member(one, 'id')),
    name: textOf(member(one, 'name')),
    peerURLs: items(member(one, 'peerURLs')).map(textOf),
    clientURLs: items(member(one, 'clientURLs')).map(textOf),
  }))
}

/** The endpoints among which the proxy on a machine chooses, in its order; none when it is no proxy. */
export async function endpointsOf(machine: Machine): Promise<readonly string[]> {
  const { status, text } = await ask(`${clientURL(machine)}/v2/config/local/proxy`)
  if (status === 404) return []
  const document: unknown = JSON.parse(text)
  return items(member(document, 'endpoints')).map(textOf)
}

/** Waits until the store takes writes at a machine, by its own log or through a proxy. */
export async function untilWritable(machine: Machine, timeoutMs = 60_000): Promise<void> {
  const look = async () => {
    const { status, text } = await ask(`${clientURL(machine)}/v2/keys/writable`, machine.name)
    return status < 300 ? { done: undefined } : { seen: text }
  }
  await waitFor(`the store to take writes at ${machine.name}`, look, { timeoutMs })
}
