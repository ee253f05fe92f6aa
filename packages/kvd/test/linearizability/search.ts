import type { Operation } from './history.ts'
import { ABSENT, step, type Names, type State } from './model.ts'

/** `undecided`: the budget was spent. `states` counts the configurations that were visited. */
export interface Outcome {
  readonly type: 'linearizable' | 'violation' | 'undecided'
  readonly states: number
}

export const STATES_MAX = 4_000_000

/** A call or a return in the list; a call without an answer has no return. */
interface Event {
  readonly number: number
  readonly operation: Operation
  readonly isCall: boolean
  /** The return of a call. */
  match: Event | undefined
  before: Event | undefined
  after: Event | undefined
}

interface Placed {
  readonly call: Event
  readonly state: State
}

/**
 * Looks for an order of one key's operations that respects real time and the model: the depth-first
 * search of Wing & Gong over a list of calls and returns, which remembers configurations (set of
 * placed operations, state) as Lowe does. Operations without an answer may stay unplaced.
 */
export function search(
  operations: readonly Operation[],
  names: Names,
  statesMax = STATES_MAX,
): Outcome {
  const head = listOf(operations)
  const seen = new Set<string>()
  const placed: Placed[] = []
  const bits = new Uint16Array((operations.length + 15) >> 4)
  let open = operations.filter(({ end }) => end !== Infinity).length
  let state = ABSENT
  let event = head.after
  while (open > 0) {
    const next = event?.isCall === true ? step(event.operation, state, names) : undefined
    if (event?.isCall === true && next !== undefined && isNew(seen, bits, event.number, next)) {
      if (seen.size > statesMax) return { type: 'undecided', states: seen.size }
      placed.push({ call: event, state })
      state = next
      if (event.match !== undefined) open -= 1
      lift(event)
      event = head.after
    } else if (event?.isCall === true) event = event.after
    else {
      // A return whose call is not placed, or the end: the last one placed goes elsewhere.
      const last = placed.pop()
      if (last === undefined) return { type: 'violation', states: seen.size }
      state = last.state
      toggle(bits, last.call.number)
      if (last.call.match !== undefined) open += 1
      unlift(last.call)
      event = last.call.after
    }
  }
  return { type: 'linearizable', states: seen.size }
}

/** Sets the bit when the configuration with it is a new one; clears it again when not. */
function isNew(seen: Set<string>, bits: Uint16Array, number: number, state: State): boolean {
  toggle(bits, number)
  const size = seen.size
  seen.add(`${String.fromCharCode(...bits)}${state}`)
  if (seen.size > size) return true
  toggle(bits, number)
  return false
}

function toggle(bits: Uint16Array, number: number): void {
  bits[number >> 4] = (bits[number >> 4] ?? 0) ^ (1 << (number & 15))
}

/** The calls and returns in order, behind a head of no meaning. */
function listOf(operations: readonly Operation[]): Event {
  const places: { readonly at: number; readonly event: Event }[] = []
  for (const [number, operation] of operations.entries()) {
    const part = (isCall: boolean): Event => {
      const none = { match: undefined, before: undefined, after: undefined }
      return { number, operation, isCall, ...none }
    }
    const call = part(true)
    places.push({ at: operation.call, event: call })
    if (operation.end === Infinity) continue
    call.match = part(false)
    places.push({ at: operation.end, event: call.match })
  }
  const [first] = operations
  if (first === undefined) throw new RangeError('a search needs operations')
  const head: Event = {
    number: -1,
    operation: first,
    isCall: false,
    match: undefined,
    before: undefined,
    after: undefined,
  }
  let last = head
  for (const { event } of places.toSorted((left, right) => left.at - right.at)) {
    last.after = event
    event.before = last
    last = event
  }
  return head
}

function lift(call: Event): void {
  unlink(call)
  if (call.match !== undefined) unlink(call.match)
}

/** In the opposite order of `lift`, or neighbours would be tied to what is not in the list. */
function unlift(call: Event): void {
  if (call.match !== undefined) relink(call.match)
  relink(call)
}

function unlink(event: Event): void {
  if (event.before !== undefined) event.before.after = event.after
  if (event.after !== undefined) event.after.before = event.before
}

function relink(event: Event): void {
  if (event.before !== undefined) event.before.after = event
  if (event.after !== undefined) event.after.before = event
}
