import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { AuthError } from '../auth/auth-error.ts'
import type { Credentials } from '../auth/basic.ts'
import {
  parsePassword,
  passwordText,
  SCRYPT_COST,
  type HashedPassword,
  type ScryptCost,
} from '../auth/password-text.ts'
import { Limiter } from './limiter.ts'
import { Recent } from './recent.ts'

/** What a client is told while `WAITING_MAX` others wait. */
export const BUSY_TEXT = 'auth: too many passwords to check, try again later'

/** Hashes made at the same time: half of libuv's threads stay free for everybody else. */
const HASHES_MAX = 2
/** Hashes that wait for their turn; whoever comes then is told that the server is busy. */
const WAITING_MAX = 64
/** Credentials whose verdict is remembered, right and wrong ones apart. */
const VERDICTS_MAX = 1024
const SALT_BYTES = 16
const KEY_BYTES = 32

/** The one thing that can go wrong with a hash is that its memory is not to be had. */
function noMemory(cause: Error): AuthError {
  return new AuthError(503, BUSY_TEXT, { cause })
}

/** Who was proven to be who: true as long as the user's hash in the store is this one. */
interface Proof {
  readonly name: string
  readonly stored: string
}

/**
 * Makes and checks passwords. Hashes are slow on purpose, so the verdict on each pair of user and
 * password is kept, under a digest that only this process can compute; a new hash in the store
 * makes it void. An unknown user costs as much as a wrong password.
 */
export class Passwords {
  readonly #cost: ScryptCost
  readonly #limiter = new Limiter(HASHES_MAX, WAITING_MAX, () => {
    throw new AuthError(503, BUSY_TEXT)
  })
  readonly #digestKey = randomBytes(32)
  readonly #right = new Recent<Proof>(VERDICTS_MAX)
  readonly #wrong = new Recent<true>(VERDICTS_MAX)
  readonly #pending = new Map<string, Promise<boolean>>()
  readonly #onWrong: (name: string) => void

  /** @param onWrong hears of credentials that turned out wrong, once for each hash spent on them */
  constructor(onWrong: (name: string) => void, cost: ScryptCost = SCRYPT_COST) {
    this.#onWrong = onWrong
    this.#cost = cost
  }

  /** A new salt and hash, as the store keeps them. @throws AuthError 503 when the server is busy */
  async hash(password: string): Promise<string> {
    const made = { cost: this.#cost, salt: randomBytes(SALT_BYTES) }
    const key = await this.#derive(Buffer.from(password, 'utf8'), made, KEY_BYTES)
    return passwordText({ ...made, key })
  }

  /**
   * Whether the password is the user's; at once when that is known already.
   * @param stored the user's hash, undefined when there is no such user
   * @throws AuthError 503 when the server is busy
   */
  check(credentials: Credentials, stored: string | undefined): boolean | Promise<boolean> {
    const digest = this.#digest(credentials, stored)
    if (this.#right.get(digest) !== undefined) return true
    if (this.#wrong.get(digest) !== undefined) return false
    const pending = this.#pending.get(digest)
    if (pending !== undefined) return pending
    const check = this.#prove(credentials, stored, digest)
    this.#pending.set(digest, check)
    const forget = (): boolean => this.#pending.delete(digest)
    check.then(forget, forget)
    return check
  }

  /** True when `check` has found these credentials right and has not forgotten it. */
  isProven(credentials: Credentials, stored: string): boolean {
    return this.#right.get(this.#digest(credentials, stored)) !== undefined
  }

  /** Forgets the proofs of users whose hash is another one by now, or who are gone. */
  forgetChanged(storedOf: (name: string) => string | undefined): void {
    this.#right.keep(({ name, stored }) => storedOf(name) === stored)
  }

  async #prove(
    credentials: Credentials,
    stored: string | undefined,
    digest: string,
  ): Promise<boolean> {
    const hashed = stored === undefined ? undefined : parsePassword(stored)
    const isRight = await this.#matches(credentials.password, hashed)
    if (isRight && stored !== undefined) {
      this.#right.set(digest, { name: credentials.name, stored })
      return true
    }
    this.#wrong.set(digest, true)
    this.#onWrong(credentials.name)
    return false
  }

  async #matches(password: Buffer, hashed: HashedPassword | undefined): Promise<boolean> {
    if (hashed === undefined) {
      const nobody = { cost: this.#cost, salt: this.#digestKey }
      await this.#derive(password, nobody, KEY_BYTES)
      return false
    }
    const key = await this.#derive(password, hashed, hashed.key.length)
    return timingSafeEqual(key, hashed.key)
  }

  async #derive(
    password: Buffer,
    { cost, salt }: Pick<HashedPassword, 'cost' | 'salt'>,
    bytes: number,
  ): Promise<Buffer> {
    return await this.#limiter.run(
      () =>
        new Promise((resolve, reject) => {
          const { costLog2, blockSize, rounds } = cost
          const N = 2 ** costLog2
          const maxmem = 256 * blockSize * (N + rounds)
          const options = { N, r: blockSize, p: rounds, maxmem }
          scrypt(password, salt, bytes, options, (error, key) =>
            error === null ? resolve(key) : reject(noMemory(error)),
          )
        }),
    )
  }

  /** Covers name, password and hash, each of known length: none can stand in for another. */
  #digest({ name, password }: Credentials, stored = ''): string {
    return createHmac('sha256', this.#digestKey)
      .update(`${stored.length} ${name.length} ${stored}${name}`)
      .update(password)
      .digest('base64')
  }
}
