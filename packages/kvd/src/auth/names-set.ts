import { compareText } from '../store/text.ts'
import type { Names } from './json.ts'

/** Who hears of a name that cannot be added or removed; throws to refuse it, returns to skip it. */
export type Objection = (name: string) => void

/** The names with `added`, sorted by bytes. Null is an empty list from then on. */
export function addNames(
  before: Names,
  added: readonly string[],
  onDuplicate: Objection,
): readonly string[] {
  const set = new Set(before)
  for (const name of added) {
    if (set.has(name)) onDuplicate(name)
    set.add(name)
  }
  return [...set].toSorted(compareText)
}

/** The names without `removed`, sorted by bytes. */
export function removeNames(
  before: Names,
  removed: readonly string[],
  onMissing: Objection,
): readonly string[] {
  const set = new Set(before)
  for (const name of removed) if (!set.delete(name)) onMissing(name)
  return [...set].toSorted(compareText)
}

/** Go's DeepEqual: an empty list is not null, and order counts. */
export function isSame(left: Names, right: Names): boolean {
  if (left === null || right === null) return left === right
  return left.length === right.length && left.every((name, at) => name === right[at])
}
