import t from 'tap'
import type { Entry, Message } from '../../src/raft/types.ts'
import { AppendStats } from '../../src/transport/traffic.ts'

function entry(index: number, bytes: number): Entry {
  return { index, term: 1, kind: 'request', id: '', data: new Uint8Array(bytes), chain: 0 }
}

function append(to: string, ...entries: Entry[]): Message {
  const body = { type: 'app', prevIndex: 0, prevTerm: 0, prevChain: 0, entries, commit: 0 } as const
  return { ...body, from: 'a', to, term: 1, incarnation: 1 }
}

function answer(from: string, index: number): Message {
  return { type: 'appResp', from, to: 'a', term: 1, incarnation: 1, index, isDamaged: false }
}

const beat: Message = {
  type: 'hb',
  from: 'a',
  to: 'b',
  term: 1,
  commit: 0,
  life: 0,
  incarnation: 1,
  readBatch: 0,
  clusterMs: 0,
}
const NEVER = { current: 0, average: 0, standardDeviation: 0, minimum: 0, maximum: 0 }

function bench(): { stats: AppendStats; clock: { now: number } } {
  const clock = { now: 1000 }
  return { stats: new AppendStats(() => clock.now), clock }
}

t.test('before anything was sent there are counts, and no rates', async (tt) => {
  const { stats } = bench()
  tt.strictSame(stats.self(), { recvAppendRequestCnt: 0, sendAppendRequestCnt: 0 })
  tt.same(stats.followers([]), {})
  tt.strictSame(stats.followers(['b']), {
    b: { latency: NEVER, counts: { fail: 0, success: 0 } },
  })
  stats.sent(append('b', entry(1, 10)))
  const { sendAppendRequestCnt, ...rest } = { sendAppendRequestCnt: 0, ...stats.self() }
  tt.equal(sendAppendRequestCnt, 1)
  tt.same(rest, { recvAppendRequestCnt: 0 }, 'one tells no rate')
})

t.test('appends and their bytes a second, of this way and that', async (tt) => {
  const { stats, clock } = bench()
  for (let count = 0; count < 5; count += 1) {
    stats.sent(append('b', entry(1, 60), entry(2, 40)))
    stats.sent(beat)
    if (count % 2 === 0) stats.received(append('a', entry(1, 10)))
    stats.received({ ...beat, to: 'a' })
    clock.now += 250
  }
  // From first to last 1000 ms went by.
  tt.strictSame(stats.self(), {
    recvAppendRequestCnt: 3,
    recvPkgRate: 3,
    recvBandwidthRate: 30,
    sendAppendRequestCnt: 5,
    sendPkgRate: 5,
    sendBandwidthRate: 500,
  })
})

t.test('rates are those of the last 200', async (tt) => {
  const { stats, clock } = bench()
  for (let count = 0; count < 1000; count += 1) {
    stats.sent(append('b', entry(1, 1)))
    clock.now += count < 700 ? 1000 : 1
  }
  const rates = { sendAppendRequestCnt: 0, sendPkgRate: 0, ...stats.self() }
  tt.equal(rates.sendAppendRequestCnt, 1000)
  tt.equal(rates.sendPkgRate, (200 * 1000) / 199)
})

t.test('how long a follower took', async (tt) => {
  const { stats, clock } = bench()
  const tries: [sentIndex: number, tookMs: number][] = [
    [1, 4],
    [2, 8],
    [3, 6],
  ]
  for (const [index, tookMs] of tries) {
    stats.sent(append('b', entry(index, 1)))
    clock.now += tookMs
    stats.received(answer('b', index))
  }
  tt.match(stats.followers(['b', 'c']), {
    b: {
      latency: { current: 6, average: 6, minimum: 4, maximum: 8 },
      counts: { fail: 0, success: 3 },
    },
    c: { latency: NEVER, counts: { fail: 0, success: 0 } },
  })
  const shown = JSON.stringify(stats.followers(['b']))
  const deviation = Number(/"standardDeviation":([\d.]+)/.exec(shown)?.[1])
  tt.ok(Math.abs(deviation - Math.sqrt(8 / 3)) < 1e-9, `of 4, 8 and 6: ${deviation}`)
})

t.test(
  'of appends on their way at once the first is timed, and every answer counts',
  async (tt) => {
    const { stats, clock } = bench()
    for (const index of [1, 2, 3]) {
      stats.sent(append('b', entry(index, 1)))
      clock.now += 10
    }
    stats.received(answer('b', 1))
    clock.now += 100
    stats.received(answer('b', 2))
    stats.received(answer('b', 3))
    tt.match(stats.followers(['b']), {
      b: { latency: { current: 30, average: 30, maximum: 30 }, counts: { success: 3 } },
    })
    stats.sent(append('b', entry(9, 1)))
    clock.now += 1
    stats.received(answer('b', 8))
    clock.now += 1
    stats.received(answer('b', 9))
    tt.match(
      stats.followers(['b']),
      { b: { latency: { current: 2, minimum: 2 } } },
      'not an older one',
    )
  },
)

t.test('what could not be sent is a failure, and not waited for', async (tt) => {
  const { stats, clock } = bench()
  stats.sent(append('b', entry(1, 1)))
  stats.failed('b')
  clock.now += 1000
  stats.sent(append('b', entry(2, 1)))
  clock.now += 5
  stats.received(answer('b', 2))
  tt.match(stats.followers(['b']), {
    b: { latency: { maximum: 5 }, counts: { fail: 1, success: 1 } },
  })
})

t.test('members that are gone are forgotten', async (tt) => {
  const { stats } = bench()
  stats.failed('b')
  tt.same(Object.keys(stats.followers(['c'])), ['c'])
  tt.match(stats.followers(['b']), { b: { counts: { fail: 0 } } })
})
