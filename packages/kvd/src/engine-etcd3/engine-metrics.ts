import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { RequestCounters } from '../http/context.ts'

export interface EngineMetricsSources {
  readonly watchers: () => number
  /** Newest revision that was told to watchers. */
  readonly position: () => number
}

/** What /metrics shows of a front: the original's names for requests, our own for etcd. */
export class EngineMetrics implements RequestCounters {
  readonly #registry = new Registry()
  readonly #received: Counter<'method'>
  readonly #failed: Counter<'method' | 'code'>
  readonly #seconds: Histogram<'method'>
  readonly #conflicts: Counter
  readonly #unknown: Counter

  constructor({ watchers, position }: EngineMetricsSources) {
    const registers = [this.#registry]
    this.#received = new Counter({
      name: 'etcd_http_received_total',
      help: 'Requests to keys received, by method.',
      labelNames: ['method'],
      registers,
    })
    this.#failed = new Counter({
      name: 'etcd_http_failed_total',
      help: 'Requests to keys answered with an error, by method and status.',
      labelNames: ['method', 'code'],
      registers,
    })
    this.#seconds = new Histogram({
      name: 'etcd_http_successful_duration_second',
      help: 'Seconds that successful requests to keys took, by method.',
      labelNames: ['method'],
      buckets: Array.from({ length: 13 }, (_, step) => 0.0005 * 2 ** step),
      registers,
    })
    this.#conflicts = new Counter({
      name: 'kvd_engine_conflicts_total',
      help: 'Transactions that found what they were about changed, and were decided again.',
      registers,
    })
    this.#unknown = new Counter({
      name: 'kvd_engine_failed_writes_total',
      help: 'Writes that were answered with error 300; some of them may have happened.',
      registers,
    })
    gauge(registers, 'etcd_store_watchers', 'Watches that wait for an event.', watchers)
    gauge(registers, 'kvd_engine_revision', 'Newest revision told to watchers.', position)
    collectDefaultMetrics({ register: this.#registry })
  }

  received(method: string): void {
    this.#received.inc({ method })
  }

  failed(method: string, code: number): void {
    this.#failed.inc({ method, code })
  }

  succeeded(method: string, seconds: number): void {
    this.#seconds.observe({ method }, seconds)
  }

  written(conflicts: number, isFailed: boolean): void {
    this.#conflicts.inc(conflicts)
    if (isFailed) this.#unknown.inc()
  }

  async render(): Promise<{ readonly type: string; readonly text: string }> {
    return { type: this.#registry.contentType, text: await this.#registry.metrics() }
  }
}

function gauge(registers: Registry[], name: string, help: string, read: () => number): void {
  const made: Gauge = new Gauge({
    name,
    help,
    registers,
    collect: () => made.set(read()),
  })
}
