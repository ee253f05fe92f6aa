import { setMaxListeners } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { fieldsOf, parseEvent } from '../helpers/answers.ts'
import type { Random } from '../helpers/random.ts'
import { nameOf, type Endpoint } from './clients.ts'
import type { Violation } from './violation.ts'
import type { Session, Watch, WatchLog } from './watch-log.ts'

/** What is watched: of all that `chooseWrite` writes to and of the keys that are judged. */
const EVERYTHING = ['/', true] as const
const WATCHED: readonly (readonly [path: string, recursive: boolean])[] = [
  EVERYTHING,
  ['/w0', true],
  ['/shared', true],
  ['/lin', true],
  ['/w0/deep/er/k1', false],
  ['/_hidden', true],
  ['/w1/k1', false],
  ['/w1/deep', true],
]

/**
 * `poll`: one event a request, from the last index on. `stream`: from now on, until it breaks.
 * `resume`: a stream from the last index on, which ends early where it came from history.
 */
const MANNERS = ['poll', 'stream', 'resume'] as const

const HANG_UP_MS = { poll: 4_000, stream: 5_000, resume: 700 }
/** How long a stream that came out of history is kept. */
const HISTORY_MS = 10
const SLOW_MS_MAX = 500
const RETRY_MS = 30
const CHECK_MS = 20

/** One who watches, at a member of his choice each time. */
interface Watcher {
  readonly name: string
  readonly path: string
  readonly recursive: boolean
  readonly manner: (typeof MANNERS)[number]
  /** Told of everything up to here. */
  last: number
  /** The index of the last event there will be, when it is known. */
  end: number
}

export interface WatchClientsOptions {
  readonly endpoints: readonly Endpoint[]
  readonly log: WatchLog
  readonly random: Random
  readonly watchers: number
}

/** Watchers that hang up, read slowly, change members and resume. */
export class WatchClients {
  readonly #options: WatchClientsOptions
  readonly #watchers: readonly Watcher[]
  readonly #stop = new AbortController()

  constructor(options: WatchClientsOptions) {
    this.#options = options
    // One for each request under way.
    setMaxListeners(0, this.#stop.signal)
    this.#watchers = Array.from({ length: options.watchers }, (_, n) => {
      const [path, recursive] = WATCHED[n % WATCHED.length] ?? EVERYTHING
      // Three manners and eight paths: all pairs come up.
      const manner = MANNERS[(n + 2 * Math.floor(n / WATCHED.length)) % MANNERS.length] ?? 'poll'
      return { name: `w${n} (${manner})`, path, recursive, manner, last: 0, end: Infinity }
    })
  }

  /** Runs until `finish` or `stop`. */
  async run(): Promise<void> {
    await Promise.all(
      this.#watchers.map((watcher) => this.#follow(watcher, this.#options.random.fork())),
    )
  }

  /** The keys whose writes tell everybody that nothing more will come. */
  get endKeys(): readonly string[] {
    return [...new Set(this.#watchers.map(endKeyOf))]
  }

  /**
   * `ends` has the index of the last write to each end key. Everybody must be told of it, or at least
   * of something more each `limitMs`: a poll of everything brings one event at a time. Gives those who
   * were not.
   */
  async finish(ends: ReadonlyMap<string, number>, limitMs: number): Promise<Violation[]> {
    for (const watcher of this.#watchers) watcher.end = ends.get(endKeyOf(watcher)) ?? 0
    const known = new Map<Watcher, { readonly last: number; readonly sinceMs: number }>()
    const late: Watcher[] = []
    for (let waiting = [...this.#watchers]; waiting.length > 0; await delay(CHECK_MS)) {
      const nowMs = performance.now()
      waiting = waiting.filter((watcher) => !isAtEnd(watcher) && !late.includes(watcher))
      for (const watcher of waiting) {
        const { last, sinceMs } = known.get(watcher) ?? { last: NaN, sinceMs: nowMs }
        if (last !== watcher.last) known.set(watcher, { last: watcher.last, sinceMs: nowMs })
        else if (nowMs - sinceMs > limitMs) late.push(watcher)
      }
    }
    this.stop()
    return late.map(({ name, path, last, end }) => ({
      id: 'W4',
      message: `${name} of ${path} was told up to ${last} and never of the last event ${end}`,
    }))
  }

  stop(): void {
    this.#stop.abort()
  }

  async #follow(watcher: Watcher, random: Random): Promise<void> {
    const { endpoints, log } = this.#options
    const { signal } = this.#stop
    while (!signal.aborted && !isAtEnd(watcher)) {
      const endpoint = random.pick(endpoints)
      const session = log.open(watcher.name, nameOf(endpoint), watchOf(watcher))
      const before = watcher.last
      const pauseMs = random.chance(0.1) ? random.int(1, SLOW_MS_MAX) : 0
      const hangUpMs = random.int(1, HANG_UP_MS[watcher.manner])
      await runSession({ session, endpoint, log, watcher, hangUpMs, pauseMs, signal })
      if (watcher.last === before) await delay(RETRY_MS)
    }
  }
}

function endKeyOf({ path, recursive }: Watcher): string {
  return recursive ? `${path === '/' ? '' : path}/end` : path
}

function isAtEnd({ last, end }: Watcher): boolean {
  return last >= end
}

function watchOf({ path, recursive, manner, last }: Watcher): Watch {
  const stream = manner !== 'poll'
  if (manner === 'stream' || last === 0) return { path, recursive, stream }
  return { path, recursive, stream, waitIndex: last + 1 }
}

interface SessionOptions {
  readonly session: Session
  readonly endpoint: Endpoint
  readonly log: WatchLog
  readonly watcher: Watcher
  readonly hangUpMs: number
  /** How long the answer is left unread first. */
  readonly pauseMs: number
  readonly signal: AbortSignal
}

/** Sends one request for a watch and notes all that comes, until one side ends it. */
async function runSession(options: SessionOptions): Promise<void> {
  const { session, endpoint, hangUpMs, pauseMs, signal } = options
  const { path, recursive, stream, waitIndex } = session.watch
  const from = waitIndex === undefined ? '' : `&waitIndex=${waitIndex}`
  const query = `wait=true&recursive=${recursive}&stream=${stream}${from}`
  const { host, port } = endpoint
  const target = `/v2/keys${path}?${query}`
  await new Promise<void>((resolve) => {
    const sent = request({ host, port, path: target, agent: false, signal }, (response) => {
      session.etcdIndex = Number(response.headers['x-etcd-index'] ?? 0)
      if (response.statusCode === 200) readEvents(response, options)
      else readRefusal(response, options)
      if (pauseMs === 0) return
      response.pause()
      setTimeout(() => response.resume(), pauseMs)
    })
    const hangUp = setTimeout(() => sent.destroy(), hangUpMs)
    sent.on('error', () => undefined) // the member is away, or we hung up; `close` follows
    sent.on('close', () => {
      clearTimeout(hangUp)
      resolve()
    })
    sent.end()
  })
}

function readEvents(response: IncomingMessage, { session, log, watcher }: SessionOptions): void {
  if (session.watch.waitIndex === undefined)
    watcher.last = Math.max(watcher.last, session.etcdIndex ?? 0)
  let rest = ''
  response.setEncoding('utf8')
  response.on('error', () => undefined) // an answer that ends in the middle
  response.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      const event = parseEvent(line)
      log.received(session, event)
      watcher.last = Math.max(watcher.last, event.node.modifiedIndex)
    }
    // kvd.md 6.3: a stream that began with history may never say more.
    const isHistory =
      session.watch.waitIndex !== undefined && watcher.last <= (session.etcdIndex ?? 0)
    if (isAtEnd(watcher)) response.destroy()
    else if (isHistory && lines.length > 0) setTimeout(() => response.destroy(), HISTORY_MS)
  })
}

/** Error 401: whoever is too late goes on from now. Whatever else is said, he asks again. */
function readRefusal(response: IncomingMessage, { session, watcher }: SessionOptions): void {
  let body = ''
  response.setEncoding('utf8')
  response.on('error', () => undefined)
  response.on('data', (chunk: string) => (body += chunk))
  response.on('end', () => {
    if (response.statusCode !== 400) return
    const { errorCode, cause, index } = fieldsOf(JSON.parse(body))
    if (errorCode !== 401) return
    session.refusal = String(cause)
    watcher.last = Math.max(watcher.last, Number(index))
  })
}
