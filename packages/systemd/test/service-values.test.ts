import t from 'tap'
import {
  isCleanExit,
  logText,
  NO_STATUS,
  parseSignal,
  parseStatusSet,
  statusText,
} from '../src/service/exit-status.ts'
import { formatAgo, formatTimeSpan, parseTimeSpan } from '../src/service/time-span.ts'

t.test('time spans', (tt) => {
  const table: readonly (readonly [string, number | undefined])[] = [
    ['5', 5000],
    ['1min 5.5s', 65_500],
    ['2h30m', 9_000_000],
    ['500ms', 500],
    ['250us', 0.25],
    ['.5s', 500],
    ['5 6', 11_000],
    ['1w 1d', 691_200_000],
    ['1y', 31_557_600_000],
    ['infinity', Infinity],
    ['', undefined],
    ['5.s', undefined],
    ['1,5s', undefined],
    ['-1s', undefined],
    ['5 parsecs', undefined],
    ['5 constructor', undefined],
  ]
  for (const [text, ms] of table) tt.equal(parseTimeSpan(text), ms, text)
  for (const [ms, text] of [
    [0, '0'],
    [7, '7ms'],
    [2357, '2.357s'],
    [65_003, '1min 5.003s'],
    [3_600_000, '1h'],
    [3_600_001, '1h 1ms'],
    [40 * 86_400_000, '1month 1w 2d 13h 30min'],
  ] as const) {
    tt.equal(formatTimeSpan(ms), text)
  }
  for (const [seconds, text] of [
    [0, 'now'],
    [0.158, '158ms ago'],
    [59, '59s ago'],
    [60, '1min 0s ago'],
    [301, '5min ago'],
    [3600, '1h 0min ago'],
    [7 * 3600, '7h ago'],
    [25 * 3600, '1 day 1h ago'],
    [2 * 86_400, '2 days ago'],
    [7 * 86_400, '1 week 0 days ago'],
    [8 * 86_400, '1 week 1 day ago'],
    [31 * 86_400, '1 month 0 days ago'],
    [366 * 86_400, '1 year 0 months ago'],
    [800 * 86_400, '2 years 2 months ago'],
  ] as const) {
    tt.equal(formatAgo(seconds * 1000), text)
  }
  tt.end()
})

t.test('exit statuses', (tt) => {
  const exited = (status: number) => ({ code: 'exited', status }) as const
  const killed = (status: number) => ({ code: 'killed', status }) as const
  tt.equal(logText(exited(3)), 'code=exited, status=3/NOTIMPLEMENTED')
  tt.equal(logText(exited(42)), 'code=exited, status=42/n/a')
  tt.equal(logText(killed(9)), 'code=killed, status=9/KILL')
  tt.equal(statusText(exited(3)), 'code=exited, status=3')
  tt.equal(statusText(exited(203)), 'code=exited, status=203/EXEC')
  tt.equal(statusText(exited(244)), 'code=exited, status=244/BPF')
  tt.equal(statusText(killed(15)), 'code=killed, signal=TERM')
  tt.equal(statusText({ code: 'unknown', status: 0 }), 'code=unknown')
  tt.same([parseSignal('SIGTERM'), parseSignal('USR2'), parseSignal('64')], [15, 12, 64])
  tt.same(
    [parseSignal('0'), parseSignal('65'), parseSignal('X')],
    [undefined, undefined, undefined],
  )
  tt.same(parseStatusSet('300 TERM 1').invalid, ['300'])
  const table = [
    [exited(0), true, true],
    [exited(1), false, false],
    [killed(15), true, false],
    [killed(13), true, false],
    [killed(9), false, false],
    [{ code: 'unknown', status: 0 } as const, true, true],
  ] as const
  for (const [exit, daemon, command] of table) {
    tt.same(
      [isCleanExit(exit, 'daemon', NO_STATUS), isCleanExit(exit, 'command', NO_STATUS)],
      [daemon, command],
    )
  }
  const { set } = parseStatusSet('42 KILL')
  tt.ok(isCleanExit(exited(42), 'command', set) && isCleanExit(killed(9), 'command', set))
  tt.end()
})
