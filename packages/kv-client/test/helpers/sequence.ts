import assert from 'node:assert/strict'
import type { Test } from 'tap'
import type { KvNode, WatchEvent } from '../../src/index.ts'

/** A change as a test wrote it. */
export interface Written {
  readonly action: string
  readonly node: { readonly key: string; readonly modifiedIndex: number }
}

export interface Story {
  /** Where the watch began. */
  readonly base: number
  /** Everything that was written, in order. */
  readonly log: readonly Written[]
  /** Everything the watch gave. */
  readonly items: readonly WatchEvent[]
  /** What was watched, recursively. */
  readonly prefix: string
}

/**
 * Asserts that a watch told all of it: every event exactly once and in order, or a gap that says what
 * is there now. Returns the number of gaps.
 */
export function checkSequence({ base, log, items, prefix }: Story): number {
  const heard = log.filter(({ node }) => isBelow(prefix, node.key))
  let cursor = base
  let gaps = 0
  for (const item of items) {
    const next = heard.find(({ node }) => node.modifiedIndex > cursor)
    if (item.type === 'event') {
      assert.equal(item.response.node.modifiedIndex, next?.node.modifiedIndex)
      assert.equal(item.response.node.key, next?.node.key)
      assert.equal(item.response.action, next?.action)
      cursor = item.response.etcdIndex
    } else {
      gaps += 1
      assert.ok(item.index >= cursor, 'a gap leads forward')
      cursor = item.index
      assert.deepEqual(stateOf(item.response?.node), stateAt(heard, cursor))
    }
  }
  assert.ok(
    heard.every(({ node }) => node.modifiedIndex <= cursor),
    'nothing is missing at the end',
  )
  return gaps
}

function isBelow(prefix: string, key: string): boolean {
  return key === prefix || key.startsWith(`${prefix}/`)
}

function stateAt(log: readonly Written[], index: number): [string, number][] {
  const state = new Map<string, number>()
  for (const { action, node } of log) {
    if (node.modifiedIndex > index) break
    if (action === 'delete') state.delete(node.key)
    else state.set(node.key, node.modifiedIndex)
  }
  return sorted([...state])
}

function stateOf(node: KvNode | undefined): [string, number][] {
  if (node === undefined) return []
  const own: [string, number][] = node.dir === true ? [] : [[node.key, node.modifiedIndex]]
  return sorted([...own, ...(node.nodes ?? []).flatMap(stateOf)])
}

function sorted(state: [string, number][]): [string, number][] {
  return state.toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** A new seed every time, printed; `FC_SEED` repeats a run, `FC_RUNS` makes it longer. */
export function propertyOptions(t: Test, runs: number): { seed: number; numRuns: number } {
  const seed = Number(process.env['FC_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  t.comment(`seed ${seed}`)
  return { seed, numRuns: Number(process.env['FC_RUNS'] ?? runs) }
}
