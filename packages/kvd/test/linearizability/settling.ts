import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster } from './cluster.ts'
import { TrialError } from './trial-error.ts'

const POLL_MS = 100

/** The tree that all members agree on. */
export interface Settled {
  readonly hash: string
  readonly index: number
  readonly bytes: number
  /** How long it took, in milliseconds. */
  readonly servingMs: number
  readonly equalMs: number
}

/**
 * Waits until a whole cluster is well again: every member answers reads through the log, and shows
 * the same tree, to the byte and with the same X-Etcd-Index.
 * @throws TrialError when that takes longer than `limitMs`
 */
export async function settle(cluster: Cluster, limitMs: number): Promise<Settled> {
  const begun = performance.now()
  await cluster.untilServing(limitMs)
  const served = performance.now()
  for (;;) {
    const trees = await treesOf(cluster)
    const [first] = trees
    if (first !== undefined && trees.every((tree) => tree.text === first.text)) {
      const hash = createHash('sha256').update(first.text).digest('hex').slice(0, 16)
      const { index, text } = first
      const equalMs = performance.now() - served
      return { hash, index, bytes: text.length, servingMs: served - begun, equalMs }
    }
    if (performance.now() - served > limitMs)
      throw new TrialError('DIFFERENT', `members differ: ${compare(trees)}`)
    await delay(POLL_MS)
  }
}

interface Tree {
  readonly member: string
  readonly index: number
  readonly text: string
}

async function treesOf(cluster: Cluster): Promise<Tree[]> {
  return await Promise.all(
    cluster.members.map(async (member) => {
      const answer = await cluster.ask(member, '/v2/keys/?recursive=true&sorted=true')
      const { status = 0, index = 0, body = '' } = answer ?? {}
      // Seconds to live run down between two reads; the time of the end does not.
      const text = `${status} ${index} ${body.replaceAll(/"ttl":-?\d+,/g, '')}`
      return { member: member.name, index, text }
    }),
  )
}

/** Where the first two trees that differ begin to do so. */
function compare(trees: readonly Tree[]): string {
  const [first] = trees
  const other = trees.find(({ text }) => text !== first?.text)
  if (first === undefined || other === undefined) return 'no more'
  let at = 0
  while (first.text[at] === other.text[at]) at += 1
  const show = ({ member, text }: Tree) =>
    `${member} has …${text.slice(Math.max(0, at - 80), at + 80)}`
  return `${show(first)}\n${show(other)}`
}
