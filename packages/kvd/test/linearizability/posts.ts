import type { Operation } from './history.ts'
import type { Violation } from './violation.ts'

/**
 * Directories of posts, which only ever grow: P1 a post is named by its index, P2 no post is there
 * twice, P3 a list through the log shows every post acknowledged before it was asked for, P4 none
 * that was sent after it was answered or never, P5 a list has no holes: with a post it shows all
 * that any other answer knows with a lower index.
 */
export function checkPosts(operations: readonly Operation[]): Violation[] {
  const directories = new Map<string, Operation[]>()
  for (const operation of operations) {
    const { f, k } = operation.request
    if (f !== 'post' && f !== 'list') continue
    const known = directories.get(k)
    if (known === undefined) directories.set(k, [operation])
    else known.push(operation)
  }
  return [...directories.values()].flatMap(checkDirectory)
}

function checkDirectory(operations: readonly Operation[]): Violation[] {
  const posts = operations.filter(({ request }) => request.f === 'post')
  const sentAt = new Map(posts.map(({ request, call }) => [request.v, call]))
  const known = new Map<number, string>()
  for (const { request, answer } of operations) {
    if (answer?.mod !== undefined && request.v !== undefined) known.set(answer.mod, request.v)
    for (const { mod, v } of answer?.items ?? []) known.set(mod, v)
  }
  return operations.flatMap((operation) =>
    operation.request.f === 'post'
      ? checkPost(operation)
      : checkList(operation, posts, sentAt, known),
  )
}

function checkPost({ op, request, answer }: Operation): Violation[] {
  if (answer === undefined) return []
  if (answer.code !== undefined)
    return [{ id: 'P1', message: `${request.k}: op ${op} was refused with ${answer.code}` }]
  const { name, mod = 0, created } = answer
  return name === nameOf(mod) && created === mod
    ? []
    : [{ id: 'P1', message: `${request.k}: op ${op} made ${name} at ${mod}, created ${created}` }]
}

/** kvd.md 4: the index as 20 digits. */
function nameOf(index: number): string {
  return String(index).padStart(20, '0')
}

function checkList(
  { op, request, answer, call, end }: Operation,
  posts: readonly Operation[],
  sentAt: ReadonlyMap<string | undefined, number>,
  known: ReadonlyMap<number, string>,
): Violation[] {
  const items = answer?.items ?? []
  const shown = new Set(items.map(({ v }) => v))
  const where = `${request.k}: op ${op}`
  const violations: Violation[] = []
  const report = (id: string, message: string): void =>
    void violations.push({ id, message: `${where} ${message}` })
  if (answer?.code !== undefined && answer.code !== 100) report('P3', `failed with ${answer.code}`)
  if (shown.size < items.length) report('P2', 'shows a post twice')
  for (const { name, v, mod } of items) {
    if (name !== nameOf(mod)) report('P1', `shows ${v} as ${name} with index ${mod}`)
    const sent = sentAt.get(v)
    if (sent === undefined) report('P4', `shows ${v}, which was never carried out`)
    else if (sent > end) report('P4', `shows ${v}, which was sent later`)
  }
  if (request.isLocal !== true)
    for (const post of posts) {
      const { v = '' } = post.request
      if (post.end < call && post.answer?.code === undefined && !shown.has(v))
        report('P3', `lacks ${v}, acknowledged to op ${post.op} before`)
    }
  const last = Math.max(0, ...items.map(({ mod }) => mod))
  for (const [mod, v] of known)
    if (mod < last && !shown.has(v)) report('P5', `lacks ${v} of ${mod}, and shows ${last}`)
  return violations
}
