// The pure parts of the benches of clusters: command lines, bars, reports.
import t from 'tap'
import { UsageError } from '../src/bench/arguments.ts'
import { isHeld, missedBars, renderBars, type Bar } from '../src/bench/bars.ts'
import { parseOptions as parseCatchup } from '../src/bench/catchup/options.ts'
import * as catchup from '../src/bench/catchup/report.ts'
import type { Report as CatchupReport } from '../src/bench/catchup/suite.ts'
import { parseOptions as parseCluster } from '../src/bench/cluster/options.ts'
import * as cluster from '../src/bench/cluster/report.ts'
import type { LoadRow, Report as ClusterReport } from '../src/bench/cluster/suite.ts'
import { parseOptions as parseFailover } from '../src/bench/failover/options.ts'
import * as failover from '../src/bench/failover/report.ts'
import type { Loss, Report as FailoverReport } from '../src/bench/failover/suite.ts'
import { isConnectionError, longestGap } from '../src/bench/failover/writers.ts'
import type { Sample } from '../src/bench/kvd/load.ts'
import { parseMemberId } from '../src/bench/members.ts'
import { roundsOf } from '../src/bench/rounds.ts'

const machine = {
  cpu: 'processor',
  cpus: 2,
  memoryMib: 4096,
  kernel: '6.1',
  node: 'v20.0.0',
  fileSystem: 'ext4',
  load1: 0,
}

t.test(
  'a bar holds at its limit, or below it where it says so, and never without a number',
  (tt) => {
    const bar = (kind: Bar['kind'], value: number): Bar => ({ what: 'x', kind, limit: 2, value })
    tt.same(
      [1.9, 2, 2.1, NaN].map((value) => isHeld(bar('atLeast', value))),
      [false, true, true, false],
    )
    tt.same(
      [1.9, 2, 2.1, NaN].map((value) => isHeld(bar('atMost', value))),
      [true, true, false, false],
    )
    tt.same(
      [1.9, 2, 2.1, NaN].map((value) => isHeld(bar('below', value))),
      [true, false, false, false],
    )
    tt.equal(
      renderBars([bar('atLeast', 1.234), bar('below', 1)]),
      'bars\nMISSED  x: 1.23 >= 2\nheld    x: 1 < 2\n',
    )
    tt.same(missedBars([bar('atLeast', 1.234), bar('below', 1)]), ['bar missed: x: 1.23 >= 2'])
    tt.equal(renderBars([]), '')
    tt.end()
  },
)

t.test('each round changes the order of those that take part', (tt) => {
  const rounds = roundsOf(['a', 'b'], 3)
  tt.same(rounds, [
    [1, ['a', 'b']],
    [2, ['b', 'a']],
    [3, ['a', 'b']],
  ])
  tt.end()
})

t.test('a member is found by its peer URL among all', (tt) => {
  const text = JSON.stringify({
    members: [
      { id: 'a1', name: '', peerURLs: ['http://127.0.0.1:12'], clientURLs: [] },
      { id: 'b2', name: 'm2', peerURLs: ['http://127.0.0.1:1', 'http://127.0.0.1:2'] },
    ],
  })
  tt.equal(parseMemberId(text, 'http://127.0.0.1:2'), 'b2')
  tt.equal(parseMemberId(text, 'http://127.0.0.1:12'), 'a1')
  tt.equal(parseMemberId(text, 'http://127.0.0.1:3'), undefined)
  tt.end()
})

t.test('the command lines have the defaults of the bars and refuse what makes no sense', (tt) => {
  tt.match(parseCluster([]), {
    only: ['get', 'qget', 'put', 'memory'],
    through: ['leader', 'follower', 'all'],
    connections: [64, 256],
    rounds: 5,
    seconds: 5,
    etcd: true,
  })
  tt.match(parseCatchup([]), { server: 'kvd', entries: 1_000_000 })
  tt.match(parseFailover([]), { kills: 50, stops: 50, only: ['kill', 'stop', 'replace'] })
  tt.match(parseFailover(['--server', 'etcd', '--only', 'stop']), {
    server: 'etcd',
    only: ['stop'],
  })
  for (const parse of [parseCluster, parseCatchup, parseFailover]) {
    tt.equal(parse(['--help']), undefined)
    tt.throws(() => parse(['--what']), UsageError)
    tt.throws(() => parse(['x']), UsageError)
  }
  // A thread for each member needs a connection each.
  tt.throws(() => parseCluster(['--connections', '2']), UsageError)
  tt.throws(() => parseCluster(['--through', 'nobody']), UsageError)
  tt.throws(() => parseCatchup(['--entries', '0']), UsageError)
  tt.throws(() => parseCatchup(['--server', 'consul']), UsageError)
  tt.throws(() => parseFailover(['--kills', 'many']), UsageError)
  tt.end()
})

t.test('throughput at the leader is held against the bars, what others pass on is not', (tt) => {
  const report = clusterReport([
    row('put', 'leader', 64, 1100, 1000),
    row('put', 'leader', 256, 1900, 1000),
    row('put', 'follower', 64, 10, 1000),
    row('get', 'leader', 64, 3000, 1000),
  ])
  tt.same(
    cluster.barsOf(report).map(({ what, value }) => [what, value]),
    [
      ['put at 64 connections, to etcd', 1.1],
      ['put at 256 connections, to etcd', 1.9],
      ['get at 64 connections, to etcd', 3],
      ['memory of the leader, to etcd', 0.5],
    ],
  )
  tt.same(cluster.faults(report), ['bar missed: put at 256 connections, to etcd: 1.9 >= 2'])
  const text = cluster.renderReport(report)
  tt.match(text, /^put +follower +64 +10 \(10-10\) +1 000 \(1 000-1 000\) +x0\.01/m)
  tt.match(text, /^100 000 keys of 100 bytes, RSS +100\.0 +200\.0 +x0\.50$/m)
  tt.match(text, /^held +put at 64 connections, to etcd: 1\.1 >= 1\.1$/m)
  tt.end()
})

t.test('a failed request makes a row of the cluster invalid', (tt) => {
  const bad = row('get', 'all', 64, 3000, 1000, 2)
  tt.same(cluster.faults(clusterReport([bad])), [
    'kvd: get through all at 64 connections: 2 requests failed, the row is invalid',
    'etcd: get through all at 64 connections: 2 requests failed, the row is invalid',
  ])
  tt.end()
})

t.test('without etcd there are figures of the cluster and no bars', (tt) => {
  const full = clusterReport([row('put', 'leader', 64, 1000, 1000)])
  const alone: ClusterReport = {
    ...full,
    missing: '--no-etcd',
    memory: {},
    loads: full.loads.map((one) => ({ ...one, rounds: { kvd: one.rounds.kvd ?? [] } })),
  }
  tt.same(cluster.barsOf(alone), [])
  tt.same(cluster.faults(alone), [])
  tt.notMatch(cluster.renderReport(alone), 'NaN')
  tt.end()
})

t.test('catching up must not double the p99 of others, and ends with equal trees', (tt) => {
  const good = catchupReport({})
  tt.same(catchup.faults(good), [])
  const text = catchup.renderReport(good)
  tt.match(text, /^1 000 000 entries behind, caught up in 12\.35 s$/m)
  tt.match(text, /^during +1 000 +1\.0 +19\.9 +30\.0$/m)
  tt.match(text, /^held +p99 during, to before: 1\.99 < 2$/m)
  const slow = catchupReport({ during: { puts: 9, p50Ms: 1, p99Ms: 20, maxMs: 30 } })
  tt.same(catchup.faults(slow), ['bar missed: p99 during, to before: 2 < 2'])
  tt.same(catchup.faults(catchupReport({ trees: { m1: 'a', m2: 'b', m3: 'a' } })), [
    'the trees of the members differ',
  ])
  tt.match(catchup.faults(catchupReport({ isBySnapshot: false })), [/without a snapshot/])
  tt.same(catchup.faults(catchupReport({ failures: ['500 no'] })), [
    'a PUT of the fixed load failed: 500 no',
  ])
  const empty = { puts: 0, p50Ms: NaN, p99Ms: NaN, maxMs: NaN }
  tt.match(catchup.faults(catchupReport({ during: empty })), [/no PUT/, /bar missed/])
  tt.end()
})

t.test(
  'a lost leader is held against two election timeouts, a replacement against failed writes',
  (tt) => {
    const report = failoverReport({
      kill: [loss(1500, 0), loss(1700, 3), loss(2600, 0)],
      stop: [loss(100, 0)],
      replace: [loss(5000, 0), loss(6000, 0)],
    })
    tt.same(failover.faults(report), [])
    const text = failover.renderReport(report)
    tt.match(text, /^leader killed +3 +1700 +2600 +x0\.85 +x1\.30 +30 +6 +3$/m)
    tt.match(text, /^follower replaced +2 +5500 +6000 +- +- +20 +4 +0$/m)
    const worse = failoverReport({ kill: [loss(2001, 0)], replace: [loss(5000, 2)] })
    tt.same(failover.faults(worse), [
      'bar missed: leader killed, median ms: 2001 <= 2000',
      'bar missed: follower replaced, failed writes: 2 <= 0',
      '500 timed out',
    ])
    tt.end()
  },
)

t.test('the longest gap counts from the beginning to the first write, too', (tt) => {
  tt.equal(longestGap(100, [101, 103, 150, 151]), 47)
  tt.equal(longestGap(100, [190, 195]), 90)
  tt.equal(longestGap(100, [100.5]), 0.5)
  tt.end()
})

t.test(
  'a client tries again where a connection failed, not where it was answered or left waiting',
  (tt) => {
    const refused = Object.assign(new Error('connect'), { code: 'ECONNREFUSED' })
    const reset = Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
    tt.ok(isConnectionError(refused))
    tt.ok(isConnectionError(reset))
    tt.notOk(isConnectionError(new Error('no answer')))
    tt.notOk(isConnectionError('ECONNRESET'))
    tt.end()
  },
)

function sample(perSecond: number, errors: number): Sample {
  return {
    requests: perSecond,
    seconds: 1,
    errors,
    p50Ms: 1,
    p99Ms: 2,
    maxMs: 3,
    perSecond,
    cpuUsPerRequest: 50,
    fsyncs: 100,
  }
}

function row(
  operation: LoadRow['operation'],
  through: LoadRow['through'],
  connections: number,
  ours: number,
  theirs: number,
  errors = 0,
): LoadRow {
  const rounds = { kvd: [sample(ours, errors)], etcd: [sample(theirs, errors)] }
  return { operation, through, connections, rounds }
}

function clusterReport(loads: readonly LoadRow[]): ClusterReport {
  const memory = (mib: number) => ({
    empty: { rssKib: 1024, pssKib: 1024, peakKib: 1024 },
    filled: { rssKib: mib * 1024, pssKib: mib * 1024, peakKib: mib * 1024 },
  })
  return {
    bench: 'cluster',
    startedAt: '2016-01-01T00:00:00.000Z',
    machine,
    versions: { kvd: '0.1.0', etcd: '3.4.23' },
    missing: undefined,
    rounds: 1,
    secondsPerRun: 1,
    keys: 10_000,
    valueBytes: 100,
    loads,
    memory: { kvd: memory(100), etcd: memory(200) },
  }
}

function catchupReport(differing: Partial<CatchupReport>): CatchupReport {
  return {
    bench: 'catchup',
    startedAt: '2016-01-01T00:00:00.000Z',
    machine,
    server: 'kvd 0.1.0',
    keys: 100_000,
    rate: 500,
    behind: 1_000_000,
    catchUpMs: 12_345,
    isBySnapshot: true,
    before: { puts: 1000, p50Ms: 1, p99Ms: 10, maxMs: 20 },
    during: { puts: 1000, p50Ms: 1, p99Ms: 19.9, maxMs: 30 },
    after: { puts: 1000, p50Ms: 1, p99Ms: 10, maxMs: 20 },
    failures: [],
    trees: { m1: 'a', m2: 'a', m3: 'a' },
    ...differing,
  }
}

function loss(tookMs: number, failed: number): Loss {
  return { tookMs, writes: { acknowledged: 10, retried: 2, failed } }
}

function failoverReport(losses: FailoverReport['losses']): FailoverReport {
  return {
    bench: 'failover',
    startedAt: '2016-01-01T00:00:00.000Z',
    machine,
    server: 'kvd 0.1.0',
    losses,
    failures: ['500 timed out', '500 timed out'],
  }
}
