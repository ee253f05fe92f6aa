/** The host field of a known-hosts line for an address: the host for port 22, else `[host]:port`. `undefined`: no address. */
export function hostField(address: string): string | undefined {
  const { host, port } = splitAddress(address) ?? {}
  if (host === undefined || port === undefined) return undefined
  const isIPv6 = host.includes(':')
  if (port === '22') return isIPv6 ? `[${host}]` : host
  return `[${host}]:${port}`
}

function splitAddress(address: string): { host: string; port: string } | undefined {
  const bracketed = /^\[([^\]]*)\](?::(\d+))?$/.exec(address)
  if (bracketed !== null) return { host: bracketed[1] ?? '', port: bracketed[2] ?? '22' }
  const parts = address.split(':')
  if (parts.length > 2) return undefined
  return { host: parts[0] ?? '', port: parts[1] ?? '22' }
}

/** Whether a host field matches the comma list of patterns of a line: `*`, `?`, and `!` to exclude. */
export function matchesHost(patterns: string, field: string): boolean {
  let isMatch = false
  for (const pattern of patterns.split(',')) {
    const negated = pattern.startsWith('!')
    if (!wildcard(negated ? pattern.slice(1) : pattern).test(field)) continue
    if (negated) return false
    isMatch = true
  }
  return isMatch
}

function wildcard(pattern: string): RegExp {
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/g, String.raw`\$&`)
    .replaceAll(/\*+/g, '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${source}$`, 's')
}
