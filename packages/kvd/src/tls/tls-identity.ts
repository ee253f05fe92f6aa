import { constants } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { createSecureContext, type SecureContext, type Server, type TlsOptions } from 'node:tls'
import type { Logger } from '@flotilla/daemon'
import { readCredentials, readSystemRoots, type Credentials } from './credentials.ts'
import type { TlsConfig } from './tls-config.ts'
import { TlsError } from './tls-error.ts'

/** How often the files are looked at. What has changed counts once it stays the same for one look. */
const LOOK_MS = 1_000
/** Who connects and does not finish its handshake is dropped (etcd's dialling side waits as long). */
const HANDSHAKE_MS_MAX = 10_000

/** A certificate that ends within this time is told of: there is time left to make another one. */
const SOON_MS = 7 * 24 * 3_600_000

/** What `tls.connect`, an https agent or `ws` needs to dial. */
export interface DialOptions {
  readonly secureContext: SecureContext
  readonly rejectUnauthorized: boolean
}

export interface TlsIdentityOptions {
  readonly config: TlsConfig
  readonly logger: Logger
  readonly nowMs: () => number
  /** Default 1 s. */
  readonly lookMs?: number
  /** Default 10 s. */
  readonly handshakeMs?: number
}

/** Reads the files of one side and begins to look after them. @throws TlsError naming the file */
export async function openTlsIdentity(options: TlsIdentityOptions): Promise<TlsIdentity> {
  const stamp = await stampOf(options.config)
  return new TlsIdentity(options, stamp, await readCredentials(options.config))
}

/**
 * Certificate, key and CAs of one side of kvd. They are read again by `reload` and when the files
 * change: new handshakes use the new ones, connections go on, and files that cannot be used change
 * nothing.
 */
export class TlsIdentity {
  readonly #options: TlsIdentityOptions
  readonly #servers = new Set<Server>()
  readonly #timer: NodeJS.Timeout
  #credentials: Credentials
  /** Of the files as they were when they were read last, and looked at last. */
  #readStamp: string
  #seenStamp: string
  #dial: SecureContext | undefined
  #generation = 0
  /** What was said of the certificate in use. */
  #told: Life = 'good'
  #reloading: Promise<void> = Promise.resolve()

  constructor(options: TlsIdentityOptions, stamp: string, credentials: Credentials) {
    this.#options = options
    this.#credentials = credentials
    this.#readStamp = stamp
    this.#seenStamp = stamp
    this.#timer = setInterval(() => void this.#look(), options.lookMs ?? LOOK_MS).unref()
    this.#warnOfEnd()
  }

  /** False when https URLs cannot be listened on. */
  get hasCertificate(): boolean {
    return this.#credentials.shown !== undefined
  }

  /** Grows with each reload, so that whoever keeps connections can tell which are of yesterday. */
  get generation(): number {
    return this.#generation
  }

  /** For `tls.createServer` and `https.createServer`; the server then has to be followed. */
  serverOptions(): TlsOptions {
    const { clientCertAuth } = this.#options.config
    return {
      ...this.#contextOptions(clientCertAuth),
      requestCert: clientCertAuth,
      rejectUnauthorized: clientCertAuth,
      handshakeTimeout: this.#options.handshakeMs ?? HANDSHAKE_MS_MAX,
    }
  }

  /** Gives the server what later reloads bring, until it closes. */
  follow(server: Server): void {
    this.#servers.add(server)
    server.once('close', () => this.#servers.delete(server))
  }

  /**
   * For outgoing connections: our certificate where we have one, their host's name checked against
   * theirs. Self-signed members cannot check each other (etcd pkg/transport: InsecureSkipVerify).
   */
  dialOptions(): DialOptions {
    this.#dial ??= createSecureContext(this.#contextOptions(true))
    return { secureContext: this.#dial, rejectUnauthorized: !this.#options.config.isSelfSigned }
  }

  #contextOptions(verifies: boolean): TlsOptions {
    const { shown, ca } = this.#credentials
    const roots = verifies && ca.length === 0 ? readSystemRoots() : [...ca]
    return {
      minVersion: 'TLSv1.2',
      // A client could keep us busy with nothing but handshakes.
      secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
      ...(shown && { cert: shown.cert, key: shown.key }),
      ...(verifies && roots !== undefined && { ca: roots }),
    }
  }

  /** Reads the files again. Never rejects: what cannot be used is logged, and the old ones stay. */
  async reload(): Promise<void> {
    const turn = this.#reloading.then(async () => await this.#reload())
    this.#reloading = turn
    await turn
  }

  async #reload(): Promise<void> {
    const { config, logger } = this.#options
    if (filesOf(config).length === 0) return
    const { side } = config
    this.#readStamp = await stampOf(config)
    try {
      this.#credentials = await readCredentials(config)
    } catch (error) {
      if (!(error instanceof TlsError)) throw error
      logger.error(`tls: ${error.message}`, { side, effect: 'the old certificates stay in use' })
      return
    }
    this.#generation += 1
    this.#dial = undefined
    for (const server of this.#servers) server.setSecureContext(this.serverOptions())
    const until = this.#credentials.shown?.validToMs
    logger.info('tls: certificates were read again', {
      side,
      until: until === undefined ? undefined : new Date(until).toISOString(),
    })
    this.#told = 'good'
    this.#warnOfEnd()
  }

  /** Files that are being replaced one after the other are left alone until they are all there. */
  async #look(): Promise<void> {
    const stamp = await stampOf(this.#options.config)
    const isResting = stamp === this.#seenStamp
    this.#seenStamp = stamp
    if (isResting && stamp !== this.#readStamp) await this.reload()
    this.#warnOfEnd()
  }

  /** Once a week before its end, and once at its end. */
  #warnOfEnd(): void {
    const { shown } = this.#credentials
    const { config, logger, nowMs } = this.#options
    if (shown === undefined) return
    const life = lifeOf(shown.validToMs - nowMs())
    if (life === this.#told) return
    this.#told = life
    const [file, end] = [config.certFile, new Date(shown.validToMs).toISOString()]
    if (life === 'expired') logger.warn('tls: the certificate has expired', { file, since: end })
    else if (life === 'ending')
      logger.warn('tls: the certificate expires within a week', { file, until: end })
  }

  /** Ends the looks; servers go on. */
  close(): void {
    clearInterval(this.#timer)
  }
}

type Life = 'good' | 'ending' | 'expired'

function lifeOf(leftMs: number): Life {
  if (leftMs <= 0) return 'expired'
  return leftMs <= SOON_MS ? 'ending' : 'good'
}

function filesOf({ certFile, keyFile, caFiles }: TlsConfig): readonly string[] {
  return [certFile, keyFile, ...caFiles].filter((file) => file !== '')
}

/** A text that changes with the files: when they are written to, replaced, or gone. */
async function stampOf(config: TlsConfig): Promise<string> {
  const stamps = await Promise.all(
    filesOf(config).map(async (file) => {
      try {
        const { ino, size, mtimeMs } = await stat(file)
        return `${ino} ${size} ${mtimeMs}`
      } catch {
        // Whoever reads it says what is wrong.
        return 'none'
      }
    }),
  )
  return stamps.join()
}
