import {
  KvError,
  type CallOptions,
  type DeleteOptions,
  type GetOptions,
  type KeysApi,
  type KvNode,
  type KvResponse,
  type SetOptions,
  type TtlOptions,
  type WatchEvent,
  type WatchOptions,
} from '@flotilla/kv-client'

interface Entry {
  value: string
  createdIndex: number
  modifiedIndex: number
  /** On the store's own clock. */
  expiresAt: number | undefined
}

const MESSAGES = new Map([
  [100, 'Key not found'],
  [101, 'Compare failed'],
  [105, 'Key already exists'],
  [108, 'Directory not empty'],
])

/** What a client asked for: verb and key. */
export type Asked = readonly [verb: string, key: string]

/** A v2 store in memory, for one process, with a clock that tests move. Directories are what keys imply. */
export class FakeStore implements KeysApi {
  readonly asked: Asked[] = []
  readonly #entries = new Map<string, Entry>()
  readonly #history: KvResponse[] = []
  readonly #watchers = new Set<() => void>()
  #index = 0
  #now = 0
  /** While true every request fails as with no store there. */
  isAway = false
  /** While true watches deliver nothing, as over a connection that hangs. */
  isMute = false

  /** Values by key below a prefix. */
  tree(prefix: string): Record<string, string> {
    const below = [...this.#entries].filter(([key]) => key.startsWith(`${prefix}/`))
    const pairs = below.map(([key, { value }]) => [key.slice(prefix.length + 1), value] as const)
    return Object.fromEntries(pairs.toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }

  /** Moves the clock; keys whose time is over expire, unless the store is away: then they do when it is back. */
  advance(seconds: number): void {
    this.#now += seconds
    if (!this.isAway) this.#expire()
  }

  /** The store is back; whatever has run out meanwhile expires at once, as in etcd. */
  comeBack(): void {
    this.isAway = false
    this.#expire()
  }

  #expire(): void {
    for (const [key, entry] of this.#entries) {
      if (entry.expiresAt === undefined || entry.expiresAt > this.#now) continue
      this.#entries.delete(key)
      this.#notify('expire', this.#bare(key))
    }
  }

  #bare(key: string): KvNode {
    this.#index += 1
    return { key, modifiedIndex: this.#index, createdIndex: this.#index }
  }

  #notify(action: string, node: KvNode): KvResponse {
    const response = { ...this.#wrap(action, node) }
    this.#history.push(response)
    for (const wake of this.#watchers) wake()
    return response
  }

  #wrap(action: string, node: KvNode): KvResponse {
    return { action, node, etcdIndex: this.#index, raftIndex: 0, raftTerm: 0, clusterId: '' }
  }

  async #ask(verb: string, key: string): Promise<void> {
    await Promise.resolve()
    this.asked.push([verb, key])
    if (this.isAway) throw new Error('the store is away')
  }

  #fail(errorCode: number, subject: string): KvError {
    const message = MESSAGES.get(errorCode) ?? ''
    return new KvError(message, { errorCode, subject, index: this.#index, status: 404 })
  }

  async get(key: string, options: GetOptions = {}): Promise<KvResponse> {
    await this.#ask('get', key)
    const node = this.#node(key, options.recursive === true)
    if (node === undefined) throw this.#fail(100, key)
    return this.#wrap('get', node)
  }

  #node(key: string, isDeep: boolean): KvNode | undefined {
    const entry = this.#entries.get(key)
    if (entry !== undefined) {
      const { value, modifiedIndex, createdIndex, expiresAt } = entry
      const ttl = expiresAt === undefined ? {} : { ttl: expiresAt - this.#now }
      return { key, value, modifiedIndex, createdIndex, ...ttl }
    }
    const below = [...this.#entries.keys()].filter((it) => it.startsWith(`${key}/`))
    if (below.length === 0) return undefined
    const names = new Set(below.map((it) => it.slice(key.length + 1).split('/')[0] ?? ''))
    const nodes = [...names]
      .toSorted()
      .flatMap((name) => this.#node(`${key}/${name}`, isDeep) ?? [])
    return { key, dir: true, modifiedIndex: 0, createdIndex: 0, ...(isDeep ? { nodes } : {}) }
  }

  async set(key: string, value: string, options: SetOptions = {}): Promise<KvResponse> {
    await this.#ask(options.refresh === true ? 'refresh' : 'set', key)
    const old = this.#entries.get(key)
    if (options.prevExist === true && old === undefined) throw this.#fail(100, key)
    if (options.prevExist === false && old !== undefined) throw this.#fail(105, key)
    this.#compare(key, options)
    this.#index += 1
    const entry: Entry = {
      value: options.refresh === true ? (old?.value ?? '') : value,
      createdIndex: old?.createdIndex ?? this.#index,
      modifiedIndex: this.#index,
      expiresAt: options.ttl === undefined ? undefined : this.#now + options.ttl,
    }
    this.#entries.set(key, entry)
    const node = this.#node(key, false) ?? this.#bare(key)
    // Watchers do not see refreshes.
    return options.refresh === true ? this.#wrap('set', node) : this.#notify('set', node)
  }

  #compare(key: string, { prevIndex, prevValue }: SetOptions & DeleteOptions): void {
    const old = this.#entries.get(key)
    const isAsked = prevIndex !== undefined || prevValue !== undefined
    if (isAsked && old === undefined) throw this.#fail(100, key)
    if (prevIndex !== undefined && old?.modifiedIndex !== prevIndex) throw this.#fail(101, key)
    if (prevValue !== undefined && old?.value !== prevValue) throw this.#fail(101, key)
  }

  async create(key: string, value: string, options: TtlOptions = {}): Promise<KvResponse> {
    return await this.set(key, value, { ...options, prevExist: false })
  }

  async update(key: string, value: string, options: TtlOptions = {}): Promise<KvResponse> {
    return await this.set(key, value, { ...options, prevExist: true })
  }

  async delete(key: string, options: DeleteOptions = {}): Promise<KvResponse> {
    await this.#ask('delete', key)
    this.#compare(key, options)
    const below = [...this.#entries.keys()].filter((it) => it.startsWith(`${key}/`))
    if (!this.#entries.has(key) && below.length === 0) throw this.#fail(100, key)
    if (below.length > 0 && options.recursive !== true) throw this.#fail(108, key)
    for (const it of [key, ...below]) this.#entries.delete(it)
    return this.#notify('delete', this.#bare(key))
  }

  async *watch(
    key: string,
    options: WatchOptions = {},
  ): AsyncIterableIterator<WatchEvent, undefined, undefined> {
    let seen = options.afterIndex ?? this.#index
    const { signal } = options
    for (;;) {
      if (signal?.aborted === true) return undefined
      const next = this.#history.find(
        ({ node }) => node.modifiedIndex > seen && `${node.key}/`.startsWith(`${key}/`),
      )
      if (next !== undefined && !this.isAway && !this.isMute) {
        seen = next.node.modifiedIndex
        yield { type: 'event', response: next }
        continue
      }
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#watchers.delete(wake)
          resolve()
        }
        this.#watchers.add(wake)
        signal?.addEventListener('abort', wake, { once: true })
      })
    }
  }

  isClosed = false

  close(): void {
    this.isClosed = true
  }

  async createInOrder(): Promise<KvResponse> {
    return await Promise.reject(new Error('not part of this store'))
  }

  async mkdir(): Promise<KvResponse> {
    return await Promise.reject(new Error('not part of this store'))
  }

  async waitOnce(_key: string, _options?: CallOptions): Promise<undefined> {
    return await Promise.reject(new Error('not part of this store'))
  }
}
