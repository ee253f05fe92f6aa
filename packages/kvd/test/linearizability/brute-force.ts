import type { Random } from '../helpers/random.ts'
import type { Answer, Operation, Request } from './history.ts'
import { ABSENT, step, type Names, type State } from './model.ts'

/** Tries every order of a few operations. As slow and as plain as the definition. */
export function isLinearizable(operations: readonly Operation[], names: Names): boolean {
  const tryAll = (rest: readonly Operation[], state: State): boolean => {
    if (rest.every(({ end }) => end === Infinity)) return true
    const firstEnd = Math.min(...rest.map(({ end }) => end))
    return rest.some((one) => {
      if (one.call > firstEnd) return false
      const next = step(one, state, names)
      return (
        next !== undefined &&
        tryAll(
          rest.filter((other) => other !== one),
          next,
        )
      )
    })
  }
  return tryAll(operations, ABSENT)
}

const KINDS = ['get', 'get', 'set', 'create', 'update', 'cas', 'delete', 'cad'] as const

/** A small history of one key: answers come from a possible order, and one in two is then changed. */
export function drawOperations(random: Random): Operation[] {
  const count = random.int(1, 8)
  const values = Array.from({ length: count }, (_, n) => `0.${n}`)
  const spans = drawSpans(random, count)
  let state = ABSENT
  const drawn = spans.map(({ call, end }, n): Operation => {
    const request = drawRequest(random, values[n] ?? '', values)
    const answer = answerOf(request, state)
    const isCarriedOut = end !== Infinity || random.chance(0.5)
    if (isCarriedOut) state = after(request, state)
    const isRead = request.f === 'get'
    const base = { op: n + 1, p: n, ep: 'a', request, call }
    return end === Infinity && !isRead
      ? { ...base, end }
      : { ...base, end: Math.min(end, 1000), answer }
  })
  return random.chance(0.5) ? drawn : change(random, drawn, values)
}

/** Calls and ends around ever later moments, some of which overlap, some of which never end. */
function drawSpans(random: Random, count: number): { call: number; end: number }[] {
  return Array.from({ length: count }, (_, n) => {
    const call = n * 10 - random.int(0, 25) + random.next() / 2
    const end = n * 10 + random.int(1, 25) + random.next() / 2
    return { call, end: random.chance(0.15) ? Infinity : end }
  })
}

function drawRequest(random: Random, v: string, values: readonly string[]): Request {
  const f = random.pick(KINDS)
  const exp = random.pick(values)
  if (f === 'cas') return { f, k: '/k', v, exp }
  if (f === 'cad') return { f, k: '/k', exp }
  return f === 'get' || f === 'delete' ? { f, k: '/k' } : { f, k: '/k', v }
}

function answerOf({ f, exp }: Request, state: State): Answer {
  const etcdIndex = 4
  const isPresent = state !== ABSENT
  if (f === 'create' && isPresent) return { etcdIndex, code: 105 }
  if (!isPresent) return f === 'set' || f === 'create' ? { etcdIndex } : { etcdIndex, code: 100 }
  if (f === 'get') return { etcdIndex, v: state }
  if (exp !== undefined && exp !== state) return { etcdIndex, code: 101, cur: state }
  return { etcdIndex, prev: state }
}

function after(request: Request, state: State): State {
  const { f, v = ABSENT } = request
  if (answerOf(request, state).code !== undefined || f === 'get') return state
  return f === 'delete' || f === 'cad' ? ABSENT : v
}

/** Gives one operation the answer of another state. */
function change(
  random: Random,
  operations: readonly Operation[],
  values: readonly string[],
): Operation[] {
  const at = random.int(0, operations.length - 1)
  const state = random.pick([ABSENT, ...values])
  return operations.map((one, n) =>
    n === at && one.answer !== undefined ? { ...one, answer: answerOf(one.request, state) } : one,
  )
}
