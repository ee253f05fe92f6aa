const MS = 1
const SECOND = 1000 * MS
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const WEEK = 7 * DAY
const MONTH = 2_629_800 * SECOND
const YEAR = 31_557_600 * SECOND

const UNITS: ReadonlyMap<string, number> = new Map(
  (
    [
      [MS / 1000, 'usec us µs'],
      [MS, 'msec ms'],
      [SECOND, 'seconds second sec s'],
      [MINUTE, 'minutes minute min m'],
      [HOUR, 'hours hour hr h'],
      [DAY, 'days day d'],
      [WEEK, 'weeks week w'],
      [MONTH, 'months month M'],
      [YEAR, 'years year y'],
    ] as const
  ).flatMap(([factor, names]) => names.split(' ').map((name) => [name, factor] as const)),
)

/** Milliseconds of a span such as `1min 30s`, `500ms` or `infinity`; a bare number is seconds. Undefined when it is none. */
export function parseTimeSpan(text: string): number | undefined {
  const source = text.trim()
  if (source === 'infinity') return Infinity
  const parts = [...source.matchAll(/\s*(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-zµ]*)/gy)]
  const length = parts.reduce((sum, part) => sum + part[0].length, 0)
  if (parts.length === 0 || length !== source.length) return undefined
  let total = 0
  for (const [, number = '', unit = ''] of parts) {
    const factor = unit === '' ? SECOND : UNITS.get(unit)
    if (factor === undefined) return undefined
    total += Number(number) * factor
  }
  return total
}

/** A duration as systemd prints it, e.g. `2.357s`, `1min 5.003s`, `977us` (systemd 252 `format_timespan`, accuracy 1 ms). */
export function formatTimeSpan(ms: number): string {
  const parts: string[] = []
  let rest = Math.max(0, Math.floor(ms))
  for (const [unit, factor] of [
    ['y', YEAR],
    ['month', MONTH],
    ['w', WEEK],
    ['d', DAY],
    ['h', HOUR],
    ['min', MINUTE],
  ] as const) {
    if (rest < factor) continue
    parts.push(`${Math.floor(rest / factor)}${unit}`)
    rest %= factor
  }
  if (rest >= SECOND) {
    const fraction = rest % SECOND
    const digits = fraction === 0 ? '' : `.${String(fraction).padStart(3, '0')}`
    parts.push(`${Math.floor(rest / SECOND)}${digits}s`)
  } else if (rest > 0 || parts.length === 0) parts.push(rest === 0 ? '0' : `${rest}ms`)
  return parts.join(' ')
}

/** How long ago, e.g. `3s ago`, `1h 0min ago`, `1 week 1 day ago` (systemd 252 `format_timestamp_relative`). */
export function formatAgo(ms: number): string {
  const two = (outer: number, outerUnit: string, inner: number, innerUnit: string): string =>
    `${count(ms / outer, outerUnit)} ${count((ms % outer) / inner, innerUnit)} ago`
  if (ms >= YEAR) return two(YEAR, ' year', MONTH, ' month')
  if (ms >= MONTH) return two(MONTH, ' month', DAY, ' day')
  if (ms >= WEEK) return two(WEEK, ' week', DAY, ' day')
  if (ms >= 2 * DAY) return `${Math.floor(ms / DAY)} days ago`
  if (ms >= 25 * HOUR) return two(DAY, ' day', HOUR, 'h')
  if (ms >= 6 * HOUR) return `${Math.floor(ms / HOUR)}h ago`
  if (ms >= HOUR) return two(HOUR, 'h', MINUTE, 'min')
  if (ms >= 5 * MINUTE) return `${Math.floor(ms / MINUTE)}min ago`
  if (ms >= MINUTE) return two(MINUTE, 'min', SECOND, 's')
  if (ms >= SECOND) return `${Math.floor(ms / SECOND)}s ago`
  return ms >= 1 ? `${Math.floor(ms)}ms ago` : 'now'
}

/** Units that are words (they begin with a blank) have a plural. */
function count(value: number, unit: string): string {
  const whole = Math.floor(value)
  return `${whole}${unit}${unit.startsWith(' ') && whole !== 1 ? 's' : ''}`
}
