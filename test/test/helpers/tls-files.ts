import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { which } from '../../src/harness/host.ts'
import { Authority } from './certificates.ts'

/** Why no certificates can be made here, or false; in the form that tap's `skip` takes. */
export const OPENSSL_SKIP: string | false =
  which('openssl') === undefined && 'there is no openssl command'

/** PEM files: a CA, and a certificate of it for 127.0.0.1, good for both ends, with its key. */
export interface TlsFiles {
  readonly ca: string
  readonly cert: string
  readonly key: string
}

/** Makes them in a directory. */
export async function makeTlsFiles(directory: string): Promise<TlsFiles> {
  const authority = await Authority.create(directory, 'ca')
  const pair = await authority.issue('loopback', 'IP:127.0.0.1')
  const path = (name: string): string => join(directory, name)
  const files = { ca: path('trusted.pem'), cert: path('shown.pem'), key: path('shown.key') }
  writeFileSync(files.ca, authority.pem)
  writeFileSync(files.cert, pair.cert)
  writeFileSync(files.key, pair.key)
  return files
}
