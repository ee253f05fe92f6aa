import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'

/** Why certificates cannot be made here, or false. */
export function opensslSkip(): string | false {
  return spawnSync('openssl', ['version']).status === 0 ? false : 'there is no openssl command'
}

/** Files of a certificate and its key, as the flags take them. */
export interface Pair {
  readonly cert: string
  readonly key: string
}

export interface IssueOptions {
  /** As openssl writes them; default `IP:127.0.0.1,DNS:localhost`. */
  readonly names?: string
  /** From today; negative: it has expired. */
  readonly days?: number
  /** Default: good for both ends. */
  readonly usage?: string
}

const EC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** A certificate authority in a directory, run with the openssl command. */
export class Authority {
  readonly #directory: string
  readonly #name: string

  constructor(directory: string, name: string) {
    this.#directory = directory
    this.#name = name
    const files = ['-keyout', this.#path('key'), '-out', this.file]
    openssl('req', '-x509', ...EC, ...files, '-subj', `/CN=${name}`, '-days', '30')
  }

  /** Its own certificate, which others trust. */
  get file(): string {
    return this.#path('pem')
  }

  get pem(): string {
    return readFileSync(this.file, 'utf8')
  }

  #path(end: string): string {
    return join(this.#directory, `${this.#name}.${end}`)
  }

  /** Signs a new key under this name. */
  issue(name: string, options: IssueOptions = {}): Pair {
    const { names = 'IP:127.0.0.1,DNS:localhost', days = 30 } = options
    const { usage = 'serverAuth,clientAuth' } = options
    const [cert, key, request] = ['pem', 'key', 'csr'].map((end) =>
      join(this.#directory, `${name}.${end}`),
    )
    if (cert === undefined || key === undefined || request === undefined) throw new Error(name)
    const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${names}`]
    const purpose = ['-addext', `extendedKeyUsage=${usage}`]
    openssl('req', ...EC, '-keyout', key, '-out', request, ...subject, ...purpose)
    const by = ['-CA', this.file, '-CAkey', this.#path('key'), '-CAcreateserial']
    const life = ['-days', String(days), '-copy_extensions', 'copy']
    openssl('x509', '-req', '-in', request, '-out', cert, ...by, ...life)
    return { cert, key }
  }
}

/** What `node:tls` takes. */
export function read({ cert, key }: Pair): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(cert), key: readFileSync(key) }
}

/** Puts the contents of one pair in the files of another, each at one stroke. */
export function replacePair(target: Pair, by: Pair): void {
  for (const part of ['key', 'cert'] as const) {
    copyFileSync(by[part], `${target[part]}.next`)
    renameSync(`${target[part]}.next`, target[part])
  }
}

function openssl(...args: readonly string[]): void {
  execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
