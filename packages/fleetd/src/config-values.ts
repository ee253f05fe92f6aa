/** A list in fleet.conf: comma separated; JSON-like brackets, quotes and blanks are tolerated (fleet pkg/string_slice.go). */
export function parseStringList(text: string): string[] {
  return text
    .trim()
    .replaceAll(/^\[|\]$/g, '')
    .split(',')
    .map((entry) => entry.replaceAll(/["\s]/g, ''))
}

/** `k=v,k2=v2` of fleet.conf: trimmed, entries without `=` dropped, a value may contain `=`. */
export function parseMetadata(text: string): Map<string, string> {
  const metadata = new Map<string, string>()
  for (const entry of text.split(',')) {
    const equals = entry.indexOf('=')
    if (equals < 0) continue
    metadata.set(entry.slice(0, equals).trim(), entry.slice(equals + 1).trim())
  }
  return metadata
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
}

/** Milliseconds of a Go duration such as `30s` or `1m30s`; `undefined` for anything else and for negative ones. */
export function parseDurationMs(text: string): number | undefined {
  if (text === '0') return 0
  if (!/^\+?(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h)/.test(text)) return undefined
  let total = 0
  let rest = text.replace(/^\+/, '')
  while (rest !== '') {
    const part = /^(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/.exec(rest)
    if (part === null) return undefined
    total += Number(part[1]) * (UNIT_MS[part[2] ?? ''] ?? 0)
    rest = rest.slice(part[0].length)
  }
  return total
}
