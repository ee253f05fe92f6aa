import { connect, isIP } from 'node:net'
import { address, hostOf, portOf } from '../tls/tls-config.ts'

/** A lost packet, or a queue that was full for a moment, is no host that is gone. */
const FAILURES = 2
/** The host does not answer. Whoever refuses is there, and ends its connections itself. */
const GONE = new Set(['EHOSTDOWN', 'EHOSTUNREACH', 'ENETUNREACH', 'ETIMEDOUT'])

/** Whether a host takes connections; false when nothing is heard of it in time. */
export type Dial = (url: URL, timeoutMs: number) => Promise<boolean>

interface Waiter {
  readonly gone: () => void
  /** Attempts in a row that found nobody, since it waits. */
  failures: number
}

/** When there is no limit to a connection. */
const DIAL_MS = 1_000
/** Longer ones count as none for Node's timers. */
export const TIMER_MS_MAX = 2 ** 31 - 1

/**
 * Tells those that wait for an answer of a host that is gone without a word, as after a power cut: on a
 * connection made before, TCP itself goes on for a quarter of an hour. While somebody waits longer than
 * `dialMs`, a connection is tried so often: who sees two in a row that find nobody is told.
 */
export class Liveness {
  readonly #dialMs: number
  readonly #dial: Dial
  readonly #hosts = new Map<string, HostWatch>()

  /** @param dialMs 0 for no limit: a second then */
  constructor(dialMs: number, dial: Dial = dialHost) {
    this.#dialMs = Math.min(dialMs || DIAL_MS, TIMER_MS_MAX)
    this.#dial = dial
  }

  /** @returns how to wait no longer; to be called whatever happens */
  wait(url: URL, gone: () => void): () => void {
    const name = address(url)
    const known = this.#hosts.get(name)
    const host = known ?? new HostWatch(() => this.#dial(url, this.#dialMs), this.#dialMs)
    if (known === undefined) this.#hosts.set(name, host)
    const waiter = { gone, failures: 0 }
    host.add(waiter)
    return () => {
      if (host.remove(waiter) && this.#hosts.get(name) === host) this.#hosts.delete(name)
    }
  }
}

/** One host's waiters, and the attempts to reach it. */
class HostWatch {
  readonly #reach: () => Promise<boolean>
  readonly #everyMs: number
  readonly #waiters = new Set<Waiter>()
  #timer: NodeJS.Timeout | undefined

  constructor(reach: () => Promise<boolean>, everyMs: number) {
    this.#reach = reach
    this.#everyMs = everyMs
  }

  add(waiter: Waiter): void {
    this.#waiters.add(waiter)
    if (this.#waiters.size === 1) this.#schedule()
  }

  /** True when nobody is left. */
  remove(waiter: Waiter): boolean {
    this.#waiters.delete(waiter)
    if (this.#waiters.size > 0) return false
    clearTimeout(this.#timer)
    return true
  }

  #schedule(): void {
    this.#timer = setTimeout(() => void this.#look(), this.#everyMs)
  }

  async #look(): Promise<void> {
    const witnesses = [...this.#waiters]
    const isThere = await this.#reach()
    for (const waiter of witnesses) {
      if (!this.#waiters.has(waiter)) continue
      waiter.failures = isThere ? 0 : waiter.failures + 1
      if (waiter.failures >= FAILURES) waiter.gone()
    }
    // Without anybody the host is forgotten: whoever comes next gets a watch of their own.
    if (this.#waiters.size > 0) this.#schedule()
  }
}

/**
 * Opens a connection and ends it at once. A want of this side's own, such as descriptors or a name server
 * that does not answer, says nothing.
 */
export async function dialHost(url: URL, timeoutMs: number): Promise<boolean> {
  const host = hostOf(url)
  return await new Promise((resolve) => {
    let isFound = isIP(host) !== 0
    const socket = connect({ host, port: portOf(url) })
    const settle = (isThere: boolean): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(isThere)
    }
    const start = (): NodeJS.Timeout => setTimeout(() => settle(!isFound), timeoutMs)
    let timer = start()
    socket.once('lookup', () => {
      isFound = true
      clearTimeout(timer)
      timer = start()
    })
    socket.once('connect', () => settle(true))
    socket.once('error', (error) => settle(!('code' in error && GONE.has(String(error.code)))))
  })
}
