import { isIP } from 'node:net'
import { join } from 'node:path'
import type { Options } from '@flotilla/daemon'

/** Who is on the other end: clients of the API, or other members and proxies. */
export type TlsSide = 'client' | 'peer'

/** What one side shows and trusts (kvd.md 13.5). */
export interface TlsConfig {
  readonly side: TlsSide
  /** Empty, like `keyFile`, where nothing is shown. */
  readonly certFile: string
  readonly keyFile: string
  /** Empty: the system's CAs. */
  readonly caFiles: readonly string[]
  /** Whoever connects must show a certificate of one of the CAs. */
  readonly clientCertAuth: boolean
  /** Certificate and key are made at the start, signed by nobody else, and not checked by members. */
  readonly isSelfSigned: boolean
}

/** The flags of one side; those for peers have the same names behind `peer-`. */
export function readTlsConfig(options: Options, side: TlsSide, dataDir: string): TlsConfig {
  const prefix = side === 'peer' ? 'peer-' : ''
  const text = (name: string): string => options.string(`${prefix}${name}`)
  const [certFile, keyFile, oldCa] = [text('cert-file'), text('key-file'), text('ca-file')]
  const isSelfSigned = options.bool(`${prefix}auto-tls`) && certFile === '' && keyFile === ''
  const made = join(dataDir, 'fixtures', side)
  return {
    side,
    certFile: isSelfSigned ? join(made, 'cert.pem') : certFile,
    keyFile: isSelfSigned ? join(made, 'key.pem') : keyFile,
    caFiles: [oldCa, text('trusted-ca-file')].filter((file) => file !== ''),
    // etcd 2.3 pkg/transport/listener.go: the old flag for the CA asks for certificates by itself.
    clientCertAuth: options.bool(`${prefix}client-cert-auth`) || oldCa !== '',
    isSelfSigned,
  }
}

/** True when there is a certificate to show. */
export function hasCertificate({ certFile, keyFile }: TlsConfig): boolean {
  return certFile !== '' || keyFile !== ''
}

/** Why these flags do not go together with these listen URLs; undefined when they do. */
export function tlsProblem(tls: TlsConfig, listenURLs: readonly URL[]): string | undefined {
  const { certFile, keyFile, side } = tls
  if (hasCertificate(tls) && (certFile === '' || keyFile === ''))
    return `KeyFile and CertFile must both be present[key: ${keyFile}, cert: ${certFile}]`
  const secure = listenURLs.find((url) => url.protocol === 'https:')
  if (secure !== undefined && !hasCertificate(tls))
    return `cannot listen on TLS for https://${address(secure)}: KeyFile and CertFile are not presented`
  if (!tls.isSelfSigned || !tls.clientCertAuth) return undefined
  if (side === 'peer')
    return 'flag -peer-auto-tls: the members would refuse each other, as -peer-client-cert-auth asks for certificates of a CA'
  if (tls.caFiles.length === 0)
    return 'flag -auto-tls: -client-cert-auth needs -trusted-ca-file, the CA of the clients'
  return undefined
}

/** What is given, but does not count for a listen URL, in the original's words. */
export function tlsWarnings(
  tls: TlsConfig,
  listenURLs: readonly URL[],
  isAutoGiven: boolean,
): string[] {
  const { side } = tls
  const flag = side === 'peer' ? '--peer-client-cert-auth' : '--client-cert-auth'
  const plain = listenURLs.filter((url) => url.protocol === 'http:')
  return [
    ...(isAutoGiven && !tls.isSelfSigned ? [`ignoring ${side} auto TLS since certs given`] : []),
    ...plain.flatMap((url) => {
      const where = `The scheme of ${side} url http://${address(url)} is http while`
      return [
        ...(hasCertificate(tls)
          ? [`${where} ${side} key/cert files are presented. Ignored ${side} key/cert files.`]
          : []),
        ...(tls.clientCertAuth
          ? [
              `${where} client cert auth (${flag}) is enabled. Ignored client cert auth for this url.`,
            ]
          : []),
      ]
    }),
  ]
}

/** One line for the log, as the original shows it. */
export function tlsText(tls: TlsConfig): string {
  const { side, certFile, keyFile, caFiles, clientCertAuth } = tls
  return `${side}TLS: cert = ${certFile}, key = ${keyFile}, trusted-ca = ${caFiles.join(' ')}, client-cert-auth = ${clientCertAuth}`
}

/** Host and port, the latter also where it is the scheme's own. */
export function address(url: URL): string {
  return `${url.hostname}:${portOf(url)}`
}

/** The port that a URL means. */
export function portOf({ port, protocol }: URL): number {
  if (port !== '') return Number(port)
  return protocol === 'https:' ? 443 : 80
}

/** The host of a URL, without the brackets of an IPv6 address. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[(.*)\]$/, '$1')
}

/** What TLS calls the host of a URL: nothing where it is an address (RFC 6066 3). */
export function serverName(url: URL): string {
  const host = hostOf(url)
  return isIP(host) === 0 ? host : ''
}
