import type { WireEvent } from '../helpers/answers.ts'
import type { Violation } from './violation.ts'
import type { Session, Watch, WatchLog } from './watch-log.ts'

/**
 * `may`: the API leaves it open, or it depends on what is not recorded: whether the watched node
 * existed when a directory above it was deleted, and whether an event came out of history, where
 * hidden keys and the ends of directories with the same first letters are shown (kvd.md 6.2 to 6.4).
 */
export type Match = 'must' | 'may' | 'never'

/** Whether a watch is told of an event. */
export function matchOf({ path, recursive, waitIndex }: Watch, event: WireEvent): Match {
  const { key } = event.node
  if (key === path) return 'must'
  const base = path === '/' ? '' : path
  const isMaybeHistory = waitIndex !== undefined
  if (key.startsWith(`${base}/`)) {
    if (!recursive) return 'never'
    if (!key.slice(base.length).includes('/_')) return 'must'
    return isMaybeHistory ? 'may' : 'never'
  }
  if (!REMOVALS.has(event.action)) return 'never'
  if (path.startsWith(`${key}/`)) return 'may'
  return isMaybeHistory && path.startsWith(key) ? 'may' : 'never'
}

const REMOVALS: ReadonlySet<string> = new Set(['delete', 'expire', 'compareAndDelete'])

/**
 * Checks the guarantees of watches (correctness.md 6): W1 filter, W2 and W3 order, W4 and W9
 * completeness up to the last event, W5 resuming, W6 no past, W7 and W8 one content, W10 refreshes.
 */
export function checkWatches(log: WatchLog): Violation[] {
  const truth = log.truth()
  const byIndex = new Map(truth.map((event) => [event.node.modifiedIndex, event]))
  return [
    ...log.conflicts,
    ...log.sessions.flatMap((session) => [
      ...checkEach(session, log, byIndex),
      ...checkOrder(session, byIndex),
      ...checkStart(session),
      ...checkComplete(session, truth),
    ]),
  ]
}

function nameOf({ watcher, ep, watch }: Session): string {
  const { path, recursive, stream, waitIndex } = watch
  const how = `${recursive ? ', recursive' : ''}${stream ? ', stream' : ''}`
  return `${watcher} at ${ep} (${path}${how}, from ${waitIndex ?? 'then on'})`
}

/** W1 and W10. */
function checkEach(
  session: Session,
  log: WatchLog,
  byIndex: ReadonlyMap<number, WireEvent>,
): Violation[] {
  return session.indexes.flatMap((index) => {
    const event = byIndex.get(index)
    if (log.isRefresh(index))
      return [{ id: 'W10', message: `${nameOf(session)} was told of the refresh ${index}` }]
    if (event === undefined || matchOf(session.watch, event) !== 'never') return []
    const { action, node } = event
    return [{ id: 'W1', message: `${nameOf(session)} was told of ${action} ${node.key} ${index}` }]
  })
}

/** W2 and W3. */
function checkOrder(session: Session, byIndex: ReadonlyMap<number, WireEvent>): Violation[] {
  const violations: Violation[] = []
  let last = 0
  let repeats = 0
  for (const index of session.indexes) {
    const isRepeat = index === last && repeats === 0 && isToldTwice(session, byIndex.get(index))
    repeats = isRepeat ? 1 : 0
    if (index <= last && !isRepeat)
      violations.push({
        id: 'W2',
        message: `${nameOf(session)} was told of ${index} after ${last}`,
      })
    last = index
  }
  return violations
}

/** kvd.md 6.5: a stream hears of the end of exactly the watched key twice. */
function isToldTwice({ watch }: Session, event: WireEvent | undefined): boolean {
  return (
    event !== undefined &&
    watch.stream &&
    REMOVALS.has(event.action) &&
    event.node.key === watch.path
  )
}

/** W5 and W6, as far as one session shows them. */
function checkStart(session: Session): Violation[] {
  const { watch, etcdIndex, indexes, refusal } = session
  const [first] = indexes
  const violations: Violation[] = []
  const { waitIndex } = watch
  if (refusal !== undefined) {
    const [, oldest, asked] =
      /^the requested history has been cleared \[(\d+)\/(\d+)\]$/.exec(refusal) ?? []
    if (waitIndex === undefined || Number(asked) !== waitIndex || !(Number(oldest) > waitIndex))
      violations.push({ id: 'W5', message: `${nameOf(session)} was refused: ${refusal}` })
  }
  if (first === undefined) return violations
  if (waitIndex !== undefined && first < waitIndex)
    violations.push({ id: 'W5', message: `${nameOf(session)} began with ${first}` })
  if (waitIndex === undefined && first <= (etcdIndex ?? 0))
    violations.push({
      id: 'W6',
      message: `${nameOf(session)} began with ${first}, with X-Etcd-Index ${etcdIndex}`,
    })
  return violations
}

/** W4, and with it that the first event is the right one: nothing is left out before the last. */
function checkComplete(session: Session, truth: readonly WireEvent[]): Violation[] {
  const { watch, etcdIndex = 0, indexes } = session
  const last = indexes.reduce((highest, index) => Math.max(highest, index), 0)
  const from = watch.waitIndex ?? etcdIndex + 1
  const told = new Set(indexes)
  const violations: Violation[] = []
  for (let at = lowerBound(truth, from); at < truth.length; at += 1) {
    const event = truth[at]
    const index = event?.node.modifiedIndex ?? 0
    if (event === undefined || index > last) break
    if (told.has(index) || matchOf(watch, event) !== 'must') continue
    const id = indexes[0] !== undefined && index < indexes[0] ? startOf(watch) : 'W4'
    const { action, node } = event
    const message = `${nameOf(session)} was not told of ${action} ${node.key} ${index} before ${last}`
    violations.push({ id, message })
  }
  return violations
}

function startOf({ waitIndex }: Watch): string {
  return waitIndex === undefined ? 'W6' : 'W5'
}

/** The first place with an event of at least this index. */
function lowerBound(truth: readonly WireEvent[], index: number): number {
  let low = 0
  let high = truth.length
  while (low < high) {
    const middle = (low + high) >> 1
    if ((truth[middle]?.node.modifiedIndex ?? 0) < index) low = middle + 1
    else high = middle
  }
  return low
}
