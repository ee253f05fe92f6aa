import type { Registry } from 'prom-client'
import { NONE } from '../raft/types.ts'
import { COUNTERS, type Counter } from '../store/stats.ts'
import type { Store } from '../store/store.ts'
import type { Replica } from '../replica/replica.ts'
import type { RequestCounters } from './context.ts'

/** Upper bounds in seconds: etcd's exponential buckets, 0.5 ms and doubling 13 times. */
const BUCKETS = Array.from({ length: 13 }, (_, step) => 0.0005 * 2 ** step)

/** A histogram that costs an array write per observation; prom-client renders it on a scrape. */
class Histogram {
  readonly counts = new Float64Array(BUCKETS.length + 1)
  sum = 0

  observe(seconds: number): void {
    let bucket = 0
    while (bucket < BUCKETS.length && seconds > (BUCKETS[bucket] ?? 0)) bucket += 1
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1
    this.sum += seconds
  }
}

type Labels = Record<string, string | number>

interface Sample {
  readonly value: number
  readonly labels: Labels
  readonly metricName?: string
}

interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly samples: () => readonly Sample[]
}

const ACTIONS: Readonly<Record<string, readonly Counter[]>> = {
  set: ['setsSuccess', 'setsFail'],
  create: ['createSuccess', 'createFail'],
  update: ['updateSuccess', 'updateFail'],
  delete: ['deleteSuccess', 'deleteFail'],
  compareAndSwap: ['compareAndSwapSuccess', 'compareAndSwapFail'],
  compareAndDelete: ['compareAndDeleteSuccess', 'compareAndDeleteFail'],
}

export interface MetricsSources {
  readonly store: Store
  readonly replica: Replica
  readonly openFiles: () => number
  readonly maxFiles: number
  /** To other members. */
  readonly messages: { readonly dropped: number }
}

/** Everything /metrics shows, under the original's names (kvd.md 9) and our own `kvd_...`. */
export class Metrics implements RequestCounters {
  readonly #sources: MetricsSources
  readonly #received = new Map<string, number>()
  readonly #failed = new Map<string, { method: string; code: number; count: number }>()
  readonly #durations = new Map<string, Histogram>()
  readonly #fsync = new Histogram()
  readonly #proposals = new Histogram()
  #leaderChanges = 0
  #process: Promise<Registry> | undefined

  constructor(sources: MetricsSources) {
    this.#sources = sources
    sources.replica.onProposal((ms) => this.#proposals.observe(ms / 1000))
    sources.replica.onLead(() => {
      this.#leaderChanges += 1
    })
    sources.replica.onCommit((commitMs) => this.#fsync.observe(commitMs / 1000))
  }

  received(method: string): void {
    this.#received.set(method, (this.#received.get(method) ?? 0) + 1)
  }

  failed(method: string, code: number): void {
    const name = `${method} ${code}`
    const row = this.#failed.get(name)
    if (row === undefined) this.#failed.set(name, { method, code, count: 1 })
    else row.count += 1
  }

  succeeded(method: string, seconds: number): void {
    let histogram = this.#durations.get(method)
    if (histogram === undefined) {
      histogram = new Histogram()
      this.#durations.set(method, histogram)
    }
    histogram.observe(seconds)
  }

  /** Prometheus text; prom-client is loaded with the first scrape (spec: footprint). */
  async render(): Promise<{ readonly type: string; readonly text: string }> {
    // Once: each call would add observers of its own.
    this.#process ??= import('prom-client').then(({ Registry, collectDefaultMetrics }) => {
      const created = new Registry()
      collectDefaultMetrics({ register: created })
      return created
    })
    const registry = await this.#process.catch((error: unknown) => {
      this.#process = undefined
      throw error
    })
    const own = this.#families().map(renderFamily)
    return { type: registry.contentType, text: `${own.join('')}${await registry.metrics()}` }
  }

  #families(): readonly MetricFamily[] {
    return [
      ...this.#requestFamilies(),
      ...this.#storeFamilies(),
      ...this.#logFamilies(),
      ...this.#raftFamilies(),
    ]
  }

  #requestFamilies(): readonly MetricFamily[] {
    return [
      {
        name: 'etcd_http_received_total',
        help: 'Requests to keys received, by method.',
        type: 'counter',
        samples: () =>
          [...this.#received].map(([method, value]) => ({ value, labels: { method } })),
      },
      {
        name: 'etcd_http_failed_total',
        help: 'Requests to keys answered with an error, by method and status.',
        type: 'counter',
        samples: () =>
          [...this.#failed.values()].map(({ method, code, count }) => ({
            value: count,
            labels: { method, code },
          })),
      },
      {
        name: 'etcd_http_successful_duration_second',
        help: 'Seconds that successful requests to keys took, by method.',
        type: 'histogram',
        samples: () =>
          [...this.#durations].flatMap(([method, histogram]) =>
            histogramSamples('etcd_http_successful_duration_second', histogram, { method }),
          ),
      },
    ]
  }

  #storeFamilies(): readonly MetricFamily[] {
    const { store } = this.#sources
    const reads = (): readonly Sample[] => [
      { value: store.counter('getsSuccess'), labels: { action: 'get' } },
    ]
    const writes = (): readonly Sample[] =>
      Object.entries(ACTIONS).map(([action, [success]]) => ({
        value: success === undefined ? 0 : store.counter(success),
        labels: { action },
      }))
    return [
      family('etcd_store_reads_total', 'Reads that found their node.', 'counter', reads),
      family('etcd_store_writes_total', 'Writes that succeeded, by action.', 'counter', writes),
      single('etcd_store_expires_total', 'Nodes that expired.', 'counter', () =>
        store.counter('expireCount'),
      ),
      single(
        'etcd_store_watchers',
        'Watches that wait for an event.',
        'gauge',
        () => store.watchers.count,
      ),
      single(
        'etcd_store_watch_requests_total',
        'Watches that were begun.',
        'counter',
        () => store.watchers.added,
      ),
      single('kvd_store_index', 'The index of the store.', 'gauge', () => store.index),
      single('kvd_history_events', 'Events in the history.', 'gauge', () => store.history.size),
      single(
        'kvd_history_oldest_index',
        'Oldest index that a watch can resume from.',
        'gauge',
        () => store.history.first,
      ),
      single(
        'kvd_store_operations_total',
        'All counters of /v2/stats/store, added up.',
        'counter',
        () => COUNTERS.reduce((sum, counter) => sum + store.counter(counter), 0),
      ),
    ]
  }

  #raftFamilies(): readonly MetricFamily[] {
    const { replica, messages } = this.#sources
    return [
      single('kvd_raft_term', 'The term of this member.', 'gauge', () => replica.term),
      single('kvd_raft_is_leader', '1 while this member leads.', 'gauge', () =>
        replica.isLeader ? 1 : 0,
      ),
      single('kvd_raft_has_leader', '1 while this member knows who leads.', 'gauge', () =>
        replica.lead === NONE ? 0 : 1,
      ),
      single(
        'kvd_divergence',
        '1 when this member holds something else than the others.',
        'gauge',
        () => (replica.isDiverged ? 1 : 0),
      ),
      single(
        'kvd_raft_commit',
        'Index of the last log entry known to be committed.',
        'gauge',
        () => replica.raft.commit,
      ),
      single(
        'kvd_raft_applied',
        'Index of the last log entry in the store.',
        'gauge',
        () => replica.appliedIndex,
      ),
      single(
        'kvd_raft_last',
        'Index of the last entry in the log.',
        'gauge',
        () => replica.lastIndex,
      ),
      single(
        'kvd_raft_voters',
        'Members that count in elections and commits.',
        'gauge',
        () => replica.machine.conf.voters.length,
      ),
      single(
        'kvd_raft_learners',
        'Members that get the log and do not count yet.',
        'gauge',
        () => replica.machine.conf.learners.length,
      ),
      single(
        'kvd_raft_leader_changes_total',
        'How often another member began to lead, or none.',
        'counter',
        () => this.#leaderChanges,
      ),
      single(
        'etcd_rafthttp_message_sent_failed_total',
        'Messages to other members that could not be sent.',
        'counter',
        () => messages.dropped,
      ),
    ]
  }

  #logFamilies(): readonly MetricFamily[] {
    const { replica, openFiles, maxFiles } = this.#sources
    return [
      family(
        'etcd_server_proposal_durations_seconds',
        'Seconds from a proposal to its answer.',
        'histogram',
        () => histogramSamples('etcd_server_proposal_durations_seconds', this.#proposals, {}),
      ),
      single(
        'etcd_server_proposal_failed_total',
        'Proposals refused or told that they are late.',
        'counter',
        () => replica.status.failed,
      ),
      single(
        'etcd_server_pending_proposal_total',
        'Proposals not yet durable.',
        'gauge',
        () => replica.pending,
      ),
      single('etcd_server_file_descriptors_used_total', 'Open files.', 'gauge', openFiles),
      single('kvd_file_descriptors_limit', 'Open files allowed.', 'gauge', () => maxFiles),
      single(
        'etcd_wal_last_index_saved',
        'Index of the last durable log entry.',
        'gauge',
        () => replica.appliedIndex,
      ),
      single('kvd_disk_full', '1 while writes wait for room on the disk.', 'gauge', () =>
        replica.status.isFull ? 1 : 0,
      ),
      family(
        'etcd_wal_fsync_durations_seconds',
        'Seconds that a commit of the log took, its fsync included.',
        'histogram',
        () => histogramSamples('etcd_wal_fsync_durations_seconds', this.#fsync, {}),
      ),
    ]
  }
}

function family(
  name: string,
  help: string,
  type: MetricFamily['type'],
  samples: MetricFamily['samples'],
): MetricFamily {
  return { name, help, type, samples }
}

function single(
  name: string,
  help: string,
  type: 'counter' | 'gauge',
  value: () => number,
): MetricFamily {
  return { name, help, type, samples: () => [{ value: value(), labels: {} }] }
}

function histogramSamples(name: string, histogram: Histogram, labels: Labels): readonly Sample[] {
  let total = 0
  const samples: Sample[] = []
  for (const [at, count] of histogram.counts.entries()) {
    total += count
    const le = at < BUCKETS.length ? String(BUCKETS[at]) : '+Inf'
    samples.push({ value: total, labels: { ...labels, le }, metricName: `${name}_bucket` })
  }
  samples.push({ value: histogram.sum, labels, metricName: `${name}_sum` })
  samples.push({ value: total, labels, metricName: `${name}_count` })
  return samples
}

/** One family in Prometheus' text format. Label values here need no escapes: methods, codes, bounds. */
function renderFamily({ name, help, type, samples }: MetricFamily): string {
  const lines = samples().map(({ value, labels, metricName = name }) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${text}"`)
    return `${metricName}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}\n`
  })
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
}
