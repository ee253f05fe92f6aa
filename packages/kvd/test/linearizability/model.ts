import type { Answer, Operation, Request } from './history.ts'

/** What one key holds: its value, or nothing. */
export type State = string
export const ABSENT: State = ''

/** Which value has an index, as far as any answer told. */
export type Names = ReadonlyMap<number, string>

/**
 * Carries an operation out on a key, after the v2 API. Gives the state after it; undefined when it
 * cannot have happened in this state, answered as it was. An operation without an answer that would
 * change nothing counts as one that cannot happen: leaving it out is the same.
 */
export function step(
  { request, answer }: Operation,
  state: State,
  names: Names,
): State | undefined {
  if (answer === undefined) return stepUnknown(request, state)
  if (answer.code !== undefined)
    return isRightError(request, answer, state, names) ? state : undefined
  const { v = ABSENT, exp } = request
  const prev = answer.prev ?? ABSENT
  const isAfter = state === prev
  switch (request.f) {
    case 'get':
      return answer.v === state && state !== ABSENT ? state : undefined
    case 'set':
      return isAfter ? v : undefined
    case 'create':
      return isAfter && state === ABSENT ? v : undefined
    case 'update':
      return isAfter && state !== ABSENT ? v : undefined
    case 'cas':
      return isAfter && state === exp ? v : undefined
    case 'delete':
      return isAfter && state !== ABSENT ? ABSENT : undefined
    case 'cad':
      return isAfter && state === exp ? ABSENT : undefined
    case 'post':
    case 'list':
      throw new Error(`${request.f} has no key of its own`)
  }
}

function stepUnknown({ f, v = ABSENT, exp }: Request, state: State): State | undefined {
  const isPresent = state !== ABSENT
  switch (f) {
    case 'set':
      return v
    case 'create':
      return isPresent ? undefined : v
    case 'update':
      return isPresent ? v : undefined
    case 'cas':
      return state === exp ? v : undefined
    case 'delete':
      return isPresent ? ABSENT : undefined
    case 'cad':
      return state === exp ? ABSENT : undefined
    case 'get':
    case 'list':
    case 'post':
      throw new Error(`${f} without an answer has no place`)
  }
}

/** kvd.md 5: an error says what the key held as well as a read does. */
function isRightError(request: Request, answer: Answer, state: State, names: Names): boolean {
  const isPresent = state !== ABSENT
  const { f, exp, at } = request
  const code = answer.code ?? 0
  switch (code) {
    case 100:
      return !isPresent && f !== 'set' && f !== 'create'
    case 105:
      return isPresent && f === 'create'
    case 101: {
      if ((f !== 'cas' && f !== 'cad') || !isPresent || state === exp) return false
      if (at === undefined) return state === answer.cur
      const found = names.get(Number(answer.cur))
      return found === undefined || found === state
    }
    default:
      return false
  }
}

/** The indexes that answers gave to values. */
export function namesOf(operations: readonly Operation[]): Map<number, string> {
  const names = new Map<number, string>()
  for (const { request, answer } of operations) {
    if (answer === undefined) continue
    const value = request.f === 'get' ? answer.v : request.v
    if (answer.mod !== undefined && value !== undefined) names.set(answer.mod, value)
    if (answer.prevMod !== undefined && answer.prev !== undefined)
      names.set(answer.prevMod, answer.prev)
  }
  return names
}
