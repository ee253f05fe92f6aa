import { mock } from 'node:test'
import { setImmediate as breathe } from 'node:timers/promises'
import { test } from 'tap'
import type { Test } from 'tap'
import type { Call, ClusterAnswer } from '../src/cluster.ts'
import { pollSession } from '../src/watch/poll.ts'
import type { Session, SessionItem } from '../src/watch/session.ts'

const GRACE_MS = 10
const RENEW_MS = 1000

/** A member whose polls the test answers piece by piece. */
interface Member {
  readonly polls: Call[]
  readonly answer: (poll: number, body: string) => void
}

function watching(t: Test): Member & { readonly session: Session } {
  mock.timers.enable({ apis: ['setTimeout'] })
  t.teardown(() => mock.timers.reset())
  const polls: Call[] = []
  const resolves: ((answer: ClusterAnswer) => void)[] = []
  const cluster = {
    call: (call: Call): Promise<ClusterAnswer> => {
      polls.push(call)
      return new Promise((resolve) => resolves.push(resolve))
    },
  }
  const { signal } = new AbortController()
  const target = { key: '/a', recursive: false, after: 3 }
  return {
    polls,
    answer: (poll, body) =>
      resolves[poll]?.({ status: 200, headers: {}, body, endpoint: 'http://x' }),
    session: pollSession(target, {
      cluster,
      keysPrefix: '/v2/keys',
      signal,
      graceMs: GRACE_MS,
      renewMs: RENEW_MS,
    }),
  }
}

/** Lets the time pass, and everything that follows from it happen. */
async function pass(ms: number): Promise<void> {
  await breathe()
  mock.timers.tick(ms)
  await breathe()
}

const headers = (index: number) => ({ 'x-etcd-index': String(index) })
const EVENT = JSON.stringify({
  action: 'set',
  node: { key: '/a', value: 'v', modifiedIndex: 5, createdIndex: 5 },
})
const told = async (next: Promise<IteratorResult<SessionItem, void>>): Promise<unknown> =>
  (await next).value

test('a quiet poll has come as far as its headers say, when its time of grace is over', async (t) => {
  const { polls, session } = watching(t)
  const next = session.next()
  await breathe()
  polls[0]?.onHeaders?.(200, headers(10))
  await pass(GRACE_MS)
  t.strictSame(await told(next), { type: 'progress', index: 10 })
})

test('an event that comes slowly is never taken for none', async (t) => {
  const { polls, answer, session } = watching(t)
  const next = session.next()
  await breathe()
  polls[0]?.onHeaders?.(200, headers(10))
  await breathe()
  for (let piece = 0; piece < 5; piece++) {
    polls[0]?.onData?.()
    await pass(RENEW_MS - 1)
  }
  answer(0, EVENT)
  t.match(await told(next), { type: 'event', response: { node: { modifiedIndex: 5 } } })
})

test('a renewal confirms nothing while the poll before it brings an event', async (t) => {
  const { polls, answer, session } = watching(t)
  const next = session.next()
  await pass(RENEW_MS)
  t.equal(polls.length, 2)
  polls[0]?.onHeaders?.(200, headers(4))
  polls[0]?.onData?.()
  polls[1]?.onHeaders?.(200, headers(10))
  await pass(GRACE_MS)
  answer(0, EVENT)
  t.match(await told(next), { type: 'event' })
})

test('what came while the process stood still counts before the time that went by', async (t) => {
  const { polls, answer, session } = watching(t)
  const next = session.next()
  await breathe()
  polls[0]?.onHeaders?.(200, headers(10))
  await breathe()
  // A turn of the event loop: timers that are due, then what sockets bring, then immediates.
  mock.timers.tick(GRACE_MS)
  process.nextTick(() => polls[0]?.onData?.())
  await breathe()
  answer(0, EVENT)
  t.match(await told(next), { type: 'event' })
})

test('an event that stands still in the middle is asked for again', async (t) => {
  const { polls, session } = watching(t)
  const next = session.next()
  await breathe()
  polls[0]?.onHeaders?.(200, headers(10))
  polls[0]?.onData?.()
  const failed = t.rejects(next, { code: 'HEADER_TIMEOUT' })
  await pass(RENEW_MS)
  await failed
})

test('the body of an error that leads to another member is not the beginning of an event', async (t) => {
  const { polls, session } = watching(t)
  const next = session.next()
  await breathe()
  polls[0]?.onHeaders?.(503, {})
  polls[0]?.onData?.()
  polls[0]?.onHeaders?.(200, headers(10))
  await pass(GRACE_MS)
  t.strictSame(await told(next), { type: 'progress', index: 10 })
})
