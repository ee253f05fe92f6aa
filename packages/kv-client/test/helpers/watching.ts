import { setImmediate as breathe } from 'node:timers/promises'
import type { Test } from 'tap'
import { createClient } from '../../src/index.ts'
import type { ClientOptions, KvClient, WatchEvent } from '../../src/index.ts'
import { StandIn } from './stand-in.ts'

/** A stand-in until the test is over. */
export async function standIn(t: Test, webSocket: boolean, historyMax = 1000): Promise<StandIn> {
  const server = await new StandIn({ webSocket, historyMax }).listen()
  t.teardown(() => server.close())
  return server
}

/** A client that tries again at once. */
export function client(t: Test, url: string, options: Partial<ClientOptions> = {}): KvClient {
  const made = createClient({ endpoints: [url], backoff: { minMs: 1, maxMs: 4 }, ...options })
  t.teardown(() => made.close())
  return made
}

/** Waits, by turns of the event loop, until it holds. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await breathe()
}

/** So many items of a watch, as texts. */
export async function take(
  watch: AsyncIterator<WatchEvent, undefined>,
  count: number,
): Promise<string[]> {
  const seen: string[] = []
  while (seen.length < count) {
    const { value } = await watch.next()
    if (value === undefined) break
    seen.push(`${value.type} ${value.response?.node.key} ${value.response?.etcdIndex}`)
  }
  return seen
}
