const PORT_MAX = 65_535

/** What is wrong with a member's URL, in the original's words (etcd 2.3 pkg/types/urls.go); undefined when nothing is. */
export function peerUrlProblem(text: string): string | undefined {
  const url = text.trim()
  const scheme = /^([a-zA-Z][a-zA-Z0-9+.-]*):/.exec(url)?.[1]
  const rest = /^[a-zA-Z][a-zA-Z0-9+.-]*:\/\/([^/?#]*)(.*)/s.exec(url)
  const host = rest?.[1] ?? ''
  const port = /:([^:\]]*)$/.exec(host)?.[1]
  if (port !== undefined && (!/^\d*$/.test(port) || Number(port) > PORT_MAX))
    return `parse ${JSON.stringify(url)}: invalid port ${JSON.stringify(`:${port}`)} after host`
  if (scheme !== 'http' && scheme !== 'https') return `URL scheme must be http or https: ${url}`
  if (port === undefined || port === '' || host.startsWith(':'))
    return `URL address does not have the form "host:port": ${url}`
  if ((rest?.[2] ?? '') !== '') return `URL must not contain a path: ${url}`
  // The original takes it. Here it would stand in the log of all members, who cannot dial it.
  if (!URL.canParse(url)) return `parse ${JSON.stringify(url)}: invalid host name`
  return undefined
}
