import type { Answer, Operation } from './history.ts'
import type { Violation } from './violation.ts'

/** A value that an answer showed, with its index. */
interface Sighting {
  readonly op: number
  readonly key: string
  readonly value: string
  readonly mod: number
  readonly created: number | undefined
}

/**
 * The order across keys, which is that of the one log (correctness.md 4.4):
 * I1 a value has one modifiedIndex (and one createdIndex), I2 an index belongs to one write,
 * I3 createdIndex <= modifiedIndex, I4 a write that began after another was acknowledged has the
 * larger index, I5 an answer through the log has an X-Etcd-Index at least that of everything
 * acknowledged before it was asked for, I6 modifiedIndex <= X-Etcd-Index.
 */
export function checkOrder(operations: readonly Operation[]): Violation[] {
  const sightings = operations.flatMap(sightingsOf)
  return [
    ...checkValues(sightings),
    ...checkIndexes(operations, sightings),
    ...checkSingle(operations, sightings),
    ...checkRealTime(operations, sightings),
  ]
}

function sightingsOf({ op, request, answer }: Operation): Sighting[] {
  if (answer === undefined) return []
  const { mod, created, prev, prevMod, items = [], name } = answer
  const value = request.f === 'get' ? answer.v : request.v
  const key = name === undefined ? request.k : `${request.k}/${name}`
  const found: Sighting[] = []
  if (mod !== undefined && value !== undefined && answer.code === undefined)
    found.push({ op, key, value, mod, created })
  if (prev !== undefined && prevMod !== undefined)
    found.push({ op, key, value: prev, mod: prevMod, created: undefined })
  for (const item of items)
    found.push({
      op,
      key: `${request.k}/${item.name}`,
      value: item.v,
      mod: item.mod,
      created: undefined,
    })
  return found
}

/** I1. */
function checkValues(sightings: readonly Sighting[]): Violation[] {
  const violations: Violation[] = []
  const known = new Map<string, Sighting>()
  for (const seen of sightings) {
    const before = known.get(seen.value)
    if (before === undefined) known.set(seen.value, seen)
    else {
      if (before.mod !== seen.mod)
        violations.push({
          id: 'I1',
          message: `${seen.key}: value ${seen.value} has index ${before.mod} in op ${before.op} and ${seen.mod} in op ${seen.op}`,
        })
      if (before.created === undefined) known.set(seen.value, { ...before, created: seen.created })
      else if (seen.created !== undefined && seen.created !== before.created)
        violations.push({
          id: 'I1',
          message: `${seen.key}: value ${seen.value} was created at ${before.created} in op ${before.op} and at ${seen.created} in op ${seen.op}`,
        })
    }
  }
  return violations
}

/** I2. */
function checkIndexes(
  operations: readonly Operation[],
  sightings: readonly Sighting[],
): Violation[] {
  const owners = new Map<number, { readonly what: string; readonly op: number }>()
  const violations: Violation[] = []
  const own = (mod: number, what: string, op: number): void => {
    const owner = owners.get(mod)
    if (owner === undefined) owners.set(mod, { what, op })
    else if (owner.what !== what)
      violations.push({
        id: 'I2',
        message: `index ${mod} is ${owner.what} in op ${owner.op} and ${what} in op ${op}`,
      })
  }
  for (const { mod, key, value, op } of sightings) own(mod, `${key}=${value}`, op)
  for (const { op, request, answer } of operations)
    if (isRemoval(request.f) && answer?.mod !== undefined && answer.code === undefined)
      own(answer.mod, `the end of ${request.k} by op ${op}`, op)
  return violations
}

function isRemoval(f: string): boolean {
  return f === 'delete' || f === 'cad'
}

/** I3, I6, and that a comparison by index had the index it asked for. */
function checkSingle(
  operations: readonly Operation[],
  sightings: readonly Sighting[],
): Violation[] {
  const violations: Violation[] = []
  const indexes = new Map(operations.map(({ op, answer }) => [op, answer?.etcdIndex ?? 0]))
  for (const { op, key, mod, created } of sightings) {
    if (created !== undefined && created > mod)
      violations.push({
        id: 'I3',
        message: `${key}: created at ${created} after ${mod} in op ${op}`,
      })
    const etcdIndex = indexes.get(op) ?? 0
    if (mod > etcdIndex)
      violations.push({
        id: 'I6',
        message: `${key}: index ${mod} in op ${op}, whose X-Etcd-Index is ${etcdIndex}`,
      })
  }
  for (const { op, request, answer } of operations) {
    const { at } = request
    if (at === undefined || answer === undefined || answer.code !== undefined) continue
    if (answer.prevMod !== at)
      violations.push({
        id: 'I1',
        message: `${request.k}: op ${op} compared with index ${at} and replaced ${answer.prevMod}`,
      })
  }
  return violations
}

/** I4 and I5: a walk through calls and answers in their order, with the highest index acknowledged. */
function checkRealTime(
  operations: readonly Operation[],
  sightings: readonly Sighting[],
): Violation[] {
  const indexOf = new Map(sightings.map(({ value, mod }) => [value, mod]))
  const ends = operations
    .filter(({ answer }) => answer !== undefined)
    .toSorted((left, right) => left.end - right.end)
  const violations: Violation[] = []
  let at = 0
  let written = { index: 0, op: 0 }
  let seen = { index: 0, op: 0 }
  for (const { op, call, request, answer } of operations) {
    for (let next = ends[at]; next !== undefined && next.end < call; next = ends[at]) {
      at += 1
      const index = highest(next.answer)
      if (index > seen.index) seen = { index, op: next.op }
      const own = writtenBy(next)
      if (own > written.index) written = { index: own, op: next.op }
    }
    // A write without an answer may have been seen all the same, by its value.
    const own = answer?.mod ?? (answer === undefined ? indexOf.get(request.v ?? '') : undefined)
    const isOwn = request.f !== 'get' && request.f !== 'list' && answer?.code === undefined
    if (isOwn && own !== undefined && own <= written.index)
      violations.push({
        id: 'I4',
        message: `${request.k}: op ${op} has index ${own}, not above ${written.index} of op ${written.op}, which was acknowledged before`,
      })
    if (answer !== undefined && request.isLocal !== true && answer.etcdIndex < seen.index)
      violations.push({
        id: 'I5',
        message: `${request.k}: op ${op} has X-Etcd-Index ${answer.etcdIndex}, below ${seen.index} of op ${seen.op}, which was answered before`,
      })
  }
  return violations
}

function writtenBy({ request, answer }: Operation): number {
  const isOwn = request.f !== 'get' && request.f !== 'list' && answer?.code === undefined
  return isOwn ? (answer?.mod ?? 0) : 0
}

/** Whatever an answer shows is in the log, and committed. */
function highest(answer: Answer | undefined): number {
  if (answer === undefined) return 0
  const { etcdIndex, mod = 0, prevMod = 0 } = answer
  return Math.max(etcdIndex, mod, prevMod)
}
