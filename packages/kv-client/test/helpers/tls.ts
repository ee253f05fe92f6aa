import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Certificates {
  readonly ca: string
  readonly server: { readonly cert: string; readonly key: string }
  readonly client: { readonly cert: string; readonly key: string }
}

/** A CA and two certificates for 127.0.0.1, made by the openssl command; undefined where there is none. */
export function makeCertificates(directory: string): Certificates | undefined {
  const openssl = (...args: readonly string[]): void => {
    execFileSync('openssl', args, { cwd: directory, stdio: 'ignore' })
  }
  const read = (name: string): string => readFileSync(join(directory, name), 'utf8')
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  try {
    openssl('version')
  } catch {
    return undefined
  }
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=test ca')
  for (const name of ['server', 'client']) {
    const subject = ['-subj', `/CN=${name}`, '-addext', 'subjectAltName=IP:127.0.0.1']
    openssl('req', ...key, '-keyout', `${name}.key`, '-out', `${name}.csr`, ...subject)
    const sign = [
      '-CA',
      'ca.pem',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-copy_extensions',
      'copy',
    ]
    openssl('x509', '-req', '-in', `${name}.csr`, '-out', `${name}.pem`, ...sign)
  }
  const pair = (name: string) => ({ cert: read(`${name}.pem`), key: read(`${name}.key`) })
  return { ca: read('ca.pem'), server: pair('server'), client: pair('client') }
}
