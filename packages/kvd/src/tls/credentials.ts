import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createSecureContext } from 'node:tls'
import type { TlsConfig } from './tls-config.ts'
import { TlsError } from './tls-error.ts'

/** PEM texts of one side, checked: they can be read, belong together and are no nonsense. */
export interface Credentials {
  /** Undefined where nothing is shown. */
  readonly shown: ShownCertificate | undefined
  readonly ca: readonly Buffer[]
}

export interface ShownCertificate {
  readonly cert: Buffer
  readonly key: Buffer
  readonly validToMs: number
}

const CERTIFICATE = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]+-----END/g

/** Reads and checks the files of one side. @throws TlsError naming the file */
export async function readCredentials(config: TlsConfig): Promise<Credentials> {
  const { certFile, keyFile, caFiles } = config
  const ca = await Promise.all(caFiles.map(readCa))
  if (certFile === '') return { shown: undefined, ca }
  const [cert, key] = await Promise.all([readPem(certFile), readPem(keyFile)])
  const leaf = firstCertificate(cert, certFile)
  const privateKey = attempt(`${keyFile} holds no private key that can be read`, () =>
    createPrivateKey(key),
  )
  if (!leaf.checkPrivateKey(privateKey))
    throw new TlsError(`the key in ${keyFile} is not that of the certificate in ${certFile}`)
  attempt(`${certFile} and ${keyFile} cannot be used`, () => createSecureContext({ cert, key }))
  return { shown: { cert, key, validToMs: Date.parse(leaf.validTo) }, ca }
}

/** Certificates of a file of CAs: one or more. */
async function readCa(file: string): Promise<Buffer> {
  const pem = await readPem(file)
  firstCertificate(pem, file)
  return pem
}

function firstCertificate(pem: Buffer, file: string): X509Certificate {
  const blocks = pem.toString('latin1').match(CERTIFICATE) ?? []
  const certificates = blocks.map((block) =>
    attempt(`${file} holds a certificate that is damaged`, () => {
      return new X509Certificate(`${block} CERTIFICATE-----\n`)
    }),
  )
  const [first] = certificates
  if (first === undefined) throw new TlsError(`${file} holds no certificate in PEM form`)
  return first
}

async function readPem(file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (error) {
    throw new TlsError(`cannot read ${file}: ${reasonOf(error)}`, { cause: error })
  }
}

function attempt<T>(problem: string, act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw new TlsError(`${problem}: ${reasonOf(error)}`, { cause: error })
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** Where distributions keep the CAs that they trust (Go crypto/x509/root_linux.go). */
const SYSTEM_ROOTS = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/** CAs of the system; undefined where there are none, which leaves those that Node brings. */
export function readSystemRoots(): Buffer | undefined {
  const found = SYSTEM_ROOTS.find((file) => existsSync(file))
  return found === undefined ? undefined : readFileSync(found)
}
