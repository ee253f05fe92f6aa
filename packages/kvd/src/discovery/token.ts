import {
  ClusterError,
  createClient,
  isKvError,
  KvError,
  TransportError,
  type KvClient,
} from '@flotilla/kv-client'
import type { Logger } from '@flotilla/daemon'
import { DiscoveryError } from './discovery-error.ts'
import { readRoster, readSize, type Roster } from './roster.ts'

export interface TokenOptions {
  /** The discovery URL: that of a directory of keys, or of a service that maps to one. */
  readonly url: string
  /** URL of an HTTP proxy; undefined for none. */
  readonly proxy: string | undefined
  readonly logger: Logger
  /** Gives everything up. */
  readonly signal: AbortSignal
  /** Waits between two tries; ends at once when the signal is aborted. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>
  /** Larger clusters are refused before anybody registers. */
  readonly sizeMax: number
  /** How long one poll lasts before the directory is read again: a line may be dead without saying so. */
  readonly pollMs: number
}

const ANSWER_BYTES_MAX = 1024 * 1024
const RETRY_MS_MIN = 2_000
/** The original doubles its waits without an end. */
const RETRY_MS_MAX = 60_000

/**
 * One discovery token (kvd.md 12): who has registered there, and oneself.
 *
 *   check ── register ── check ── poll ── check ── ... ── as many as the size says
 *     └─ full
 */
export class Token {
  readonly #options: TokenOptions
  readonly #client: KvClient
  readonly #directory: string
  readonly #told = new Set<string>()
  #retryMs = RETRY_MS_MIN

  /** @throws DiscoveryError when the URL or the proxy is none */
  constructor(options: TokenOptions) {
    const { origin, path } = splitUrl(options.url)
    this.#options = options
    this.#directory = path
    this.#client = createClient({
      endpoints: [origin],
      keysPrefix: '',
      answerBytesMax: ANSWER_BYTES_MAX,
      ...(options.proxy === undefined ? {} : { proxy: options.proxy }),
    })
  }

  /**
   * Registers a member and waits for the others.
   * @returns the roster once it has as many members as the size says, or one that is full of others
   * @throws DiscoveryError, or the reason of the signal
   */
  async join(id: string, text: string): Promise<Roster> {
    let isSent = false
    for (;;) {
      const { roster } = await this.#check(id)
      if (roster.isFull) return roster
      const own = roster.members.find((member) => member.id === id)
      // Whoever finds himself before he has come has lost his data: he must not vote twice.
      if (own !== undefined && (!isSent || own.text !== text))
        throw new DiscoveryError('DUPLICATE_ID')
      if (own !== undefined) return await this.#complete(id)
      if (await this.#register(id, text, isSent)) return await this.#complete(id)
      isSent = true
    }
  }

  /** Waits until the cluster is complete, without being of it. @throws as {@link join} */
  async watch(): Promise<Roster> {
    return await this.#complete(undefined)
  }

  close(): void {
    this.#client.close()
  }

  /** False when it may have happened: the next check will show. */
  async #register(id: string, text: string, isRepeated: boolean): Promise<boolean> {
    const { signal } = this.#options
    try {
      await this.#client.set(`${this.#directory}/${id}`, text, { prevExist: false, signal })
      return true
    } catch (error) {
      signal.throwIfAborted()
      if (isKvError(error, 105) && !isRepeated)
        throw new DiscoveryError('DUPLICATE_ID', undefined, { cause: error })
      if (!(error instanceof ClusterError) && !isKvError(error, 105)) throw translate(error)
      await this.#backOff('registration', error)
      return false
    }
  }

  /** The size and who is there; asks until there is an answer. */
  async #check(ownId: string | undefined): Promise<{ roster: Roster; index: number }> {
    const { signal, sizeMax } = this.#options
    for (;;) {
      try {
        const sizeKey = `${this.#directory}/_config/size`
        const { node: sizeNode } = await this.#client.get(sizeKey, { signal })
        const size = readSize(sizeNode.value ?? '')
        if (size > sizeMax)
          throw new DiscoveryError(
            'TOO_MANY',
            `discovery: a cluster of ${size} members is too large`,
          )
        const { node, etcdIndex } = await this.#client.get(this.#directory, { signal })
        this.#retryMs = RETRY_MS_MIN
        return { roster: readRoster(node, size, ownId), index: etcdIndex }
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof ClusterError)) throw translate(error)
        await this.#backOff('cluster status check', error)
      }
    }
  }

  async #complete(ownId: string | undefined): Promise<Roster> {
    const { logger, signal, pause } = this.#options
    for (;;) {
      const { roster, index } = await this.#check(ownId)
      if (ownId !== undefined && roster.isFull) return roster
      const found = roster.members.length
      const isNews = this.#tell(roster, ownId)
      if (found >= roster.size) {
        logger.info(`discovery: found ${found} needed peer(s)`)
        return roster
      }
      if (isNews)
        logger.info(`discovery: found ${found} peer(s), waiting for ${roster.size - found} more`)
      // A service whose polls end with nothing must not be asked again and again without a pause.
      else await pause(RETRY_MS_MIN, signal)
      signal.throwIfAborted()
      await this.#poll(index)
    }
  }

  /** Says whom it sees for the first time; false when there is nobody new. */
  #tell({ members }: Roster, ownId: string | undefined): boolean {
    const isFirst = this.#told.size === 0
    const fresh = members.filter(({ id }) => !this.#told.has(id))
    for (const { id } of fresh) {
      this.#told.add(id)
      const who = id === ownId ? 'self' : 'peer'
      this.#options.logger.info(`discovery: found ${who} ${id} in the cluster`)
    }
    return fresh.length > 0 || isFirst
  }

  /** One long poll: resolves when something has happened, or may have. */
  async #poll(index: number): Promise<void> {
    const { signal, pollMs } = this.#options
    const ended = AbortSignal.timeout(pollMs)
    try {
      await this.#client.waitOnce(this.#directory, {
        recursive: true,
        waitIndex: index + 1,
        signal: AbortSignal.any([signal, ended]),
      })
    } catch (error) {
      signal.throwIfAborted()
      if (ended.aborted || isKvError(error, 401)) return
      if (!(error instanceof ClusterError)) throw translate(error)
      await this.#backOff('waiting for other nodes', error)
    }
  }

  async #backOff(step: string, error: unknown): Promise<void> {
    const { logger, signal, pause, url } = this.#options
    const waitMs = this.#retryMs
    this.#retryMs = Math.min(RETRY_MS_MAX, 2 * waitMs)
    const problems = error instanceof ClusterError ? error.errors.map((one) => one.error) : [error]
    for (const [at, problem] of problems.entries())
      logger.error(`discovery: error #${at}: ${messageOf(problem)}`)
    const { shown } = splitUrl(url)
    logger.info(
      `discovery: ${step}: error connecting to ${shown}, retrying in ${goDuration(waitMs)}`,
    )
    await pause(waitMs, signal)
    signal.throwIfAborted()
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** `2s`, `1m0s` */
function goDuration(ms: number): string {
  const seconds = ms / 1000
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`
}

/** What an answer means that will not be another one the next time. */
function translate(error: unknown): unknown {
  if (error instanceof DiscoveryError) return error
  const cause = { cause: error }
  if (error instanceof TransportError && error.code === 'BAD_ANSWER')
    return new DiscoveryError('BAD_ENDPOINT', undefined, cause)
  if (!(error instanceof KvError)) return error
  // Something that is no keys API said no, such as the page of another server.
  if (error.errorCode === 0) return new DiscoveryError('BAD_ENDPOINT', undefined, cause)
  const { errorCode, message, subject, index } = error
  return new DiscoveryError('REFUSED', `${errorCode}: ${message} (${subject}) [${index}]`, cause)
}

/** The server with its credentials, the server to show, and the key behind it. */
function splitUrl(text: string): { origin: string; shown: string; path: string } {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const path = url === undefined ? undefined : decode(url.pathname)
  if (url === undefined || path === undefined || !/^https?:$/.test(url.protocol))
    throw new DiscoveryError('INVALID_URL')
  const user = url.username === '' ? '' : `${url.username}:${url.password}@`
  const directory = path.replace(/\/+$/, '')
  return { origin: `${url.protocol}//${user}${url.host}`, shown: url.origin, path: directory }
}

function decode(path: string): string | undefined {
  try {
    return decodeURIComponent(path)
  } catch {
    return undefined
  }
}
