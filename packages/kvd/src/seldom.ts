/** A thing that goes on is said again after this time. */
const AGAIN_MS = 10 * 60_000
/** So many things are said in that time: those who can be made up by strangers have an end. */
const THINGS_MAX = 100

/**
 * Which of the things that come up again and again are worth a line in the log: each once, and once
 * more after 10 minutes. Time is passed in.
 */
export class Seldom {
  readonly #saidMs = new Map<string, number>()

  /** True when it is to be said. `about` is whom it concerns. */
  isNews(about: string, what: string, nowMs: number): boolean {
    const thing = `${about}\n${what}`
    const saidMs = this.#saidMs.get(thing)
    if (saidMs !== undefined && nowMs - saidMs < AGAIN_MS) return false
    if (this.#saidMs.size >= THINGS_MAX) this.#forgetOlder(nowMs - AGAIN_MS)
    if (this.#saidMs.size >= THINGS_MAX && saidMs === undefined) return false
    this.#saidMs.set(thing, nowMs)
    return true
  }

  #forgetOlder(thanMs: number): void {
    for (const [thing, ms] of this.#saidMs) if (ms <= thanMs) this.#saidMs.delete(thing)
  }

  /** All is well with somebody: what comes up next is news again. */
  forget(about: string): void {
    for (const thing of this.#saidMs.keys())
      if (thing.startsWith(`${about}\n`)) this.#saidMs.delete(thing)
  }
}
