/** Where requests may go, and which places are left alone for a while. Time is passed in. */
export class Director {
  readonly #failureWaitMs: number
  readonly #random: () => number
  /** Each endpoint and when it may be tried again; 0 for at once. */
  #endpoints: { readonly url: string; readonly fromMs: number }[] = []

  /**
   * @param failureWaitMs how long an endpoint that failed is left alone
   * @param random at least 0, less than 1: proxies spread over the members
   */
  constructor(failureWaitMs: number, random: () => number) {
    this.#failureWaitMs = failureWaitMs
    this.#random = random
  }

  get urls(): readonly string[] {
    return this.#endpoints.map(({ url }) => url)
  }

  /** Those that may be tried now, in the order in which to do so. */
  available(nowMs: number): readonly string[] {
    return this.#endpoints.filter(({ fromMs }) => fromMs <= nowMs).map(({ url }) => url)
  }

  /** The members as they are now: a new order, and nothing is held against anybody. */
  update(urls: readonly string[]): void {
    const left = [...new Set(urls)]
    this.#endpoints = []
    while (left.length > 0) {
      const [url = ''] = left.splice(Math.floor(this.#random() * left.length), 1)
      this.#endpoints.push({ url, fromMs: 0 })
    }
  }

  markUnavailable(url: string, nowMs: number): void {
    this.#endpoints = this.#endpoints.map((endpoint) =>
      endpoint.url === url ? { url, fromMs: nowMs + this.#failureWaitMs } : endpoint,
    )
  }
}
