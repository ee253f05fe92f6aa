import type { MemberId, Message } from '../raft/types.ts'

/** Rates are those of the last so many appends (etcd 2.3 etcdserver/stats/queue.go). */
const QUEUE_LENGTH = 200

/** Times and sizes of the last appends, for rates. */
class Rate {
  #count = 0
  #recent: { readonly ms: number; readonly bytes: number }[] = []

  get count(): number {
    return this.#count
  }

  add(ms: number, bytes: number): void {
    this.#count += 1
    this.#recent.push({ ms, bytes })
    if (this.#recent.length > 2 * QUEUE_LENGTH) this.#recent = this.#recent.slice(-QUEUE_LENGTH)
  }

  /** Appends and bytes a second; zeros when there is nothing to tell by. */
  perSecond(): { readonly packages: number; readonly bytes: number } {
    const recent = this.#recent.slice(-QUEUE_LENGTH)
    const spanMs = (recent.at(-1)?.ms ?? 0) - (recent[0]?.ms ?? 0)
    if (spanMs <= 0) return { packages: 0, bytes: 0 }
    const bytes = recent.reduce((sum, one) => sum + one.bytes, 0)
    return { packages: (recent.length * 1000) / spanMs, bytes: (bytes * 1000) / spanMs }
  }
}

/** How long a follower took to answer, in milliseconds, and how often it did not. */
class Latency {
  #sent: { readonly index: number; readonly ms: number } | undefined
  #current = 0
  #sum = 0
  #squares = 0
  #minimum = Infinity
  #maximum = 0
  /** Answers that were timed: of the appends on their way at once only the first is. */
  #timed = 0
  #success = 0
  #fail = 0

  /** One append at a time is timed. */
  sent(index: number, ms: number): void {
    this.#sent ??= { index, ms }
  }

  answered(index: number, ms: number): void {
    this.#success += 1
    if (this.#sent === undefined || index < this.#sent.index) return
    const took = ms - this.#sent.ms
    this.#sent = undefined
    this.#timed += 1
    this.#current = took
    this.#sum += took
    this.#squares += took * took
    this.#minimum = Math.min(this.#minimum, took)
    this.#maximum = Math.max(this.#maximum, took)
  }

  failed(): void {
    this.#fail += 1
    this.#sent = undefined
  }

  json(): object {
    const count = Math.max(1, this.#timed)
    const average = this.#sum / count
    const variance = Math.max(0, this.#squares / count - average * average)
    return {
      latency: {
        current: this.#current,
        average,
        standardDeviation: Math.sqrt(variance),
        minimum: Number.isFinite(this.#minimum) ? this.#minimum : 0,
        maximum: this.#maximum,
      },
      counts: { fail: this.#fail, success: this.#success },
    }
  }
}

/** What /v2/stats tells of the appends between members. */
export class AppendStats {
  readonly #nowMs: () => number
  readonly #received = new Rate()
  readonly #sent = new Rate()
  readonly #followers = new Map<MemberId, Latency>()

  /** @param nowMs a clock that never goes back */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  sent(message: Message): void {
    if (message.type !== 'app') return
    const ms = this.#nowMs()
    const last = message.entries.at(-1)
    this.#sent.add(ms, bytesOf(message.entries))
    if (last !== undefined) this.#of(message.to).sent(last.index, ms)
  }

  received(message: Message): void {
    if (message.type === 'app') this.#received.add(this.#nowMs(), bytesOf(message.entries))
    else if (message.type === 'appResp')
      this.#of(message.from).answered(message.index, this.#nowMs())
  }

  failed(id: MemberId): void {
    this.#of(id).failed()
  }

  #of(id: MemberId): Latency {
    let latency = this.#followers.get(id)
    if (latency === undefined) {
      latency = new Latency()
      this.#followers.set(id, latency)
    }
    return latency
  }

  /** Members that are there: those that are gone are forgotten. */
  followers(ids: readonly MemberId[]): Record<string, object> {
    for (const id of this.#followers.keys()) if (!ids.includes(id)) this.#followers.delete(id)
    return Object.fromEntries(ids.map((id) => [id, this.#of(id).json()]))
  }

  self(): object {
    const received = this.#received.perSecond()
    const sent = this.#sent.perSecond()
    return {
      recvAppendRequestCnt: this.#received.count,
      ...rates('recv', received),
      sendAppendRequestCnt: this.#sent.count,
      ...rates('send', sent),
    }
  }
}

/** Left out while there are none, as in the original. */
function rates(
  way: 'recv' | 'send',
  { packages, bytes }: { readonly packages: number; readonly bytes: number },
): object {
  return packages === 0 ? {} : { [`${way}PkgRate`]: packages, [`${way}BandwidthRate`]: bytes }
}

function bytesOf(entries: readonly { readonly data: Uint8Array }[]): number {
  let bytes = 0
  for (const { data } of entries) bytes += data.length
  return bytes
}
