import { EXIT, ExitError } from './context.ts'

/** Peer URLs by the rules of etcd 2.3 pkg/types/urls.go, sorted; exit 1 with its message for a bad one. */
export function checkPeerUrls(urls: readonly string[]): string[] {
  return urls.map((url) => checkPeerUrl(url.trim())).toSorted()
}

function checkPeerUrl(url: string): string {
  const [, scheme = '', host = '', path = ''] =
    /^(?:([^/:]+):)?(?:\/\/([^/?#]*))?(.*)$/s.exec(url) ?? []
  if (scheme !== 'http' && scheme !== 'https') {
    throw bad(`URL scheme must be http or https: ${url}`)
  }
  if (!/^(?:\[[^\]]+\]|[^:[\]]*):[^:]*$/.test(host)) {
    throw bad(`URL address does not have the form "host:port": ${url}`)
  }
  if (/^[^?#]/.test(path)) throw bad(`URL must not contain a path: ${url}`)
  return url
}

function bad(text: string): ExitError {
  return new ExitError(EXIT.badArgs, `${text}\n`)
}
