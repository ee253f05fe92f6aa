import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { must } from '../../src/harness/process.ts'

/** A certificate and its key, both PEM. */
export interface Pair {
  readonly cert: string
  readonly key: string
}

const NEW_KEY = ['req', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']

/** A certificate authority, made with the commands of docs/tls.md. */
export class Authority {
  readonly #directory: string
  readonly #name: string

  private constructor(directory: string, name: string) {
    this.#directory = directory
    this.#name = name
  }

  /** Makes one whose files lie in the directory. */
  static async create(directory: string, name: string): Promise<Authority> {
    const made = new Authority(directory, name)
    const files = ['-keyout', made.#path(`${name}.key`), '-out', made.#path(`${name}.pem`)]
    const own = ['-x509', '-subj', `/CN=${name}`, '-days', '30']
    await must(['openssl', ...NEW_KEY, ...own, ...files])
    return made
  }

  /** Its own certificate, which others trust. */
  get pem(): string {
    return readFileSync(this.#path(`${this.#name}.pem`), 'utf8')
  }

  /** A certificate for both ends of a connection; `names` as openssl takes them: `DNS:m1,IP:10.98.0.1`. */
  async issue(name: string, names: string): Promise<Pair> {
    const at = (end: string): string => this.#path(`${this.#name}-${name}.${end}`)
    const subject = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=${names}`]
    const usage = ['-addext', 'extendedKeyUsage=serverAuth,clientAuth']
    const request = ['-keyout', at('key'), '-out', at('csr'), ...subject, ...usage]
    await must(['openssl', ...NEW_KEY, ...request])
    const by = ['-CA', this.#path(`${this.#name}.pem`), '-CAkey', this.#path(`${this.#name}.key`)]
    const life = ['-CAcreateserial', '-days', '30', '-copy_extensions', 'copy']
    const files = ['-in', at('csr'), '-out', at('pem')]
    await must(['openssl', 'x509', '-req', ...files, ...by, ...life])
    return { cert: readFileSync(at('pem'), 'utf8'), key: readFileSync(at('key'), 'utf8') }
  }

  #path(file: string): string {
    return join(this.#directory, file)
  }
}
