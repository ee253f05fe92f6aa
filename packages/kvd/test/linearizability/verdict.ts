import { isWrite, operationsOf, type Entry, type Operation } from './history.ts'
import { namesOf } from './model.ts'
import { checkOrder } from './order.ts'
import { checkPosts } from './posts.ts'
import { search, STATES_MAX, type Outcome } from './search.ts'
import type { Violation } from './violation.ts'

/** What a history is worth. It passes without violations only. */
export interface Verdict {
  readonly operations: number
  readonly unknown: number
  readonly keys: number
  readonly states: number
  readonly violations: readonly Violation[]
}

/** `judgesLocal`: local reads are held to what only reads through the log promise. */
export interface JudgeOptions {
  readonly judgesLocal?: boolean
  readonly statesMax?: number
}

const TAIL = 14

/** Judges a whole history: each key by itself, then what ties keys together. */
export function judge(entries: readonly Entry[], options: JudgeOptions = {}): Verdict {
  const all = operationsOf(entries)
  const { judgesLocal = false, statesMax = STATES_MAX } = options
  const violations: Violation[] = []
  let states = 0
  const keys = byKey(all.filter(({ request }) => judgesLocal || request.isLocal !== true))
  for (const [key, operations] of keys) {
    const names = namesOf(operations)
    const outcome = search(operations, names, statesMax)
    states += outcome.states
    if (outcome.type === 'linearizable') continue
    violations.push({ id: 'L', message: explain(key, operations, outcome, statesMax) })
  }
  violations.push(...checkOrder(all), ...checkPosts(all))
  const unknown = all.filter(({ end }) => end === Infinity).length
  return { operations: all.length, unknown, keys: keys.size, states, violations }
}

/** Operations on single keys, key by key. */
export function byKey(operations: readonly Operation[]): Map<string, Operation[]> {
  const keys = new Map<string, Operation[]>()
  for (const operation of operations) {
    const { f, k } = operation.request
    if (f === 'post' || f === 'list') continue
    const known = keys.get(k)
    if (known === undefined) keys.set(k, [operation])
    else known.push(operation)
  }
  return keys
}

/** What the history up to `end` knows: later calls are not there, later answers have not come. */
export function prefix(operations: readonly Operation[], end: number): Operation[] {
  const known: Operation[] = []
  for (const operation of operations) {
    if (operation.call > end) continue
    const { answer: _answer, ...open } = operation
    if (operation.end <= end) known.push(operation)
    else if (isWrite(operation.request)) known.push({ ...open, end: Infinity })
  }
  return known
}

/**
 * The shortest prefix of a key's history that fails. Found by halving, since every prefix of a
 * linearizable history is one.
 */
export function shortestFailing(
  operations: readonly Operation[],
  statesMax = STATES_MAX,
): Operation[] {
  const names = namesOf(operations)
  const ends = operations
    .map(({ end }) => end)
    .filter((end) => end !== Infinity)
    .toSorted((left, right) => left - right)
  let low = 0
  let high = ends.length - 1
  while (low < high) {
    const middle = (low + high) >> 1
    const part = prefix(operations, ends[middle] ?? 0)
    if (search(part, names, statesMax).type === 'violation') high = middle
    else low = middle + 1
  }
  return prefix(operations, ends[low] ?? 0)
}

function explain(
  key: string,
  operations: readonly Operation[],
  outcome: Outcome,
  statesMax: number,
): string {
  if (outcome.type === 'undecided') return `${key}: undecided after ${outcome.states} states`
  const part = shortestFailing(operations, statesMax)
  const lines = part.slice(-TAIL).map((operation) => `    ${describe(operation)}`)
  const count = `${part.length} of ${operations.length} operations`
  return [
    `${key}: not linearizable, shown by the first ${count}; the last of them:`,
    ...lines,
  ].join('\n')
}

/** One operation as a line. */
export function describe({ op, p, ep, request, call, end, answer }: Operation): string {
  const { f, k: _k, ...asked } = request
  const said = answer === undefined ? 'no answer' : JSON.stringify(answer)
  return `[${call}, ${end}] op ${op} of ${p} at ${ep}: ${f} ${JSON.stringify(asked)} -> ${said}`
}
