import assert from 'node:assert/strict'
import { Agent } from 'node:http'
import { ask, parseEvent, type WireEvent } from './answers.ts'
import type { Model } from './model.ts'
import type { Ledger } from './writers.ts'

/**
 * Every event from `from` to `to` that the store remembers, by index. The event at `to` must be one
 * that watchers are told of, or the last request waits for ever.
 */
export async function drain(port: number, from: number, to: number): Promise<WireEvent[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const events: WireEvent[] = []
  for (let next = from; next <= to;) {
    const path = `/v2/keys/?wait=true&recursive=true&waitIndex=${next}`
    const answer = await ask(port, { method: 'GET', path, agent })
    assert.equal(answer.status, 200, `history from ${next}: ${answer.body}`)
    const event = parseEvent(answer.body)
    const index = event.node.modifiedIndex
    assert.ok(index >= next, `asked for ${next}, got ${index}`)
    if (index <= to) events.push(event)
    next = index + 1
  }
  agent.destroy()
  return events
}

/** Indexes from `from` to `to`. `silent` of them may belong to the cluster, where users cannot look. */
export interface Span {
  readonly from: number
  readonly to: number
  readonly silent: number
}

/**
 * Brings `model` from index `from` to `to` by the events of the store's history, checking them
 * against the ledger: what was acknowledged is there as acknowledged, an index that history does
 * not show was a refresh.
 */
export function follow(
  model: Model,
  span: Span,
  events: readonly WireEvent[],
  ledger: Ledger,
): void {
  const byIndex = new Map(events.map((event) => [event.node.modifiedIndex, event]))
  assert.equal(byIndex.size, events.length, 'two events with one index')
  let silent = 0
  for (let index = span.from; index <= span.to; index += 1) {
    const event = byIndex.get(index) ?? ledger.refreshed.get(index)
    const acknowledged = ledger.acknowledged.get(index)
    if (acknowledged !== undefined)
      assert.deepEqual(event, acknowledged, `index ${index} is not what was acknowledged`)
    if (event === undefined) {
      silent += 1
      const most = span.silent + ledger.unsureRefreshes.size
      assert.ok(silent <= most, `index ${index} is missing in the history`)
      continue
    }
    model.apply(event)
  }
}

/** Every acknowledged index lies in the span that was followed: none lost, none given twice. */
export function checkComplete(ledger: Ledger, from: number, to: number): void {
  for (const index of [...ledger.acknowledged.keys(), ...ledger.refreshed.keys()])
    assert.ok(index >= from && index <= to, `index ${index} was given twice or lost`)
}
