import t from 'tap'
import { UsageError } from '../src/bench/arguments.ts'
import { parseOptions } from '../src/bench/kvd/options.ts'
import { faults, renderReport } from '../src/bench/kvd/report.ts'
import type { Sample } from '../src/bench/kvd/load.ts'
import type { Report } from '../src/bench/kvd/suite.ts'
import { maskedFrame } from '../src/bench/kvd/watchers.ts'
import { parseCpuSeconds, parseKib, parseMetric } from '../src/bench/proc.ts'
import { pairedRatio, percentile, spread } from '../src/bench/stats.ts'
import {
  formatCount,
  formatMs,
  formatRatio,
  formatSpread,
  renderTable,
} from '../src/bench/table.ts'
import { parseResult } from '../src/bench/wrk.ts'

t.test('the median of an odd series is its middle, of an even one the mean of the two', (tt) => {
  tt.same(spread([30, 10, 20]), { median: 20, min: 10, max: 30 })
  tt.same(spread([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4 })
  tt.same(spread([7]), { median: 7, min: 7, max: 7 })
  tt.throws(() => spread([]), RangeError)
  tt.end()
})

t.test('numbers are ordered by value, not as text', (tt) => {
  tt.same(spread([9, 100, 20]), { median: 20, min: 9, max: 100 })
  tt.end()
})

t.test('a percentile is the nearest rank: always a value that was measured', (tt) => {
  const hundred = Array.from({ length: 100 }, (_, n) => 100 - n)
  tt.equal(percentile(hundred, 50), 50)
  tt.equal(percentile(hundred, 99), 99)
  tt.equal(percentile(hundred, 100), 100)
  tt.equal(percentile([5, 6], 50), 5)
  tt.equal(percentile([5, 6], 51), 6)
  tt.equal(percentile([5], 1), 5)
  tt.throws(() => percentile([1], 0), RangeError)
  tt.throws(() => percentile([1], 101), RangeError)
  tt.throws(() => percentile([], 50), RangeError)
  tt.end()
})

t.test('ratios are taken round by round', (tt) => {
  // The ratio of the medians would be 1.
  tt.same(pairedRatio([10, 20, 60], [20, 10, 20]), { median: 2, min: 0.5, max: 3 })
  tt.throws(() => pairedRatio([1, 2], [1]), RangeError)
  tt.end()
})

t.test('a table aligns text to the left, numbers to the right, without trailing blanks', (tt) => {
  const columns = [
    { title: 'operation', align: 'left' },
    { title: 'n', align: 'right' },
    { title: 'last', align: 'left' },
  ] as const
  const rows = [
    ['get', '1', 'x'],
    ['put', '1 000', ''],
  ]
  tt.equal(
    renderTable(columns, rows),
    ['operation      n  last', 'get            1  x', 'put        1 000', ''].join('\n'),
  )
  tt.end()
})

t.test('figures keep the digits that tell two apart', (tt) => {
  tt.equal(formatCount(1234567.4), '1 234 567')
  tt.equal(formatCount(999), '999')
  tt.equal(formatMs(0.4249), '0.42')
  tt.equal(formatMs(12.34), '12.3')
  tt.equal(formatMs(150.4), '150')
  tt.equal(formatRatio(1.836), 'x1.84')
  tt.equal(formatSpread({ median: 2, min: 1, max: 3 }, formatRatio), 'x2.00 (x1.00-x3.00)')
  tt.end()
})

t.test('processor time is read behind the name, whatever the name holds', (tt) => {
  const fields = 'S 1 2 3 4 5 6 7 8 9 10 250 50 7 8 20 0 11 0'
  tt.equal(parseCpuSeconds(`42 (node) ${fields}`), 3)
  tt.equal(parseCpuSeconds(`42 (a) b (c) ${fields}`), 3)
  tt.throws(() => parseCpuSeconds('42 (node) S'), /not a/)
  tt.end()
})

t.test('memory and metrics are read by their whole name', (tt) => {
  const rollup = 'Rss:                2048 kB\nPss:                1024 kB\nPss_Dirty:  1 kB\n'
  tt.equal(parseKib(rollup, 'Rss'), 2048)
  tt.equal(parseKib(rollup, 'Pss'), 1024)
  tt.throws(() => parseKib(rollup, 'VmHWM'), /VmHWM/)
  const metrics = '# TYPE a summary\na_count_more 9\na_count 1.5e+06\na_sum 3\n'
  tt.equal(parseMetric(metrics, 'a_count'), 1_500_000)
  tt.equal(parseMetric(metrics, 'a'), undefined)
  tt.end()
})

t.test('every kind of failed request is counted in the result of the load generator', (tt) => {
  const result = parseResult(
    'Running 5s test @ http://127.0.0.1:1\n' +
      'result requests=1000 us=5000000 status=1 connect=2 read=3 write=4 timeout=5 p50=250 p99=1500 max=9000\n',
  )
  tt.same(result, { requests: 1000, seconds: 5, errors: 15, p50Ms: 0.25, p99Ms: 1.5, maxMs: 9 })
  tt.throws(() => parseResult('Running 5s test\n'), /no result/)
  tt.throws(() => parseResult('result requests=1000 us=\n'), /no us/)
  tt.end()
})

t.test('a client frame is final, text, masked, with its length', (tt) => {
  const frame = maskedFrame('{"op":"watch"}')
  tt.same([...frame.subarray(0, 6)], [0x81, 0x80 | 14, 0, 0, 0, 0])
  tt.equal(frame.subarray(6).toString(), '{"op":"watch"}')
  tt.throws(() => maskedFrame('x'.repeat(126)), RangeError)
  tt.end()
})

t.test('the command line has the defaults of the report and refuses what makes no sense', (tt) => {
  const options = parseOptions([])
  tt.match(options, {
    rounds: 5,
    seconds: 5,
    connections: [1, 16, 64, 256],
    json: false,
    etcd: true,
  })
  tt.same(options?.only, ['get', 'qget', 'put', 'mixed', 'watch', 'memory'])
  tt.match(parseOptions(['--only', 'put,watch', '--connections', '8', '--json', '--no-etcd']), {
    only: ['put', 'watch'],
    connections: [8],
    json: true,
    etcd: false,
  })
  tt.equal(parseOptions(['--help']), undefined)
  for (const wrong of [
    ['--only', 'sing'],
    ['--rounds', '0'],
    ['--rounds', '1.5'],
    ['--what'],
    ['x'],
  ])
    tt.throws(() => parseOptions(wrong), UsageError, wrong.join(' '))
  tt.end()
})

t.test('the report prints medians, ratios by round, fsyncs, fan-out and memory', (tt) => {
  const text = renderReport(report(0))
  tt.match(text, 'kvd 0.1.0, etcd 3.4.23')
  const line = text.split('\n').find((candidate) => candidate.startsWith('put'))
  tt.match(line, /^put +16 +3 000 \(2 000-4 000\) +1 000 \(1 000-1 500\) +x2\.00 \(x2\.00-x4\.00\)/)
  tt.match(text, /^put +16 +kvd +9 000 +300 +30\.0$/m)
  tt.match(text, /^kvd +http .*x0\.50 \(x0\.50-x0\.50\)$/m)
  tt.match(text, /^100 000 keys of 100 bytes, RSS +100\.0 +200\.0 +x0\.50$/m)
  tt.same(faults(report(0)), [])
  tt.end()
})

t.test('a single failed request makes the row invalid', (tt) => {
  tt.same(faults(report(1)), [
    'kvd: put at 16 connections: 3 requests failed, the row is invalid',
    'etcd: put at 16 connections: 3 requests failed, the row is invalid',
  ])
  tt.end()
})

t.test('without etcd the report holds our figures and says why there is no comparison', (tt) => {
  const full = report(0)
  const rounds = { kvd: full.loads[0]?.rounds.kvd ?? [] }
  const alone: Report = {
    ...full,
    missing: 'there is no etcd on this machine',
    loads: [{ operation: 'get', connections: 1, rounds }],
    watches: full.watches.filter((row) => row.server === 'kvd'),
    memory: {},
  }
  const text = renderReport(alone)
  tt.match(text, 'no comparison: there is no etcd on this machine')
  tt.match(text, /^get +1 +3 000 \(2 000-4 000\) +- +- /m)
  tt.notMatch(text, 'NaN')
  tt.end()
})

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

function report(errors: number): Report {
  const memory = (mib: number) => ({
    empty: { rssKib: 1024, pssKib: 1024, peakKib: 1024 },
    filled: { rssKib: mib * 1024, pssKib: mib * 1024, peakKib: mib * 1024 },
  })
  const rows = (p99Ms: number) => [{ p50Ms: 1, p99Ms, maxMs: 30 }]
  return {
    bench: 'kvd',
    startedAt: '2016-01-01T00:00:00.000Z',
    machine: {
      cpu: 'processor',
      cpus: 2,
      memoryMib: 4096,
      kernel: '6.1',
      node: 'v20.0.0',
      fileSystem: 'ext4',
      load1: 0,
    },
    versions: { kvd: '0.1.0', etcd: '3.4.23' },
    missing: undefined,
    rounds: 3,
    secondsPerRun: 1,
    keys: 10_000,
    valueBytes: 100,
    watchers: 1000,
    loads: [
      {
        operation: 'put',
        connections: 16,
        rounds: {
          kvd: [3000, 2000, 4000].map((perSecond) => sample(perSecond, errors)),
          etcd: [1500, 1000, 1000].map((perSecond) => sample(perSecond, errors)),
        },
      },
    ],
    watches: [
      { server: 'kvd', transport: 'http', rounds: rows(10) },
      { server: 'etcd', transport: 'http', rounds: rows(20) },
    ],
    memory: { kvd: memory(100), etcd: memory(200) },
  }
}
