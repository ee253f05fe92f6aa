import { METHODS } from 'node:http'
import { Counter, Histogram, Registry, collectDefaultMetrics } from 'prom-client'

/** Why a request was not passed on, in the original's words. */
export type ProxyProblem = 'zero_endpoints' | 'failed_sending_request' | 'failed_getting_response'

/** The proxy's own metrics, under the original's names (kvd.md 9). */
export class ProxyMetrics {
  readonly #registry = new Registry()
  readonly #requests: Counter<'method'>
  readonly #handled: Counter<'method' | 'code'>
  readonly #dropped: Counter<'method' | 'proxying_error'>
  readonly #seconds: Histogram<'method'>

  constructor() {
    const registers = [this.#registry]
    this.#requests = new Counter({
      name: 'etcd_proxy_requests_total',
      help: 'Requests that came in',
      labelNames: ['method'],
      registers,
    })
    this.#handled = new Counter({
      name: 'etcd_proxy_handled_total',
      help: 'Requests that a member answered',
      labelNames: ['method', 'code'],
      registers,
    })
    this.#dropped = new Counter({
      name: 'etcd_proxy_dropped_total',
      help: 'Requests that no member answered',
      labelNames: ['method', 'proxying_error'],
      registers,
    })
    this.#seconds = new Histogram({
      name: 'etcd_proxy_handling_duration_seconds',
      help: 'Time until a member began to answer',
      labelNames: ['method'],
      buckets: Array.from({ length: 13 }, (_, step) => 0.0005 * 2 ** step),
      registers,
    })
    collectDefaultMetrics({ register: this.#registry })
  }

  received(method: string): void {
    this.#requests.inc({ method: label(method) })
  }

  answered(method: string, code: number, seconds: number): void {
    this.#handled.inc({ method: label(method), code })
    this.#seconds.observe({ method: label(method) }, seconds)
  }

  dropped(method: string, problem: ProxyProblem): void {
    this.#dropped.inc({ method: label(method), proxying_error: problem })
  }

  get type(): string {
    return this.#registry.contentType
  }

  async text(): Promise<string> {
    return await this.#registry.metrics()
  }
}

const KNOWN = new Set(METHODS)

/** Whatever a stranger makes up is one series, not one each. */
function label(method: string): string {
  return KNOWN.has(method) ? method : 'other'
}
