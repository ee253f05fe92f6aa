// The texts that Go's strconv and time packages take as numbers, booleans and durations.

const TRUE = new Set(['1', 't', 'T', 'TRUE', 'true', 'True'])
const FALSE = new Set(['0', 'f', 'F', 'FALSE', 'false', 'False'])

/** `strconv.ParseBool`; undefined for anything else. */
export function parseBool(text: string): boolean | undefined {
  if (TRUE.has(text)) return true
  return FALSE.has(text) ? false : undefined
}

const INT = /^([+-]?)(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|[1-9][0-9]*|0)$/
const INT64_MAX = 2n ** 63n - 1n

/** `strconv.ParseInt` with base 0 and 64 bits: decimal, 0x, 0o, 0b, and 010 is eight. */
export function parseInteger(text: string): bigint | undefined {
  const [, sign, digits] = INT.exec(text) ?? []
  if (digits === undefined) return undefined
  const size = BigInt(/^0[0-7]/.test(digits) ? `0o${digits.slice(1)}` : digits)
  const value = sign === '-' ? -size : size
  return value > INT64_MAX || value < -INT64_MAX - 1n ? undefined : value
}

const UNITS_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}
const DURATION = /^[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$/
const DURATION_PART = /(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g

/** `time.ParseDuration` in milliseconds: `500ms`, `1m30s`, `1.5h`. */
export function parseDuration(text: string): number | undefined {
  if (!DURATION.test(text)) return undefined
  let total = 0
  for (const [, amount, unit] of text.matchAll(DURATION_PART)) {
    total += Number(amount) * (UNITS_MS[unit ?? ''] ?? 0)
  }
  return text.startsWith('-') ? -total : total
}
