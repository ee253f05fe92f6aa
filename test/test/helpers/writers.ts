import { setTimeout as pause } from 'node:timers/promises'
import { items, member, textOf } from '../../src/harness/json.ts'
import { waitFor } from '../../src/harness/deadline.ts'

const WRITE_MS = 10_000
/** Before a writer that was refused asks the next member. */
const BACKOFF_MS = 20

/** Clients that write as fast as they are answered, and remember what was acknowledged. */
export class Writers {
  readonly #urls: readonly string[]
  readonly #directory: string
  /** Key → modifiedIndex, of acknowledged writes alone. */
  readonly #acknowledged = new Map<string, number>()
  readonly #loops: readonly Promise<void>[]
  #failures = 0
  #isStopped = false

  /** Starts them; each writes new keys below the directory, at the members in turn when one fails. */
  constructor(urls: readonly string[], directory: string, count: number) {
    this.#urls = urls
    this.#directory = directory
    this.#loops = Array.from({ length: count }, (_, number) => this.#loop(number))
  }

  get count(): number {
    return this.#acknowledged.size
  }

  /** Writes that were not acknowledged, whether they took place or not. */
  get failures(): number {
    return this.#failures
  }

  /** What has been acknowledged so far; a copy. */
  get acknowledged(): ReadonlyMap<string, number> {
    return new Map(this.#acknowledged)
  }

  /** Waits until so many more writes are acknowledged. */
  async more(count: number): Promise<void> {
    const from = this.count
    const look = () =>
      this.count >= from + count ? { done: undefined } : { seen: `${this.count - from} more` }
    await waitFor(`${count} more writes`, look, { timeoutMs: 60_000, intervalMs: 10 })
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#loops)
  }

  async #loop(number: number): Promise<void> {
    let at = number
    for (let count = 0; !this.#isStopped; count += 1) {
      const key = `${this.#directory}/${number}/${count}`
      const index = await write(this.#urls[at % this.#urls.length] ?? '', key, String(count))
      if (index !== undefined) this.#acknowledged.set(key, index)
      else {
        this.#failures += 1
        at += 1
        await pause(BACKOFF_MS)
      }
    }
  }
}

/** The modifiedIndex of the acknowledged write, or undefined when it was not acknowledged. */
async function write(url: string, key: string, value: string): Promise<number | undefined> {
  try {
    const response = await fetch(`${url}/v2/keys${key}`, {
      method: 'PUT',
      body: new URLSearchParams({ value }),
      signal: AbortSignal.timeout(WRITE_MS),
    })
    const answer: unknown = await response.json()
    return response.ok ? Number(member(member(answer, 'node'), 'modifiedIndex')) : undefined
  } catch {
    return undefined // whatever broke the connection: it was not acknowledged
  }
}

/** The files below a directory, key → modifiedIndex, by a quorum read at one member. */
export async function filesBelow(url: string, directory: string): Promise<Map<string, number>> {
  const response = await fetch(`${url}/v2/keys${directory}?recursive=true&quorum=true`)
  const text = await response.text()
  if (!response.ok) throw new Error(`${url}: ${text}`)
  const document: unknown = JSON.parse(text)
  const found = new Map<string, number>()
  const visit = (node: unknown): void => {
    const nodes = items(member(node, 'nodes'))
    for (const child of nodes) visit(child)
    // Every file's value is its name.
    const key = textOf(member(node, 'key'))
    if (member(node, 'value') === key.slice(key.lastIndexOf('/') + 1))
      found.set(key, Number(member(node, 'modifiedIndex')))
  }
  visit(member(document, 'node'))
  return found
}
