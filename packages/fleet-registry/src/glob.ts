/**
 * Whether `name` matches a shell pattern (`* ? [a-c] [^a] \x`), by the rules of Go's `path.Match`: the whole name must
 * match, `*` and `?` stop at a slash, `!` does not negate, and a malformed pattern matches nothing.
 */
export function matchGlob(pattern: string, name: string): boolean {
  const tokens = parse(Array.from(pattern))
  return tokens !== undefined && matchTokens(tokens, Array.from(name))
}

type Token =
  | { readonly type: 'star' }
  | { readonly type: 'any' }
  | { readonly type: 'char'; readonly char: string }
  | { readonly type: 'class'; readonly negated: boolean; readonly ranges: readonly Range[] }
type Range = readonly [low: string, high: string]

function parse(pattern: readonly string[]): Token[] | undefined {
  const tokens: Token[] = []
  let at = 0
  while (at < pattern.length) {
    const char = pattern[at] ?? ''
    if (char === '[') {
      const parsed = parseClass(pattern, at + 1)
      if (parsed === undefined) return undefined
      tokens.push(parsed.token)
      at = parsed.next
      continue
    }
    if (char === '*') tokens.push({ type: 'star' })
    else if (char === '?') tokens.push({ type: 'any' })
    else if (char === '\\') {
      const escaped = pattern[++at]
      if (escaped === undefined) return undefined
      tokens.push({ type: 'char', char: escaped })
    } else tokens.push({ type: 'char', char })
    at++
  }
  return tokens
}

function parseClass(
  pattern: readonly string[],
  start: number,
): { token: Token; next: number } | undefined {
  const negated = pattern[start] === '^'
  const ranges: Range[] = []
  let at = negated ? start + 1 : start
  while (ranges.length === 0 || pattern[at] !== ']') {
    const low = classChar(pattern, at)
    if (low === undefined) return undefined
    at = low.next
    let high = low
    if (pattern[at] === '-') {
      const end = classChar(pattern, at + 1)
      if (end === undefined) return undefined
      high = end
      at = end.next
    }
    // A class must be closed: one that runs to the end of the pattern is malformed.
    if (at >= pattern.length) return undefined
    ranges.push([low.char, high.char])
  }
  return { token: { type: 'class', negated, ranges }, next: at + 1 }
}

function classChar(
  pattern: readonly string[],
  at: number,
): { char: string; next: number } | undefined {
  const char = pattern[at]
  if (char === undefined || char === '-' || char === ']') return undefined
  if (char !== '\\') return { char, next: at + 1 }
  const escaped = pattern[at + 1]
  return escaped === undefined ? undefined : { char: escaped, next: at + 2 }
}

/** Greedy matching that returns to the last star only, so that no pattern takes exponential time. */
function matchTokens(tokens: readonly Token[], name: readonly string[]): boolean {
  let token = 0
  let at = 0
  let star = -1
  let starAt = 0
  while (at < name.length) {
    const current = tokens[token]
    if (current?.type === 'star') {
      star = token++
      starAt = at
    } else if (current !== undefined && matchOne(current, name[at] ?? '')) {
      token++
      at++
    } else if (star >= 0 && name[starAt] !== '/') {
      token = star + 1
      at = ++starAt
    } else return false
  }
  while (tokens[token]?.type === 'star') token++
  return token === tokens.length
}

function matchOne(token: Token, char: string): boolean {
  switch (token.type) {
    case 'star':
      return false
    case 'any':
      return char !== '/'
    case 'char':
      return char === token.char
    case 'class':
      return token.ranges.some(([low, high]) => low <= char && char <= high) !== token.negated
  }
}
