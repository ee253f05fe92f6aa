import { execFile } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import type { TlsConfig } from './tls-config.ts'
import { TlsError } from './tls-error.ts'

const DAYS = 365
/** One that ends within this time is made anew at the start. */
const RENEW_MS = 30 * 24 * 3_600_000
const ANY_ADDRESS = new Set(['0.0.0.0', '::'])
const LOCAL = ['localhost', '127.0.0.1', '::1']

export interface SelfSignedOptions {
  readonly config: TlsConfig
  /** What this member is called by others: hosts of its URLs, without brackets. */
  readonly hosts: readonly string[]
  readonly nowMs: number
}

/**
 * Makes certificate and key of `--auto-tls` with the openssl command, unless those of an earlier
 * start still fit. The key can be read by its owner alone.
 * @throws TlsError
 */
export async function ensureSelfSigned({ config, hosts, nowMs }: SelfSignedOptions): Promise<void> {
  const { certFile, keyFile } = config
  const names = [...new Set([...hosts, ...LOCAL])].filter((host) => !ANY_ADDRESS.has(host))
  if (isStillGood(certFile, names, nowMs)) return
  try {
    mkdirSync(dirname(keyFile), { recursive: true, mode: 0o700 })
    await runOpenssl(names, [`${certFile}.new`, `${keyFile}.new`])
    chmodSync(`${keyFile}.new`, 0o600)
    renameSync(`${keyFile}.new`, keyFile)
    renameSync(`${certFile}.new`, certFile)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new TlsError(`cannot make ${certFile}: ${reason}`, { cause: error })
  }
}

function isStillGood(certFile: string, names: readonly string[], nowMs: number): boolean {
  let found: X509Certificate
  try {
    found = new X509Certificate(readFileSync(certFile))
  } catch {
    // None yet, or what is there is none.
    return false
  }
  const isNamed = names.every((name) =>
    isIP(name) === 0 ? found.checkHost(name) !== undefined : found.checkIP(name) !== undefined,
  )
  return isNamed && Date.parse(found.validTo) > nowMs + RENEW_MS
}

async function runOpenssl(names: readonly string[], [cert, key]: [string, string]): Promise<void> {
  const request = `${cert}.cnf`
  writeFileSync(request, requestText(names))
  const make = ['req', '-x509', '-config', request, '-days', String(DAYS), '-sha256']
  const algorithm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const files = ['-keyout', key, '-out', cert]
  await promisify(execFile)('openssl', [...make, ...algorithm, ...files])
  rmSync(request)
}

function requestText(names: readonly string[]): string {
  const alternatives = names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`)
  return `[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
O = kvd
[extensions]
subjectAltName = ${alternatives.join(',')}
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectKeyIdentifier = hash
`
}
