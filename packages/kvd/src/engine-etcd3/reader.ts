import { isRefusal, refusal, type Refusal } from '../store/errors.ts'
import { createStats } from '../store/stats.ts'
import { Store, type NodeRow } from '../store/store.ts'
import { EtcdError } from './etcd-error.ts'
import type { Etcd } from './etcd.ts'
import type { FrontStats } from './front-stats.ts'
import { parentOf, type Layout } from './layout.ts'
import type { Header, KeyValue, RangeRequest } from './messages.ts'
import { indexOf, nodesAmong } from './nodes.ts'
import { readsOf, rowsOf, viewOf, type Scope } from './view.ts'

/** So often a listing begins again when etcd forgets the revision that it is about. */
const ATTEMPTS_MAX = 3

export interface ReaderOptions {
  readonly etcd: Pick<Etcd, 'read'>
  readonly layout: Layout
  readonly stats: FrontStats
}

export interface WantedRead {
  readonly key: string
  readonly recursive: boolean
  readonly sorted: boolean
  /** Answered by one member, which may be behind. */
  readonly isSerializable: boolean
  readonly nowMs: number
}

export interface Found {
  readonly header: Header
  /** JSON of the node. */
  readonly json: string
}

/** Reads nodes as they were at one revision. */
export class Reader {
  readonly #options: ReaderOptions

  constructor(options: ReaderOptions) {
    this.#options = options
  }

  async read(wanted: WantedRead): Promise<Found | Refusal> {
    for (let attempt = 1; ; attempt += 1)
      try {
        return await this.#read(wanted)
      } catch (error) {
        if (!(error instanceof EtcdError)) throw error
        if (error.code !== 'COMPACTED' || attempt === ATTEMPTS_MAX)
          return refusal(300, error.message, 0)
      }
  }

  async #read(wanted: WantedRead): Promise<Found | Refusal> {
    const { key, recursive, sorted, nowMs } = wanted
    const { header, rows } = await this.#rows(wanted)
    const index = indexOf(header.revision)
    const store = new Store({ historySize: 1 })
    store.load({ index, count: rows.length, stats: createStats() }, rows, [])
    try {
      const found = store.read({ space: 'keys', key, recursive, sorted, nowMs })
      this.#options.stats.add(store)
      return isRefusal(found) ? found : { header, json: found.json }
    } catch (error) {
      // Longer than a string can be.
      if (!(error instanceof RangeError)) throw error
      return refusal(300, 'etcdserver: the answer is too long', index)
    }
  }

  async #rows(wanted: WantedRead): Promise<{ header: Header; rows: readonly NodeRow[] }> {
    const { etcd, layout } = this.#options
    const { key, isSerializable } = wanted
    const scope: Scope = { layout, key, isInOrder: false, needsChild: false }
    const way = readsOf(scope)
    const wish = (request: RangeRequest): RangeRequest => ({
      ...request,
      serializable: isSerializable,
    })
    const requests = [...way, ...levelOf(layout, key, 1)]
    const { header, ranges } = await etcd.read(requests.map(wish))
    const rows = [...rowsOf(scope, viewOf(scope, header.revision, ranges))]
    const last = rows.at(-1)
    const isDir = key === '/' || (last?.key === key && last.value === undefined)
    if (!isDir) return { header, rows }
    const present = new Set([key])
    let level = nodesOf(layout, ranges.slice(way.length), present)
    rows.push(...level)
    for (let levels = 2; wanted.recursive && level.some(isDirectory); levels += 1) {
      for (const row of level) if (isDirectory(row)) present.add(row.key)
      const below = levelOf(layout, key, levels).map((request) => ({
        ...wish(request),
        revision: header.revision,
      }))
      level = nodesOf(layout, (await etcd.read(below)).ranges, present)
      rows.push(...level)
    }
    return { header, rows }
  }
}

function levelOf(layout: Layout, key: string, levels: number): readonly RangeRequest[] {
  return [layout.below(key, levels), layout.companionsBelow(key, levels)]
}

function isDirectory(row: NodeRow): boolean {
  return row.value === undefined
}

/** Nodes of one level whose directory is there: of an expired one, some may be left for a moment. */
function nodesOf(
  layout: Layout,
  ranges: readonly (readonly KeyValue[])[],
  directories: ReadonlySet<string>,
): readonly NodeRow[] {
  return nodesAmong(layout, ranges.flat()).filter(({ key }) => directories.has(parentOf(key)))
}
