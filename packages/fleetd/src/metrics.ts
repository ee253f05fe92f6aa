/** Counters of the engine, served in Prometheus' text format under the names of fleet 1.0. */
export class Metrics {
  readonly #counters = new Map<string, number>()
  #leaderSince = 0

  becameLeader(nowMs: number): void {
    this.#leaderSince = nowMs / 1000
  }

  /** `type` is the task's name; labels are lower case. */
  task(type: string): void {
    this.#add(`fleet_engine_task_count_total{type="${type.toLowerCase()}"}`)
  }

  taskFailure(type: string): void {
    this.#add(`fleet_engine_task_failure_count_total{type="${type.toLowerCase()}"}`)
  }

  reconciled(): void {
    this.#add('fleet_engine_reconcile_count_total')
  }

  reconcileFailure(type: 'machine_away' | 'run' | 'schedule'): void {
    this.#add(`fleet_engine_reconcile_failure_count_total{type="${type}"}`)
  }

  #add(series: string): void {
    this.#counters.set(series, (this.#counters.get(series) ?? 0) + 1)
  }

  text(): string {
    const lines = [...FAMILIES].flatMap(([name, { help, type }]) => {
      const series = [...this.#counters].filter(([key]) => key.replace(/\{.*/, '') === name)
      const values = name === LEADER_TIME ? [[name, this.#leaderSince] as const] : series
      const head = [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`]
      return values.length === 0
        ? []
        : [...head, ...values.map(([key, value]) => `${key} ${value}`)]
    })
    return `${lines.join('\n')}\n`
  }
}

const LEADER_TIME = 'fleet_engine_leader_start_time'

const FAMILIES = new Map([
  [
    LEADER_TIME,
    { help: 'Start time of becoming an engine leader since epoch in seconds.', type: 'gauge' },
  ],
  ['fleet_engine_task_count_total', { help: 'Counter of engine schedule tasks.', type: 'counter' }],
  [
    'fleet_engine_task_failure_count_total',
    { help: 'Counter of engine schedule task failures.', type: 'counter' },
  ],
  ['fleet_engine_reconcile_count_total', { help: 'Counter of reconcile rounds.', type: 'counter' }],
  [
    'fleet_engine_reconcile_failure_count_total',
    { help: 'Counter of scheduling failures.', type: 'counter' },
  ],
])
