import type { Command } from '../../src/store/command.ts'
import { SPACES, type Space } from '../../src/store/node.ts'

/** A node as the naive store keeps it: flat, by space and key. No value: a directory. */
export interface NaiveNode {
  readonly value: string | undefined
  readonly createdIndex: number
  readonly modifiedIndex: number
  readonly expireAt: number
}

/** What happened, as the specification tells it. */
export interface NaiveEvent {
  readonly index: number
  readonly space: string
  readonly key: string
  /** The answer as an object: action, node, prevNode. */
  readonly wire: object
  readonly isRefresh: boolean
  /** Keys that went away with this event, its own among them. */
  readonly gone: ReadonlySet<string>
  readonly endsDirectory: boolean
}

export interface NaiveRefusal {
  readonly code: number
  readonly cause: string
  readonly index: number
}

export type NaiveOutcome = NaiveEvent | NaiveRefusal | undefined

type Actor = Pick<Command, 'time'>

/**
 * The v2 store as kvd.md 3, 4 and 7 describe it, written for nothing but being obvious: one sorted
 * map, looked through from end to end for every question.
 */
export class NaiveStore {
  readonly nodes = new Map<string, NaiveNode>()
  readonly events: NaiveEvent[] = []
  index = 0

  apply(entry: Command): NaiveOutcome {
    switch (entry.op) {
      case 'noop':
        return undefined
      case 'check':
      case 'checked':
        return undefined
      case 'sync':
        this.#expire(entry)
        return undefined
      case 'createInOrder':
        return this.#create(entry, `${entry.key}/${String(this.index + 1).padStart(20, '0')}`)
      case 'create':
        return this.#create(entry, entry.key)
      case 'set':
        return this.#set(entry)
      case 'update':
      case 'compareAndSwap':
        return this.#rewrite(entry)
      case 'delete':
      case 'compareAndDelete':
        return this.#delete(entry)
    }
  }

  node(space: string, key: string): NaiveNode | undefined {
    return this.nodes.get(`${space}:${key}`)
  }

  /** The answer to a read as an object, or why there is none. */
  read(key: string, isRecursive: boolean, nowMs: number): object {
    const problem = this.#problem('keys', key)
    if (problem !== undefined) return problem
    return this.#shown(key, isRecursive ? Number.POSITIVE_INFINITY : 1, nowMs)
  }

  #shown(key: string, levels: number, nowMs: number): object {
    const node = this.node('keys', key)
    if (node?.value !== undefined) return wireNode(key, node, nowMs)
    const names = this.#children('keys', key).filter((child) => !/\/_[^/]*$/.test(child))
    const nodes = levels === 0 ? [] : names.map((child) => this.#shown(child, levels - 1, nowMs))
    const own = node === undefined ? { dir: true } : wireNode(key, node, nowMs)
    return nodes.length === 0 ? own : { ...own, nodes }
  }

  #children(space: string, key: string): string[] {
    const prefix = `${space}:${key === '/' ? '' : key}/`
    return [...this.nodes.keys()]
      .filter((path) => path.startsWith(prefix) && !path.slice(prefix.length).includes('/'))
      .map((path) => path.slice(space.length + 1))
      .toSorted()
  }

  /** Walks from the root: 100 for the first component that is missing, 104 for a file on the way. */
  #problem(space: string, key: string): NaiveRefusal | undefined {
    if (key === '/') return undefined
    for (const prefix of prefixes(key)) {
      const node = this.node(space, prefix)
      if (node === undefined) return this.#refuse(100, prefix)
      if (node.value !== undefined && prefix !== key) return this.#refuse(104, prefix)
    }
    return undefined
  }

  #refuse(code: number, cause: string): NaiveRefusal {
    return { code, cause, index: this.index }
  }

  #set(entry: Command): NaiveOutcome {
    const { space, key } = entry
    const problem = this.#problem(space, key)
    if (problem?.code === 104 || (problem?.code === 100 && entry.refresh)) return problem
    if (key === '/') return this.#refuse(107, '/')
    const old = this.node(space, key)
    if (old !== undefined && old.value === undefined) return this.#refuse(102, key)
    const kept = entry.refresh ? old?.value : entry.value
    return this.#write(entry, key, 'set', { value: entry.dir ? undefined : kept }, old)
  }

  #create(entry: Command, asked: string): NaiveOutcome {
    const key = asked.replace('//', '/')
    if (key === '/') return this.#refuse(107, '/')
    const problem = this.#problem(entry.space, key)
    if (problem === undefined) return this.#refuse(105, key)
    if (problem.code === 104) return problem
    const value = entry.dir ? undefined : entry.value
    return this.#write(entry, key, 'create', { value }, undefined)
  }

  #write(
    entry: Command,
    key: string,
    action: string,
    { value }: { value: string | undefined },
    old: NaiveNode | undefined,
  ): NaiveEvent {
    const index = this.index + 1
    const expireAt = entry.expireAt < Date.UTC(2000, 0, 1) ? 0 : entry.expireAt
    for (const parent of prefixes(key).slice(0, -1))
      if (this.node(entry.space, parent) === undefined)
        this.#put(entry.space, parent, {
          value: undefined,
          createdIndex: index,
          modifiedIndex: index,
          expireAt: 0,
        })
    const node = { value, createdIndex: index, modifiedIndex: index, expireAt }
    this.#put(entry.space, key, node)
    return this.#record(entry, key, action, wireNode(key, node, entry.time), old)
  }

  #rewrite(entry: Command): NaiveOutcome {
    const { op, space, key } = entry
    if (key === '/') return this.#refuse(107, '/')
    const problem = this.#problem(space, key)
    const old = this.node(space, key)
    if (problem !== undefined || old === undefined) return problem
    const isDir = old.value === undefined
    const givesValue = entry.value !== '' && !entry.refresh
    if (isDir && (op === 'compareAndSwap' || givesValue)) return this.#refuse(102, key)
    const mismatch = op === 'compareAndSwap' ? mismatchOf(old, entry) : undefined
    if (mismatch !== undefined) return this.#refuse(101, mismatch)
    const index = this.index + 1
    const expireAt = entry.expireAt < Date.UTC(2000, 0, 1) ? 0 : entry.expireAt
    const value = isDir || entry.refresh ? old.value : entry.value
    const shown = { ...old, value, expireAt, modifiedIndex: index }
    // The event of a directory shows the new index, the directory keeps its own.
    this.#put(space, key, isDir ? { ...old, expireAt } : shown)
    return this.#record(entry, key, op, wireNode(key, shown, entry.time), old)
  }

  #delete(entry: Command): NaiveOutcome {
    const { op, space, key } = entry
    const isConditional = op === 'compareAndDelete'
    if (key === '/') return isConditional ? this.#refuse(102, '') : this.#refuse(107, '/')
    const problem = this.#problem(space, key)
    const old = this.node(space, key)
    if (problem !== undefined || old === undefined) return problem
    if (old.value === undefined) {
      if (isConditional || !(entry.dir || entry.recursive)) return this.#refuse(102, key)
      if (!entry.recursive && this.#children(space, key).length > 0) return this.#refuse(108, key)
    }
    const mismatch = isConditional ? mismatchOf(old, entry) : undefined
    if (mismatch !== undefined) return this.#refuse(101, mismatch)
    return this.#remove(space, key, old, op, entry)
  }

  #remove(space: Space, key: string, old: NaiveNode, action: string, actor: Actor): NaiveEvent {
    const isDir = old.value === undefined
    const gone = [...this.nodes.keys()]
      .filter((path) => path === `${space}:${key}` || path.startsWith(`${space}:${key}/`))
      .map((path) => path.slice(space.length + 1))
    for (const path of gone) this.nodes.delete(`${space}:${path}`)
    const node = {
      key,
      ...(isDir && action !== 'expire' && { dir: true }),
      modifiedIndex: this.index + 1,
      createdIndex: old.createdIndex,
    }
    return this.#record({ space, time: actor.time, refresh: false }, key, action, node, old, gone)
  }

  #expire(actor: Actor): void {
    for (;;) {
      const due = [...this.nodes]
        .filter(([, { expireAt }]) => expireAt !== 0 && expireAt <= actor.time)
        .toSorted(([left, a], [right, b]) => a.expireAt - b.expireAt || (left < right ? -1 : 1))
      const [path, node] = due[0] ?? []
      if (path === undefined || node === undefined) return
      const space = SPACES.find((name) => path.startsWith(`${name}:`)) ?? 'keys'
      this.#remove(space, path.slice(space.length + 1), node, 'expire', actor)
    }
  }

  #put(space: string, key: string, node: NaiveNode): void {
    this.nodes.set(`${space}:${key}`, node)
  }

  #record(
    entry: Pick<Command, 'space' | 'time' | 'refresh'>,
    key: string,
    action: string,
    node: object,
    old: NaiveNode | undefined,
    gone: readonly string[] = [],
  ): NaiveEvent {
    this.index += 1
    const event: NaiveEvent = {
      index: this.index,
      space: entry.space,
      key,
      wire: { action, node, ...(old && { prevNode: wireNode(key, old, entry.time) }) },
      isRefresh: entry.refresh && action !== 'create',
      gone: new Set(gone),
      endsDirectory: gone.length > 0 && old?.value === undefined,
    }
    this.events.push(event)
    return event
  }
}

/** `/a`, `/a/b`, `/a/b/c` of `/a/b/c`. */
export function prefixes(key: string): string[] {
  const parts = key.split('/').slice(1)
  return parts.map((_, at) => `/${parts.slice(0, at + 1).join('/')}`)
}

function wireNode(key: string, node: NaiveNode, nowMs: number): object {
  const { value, expireAt, modifiedIndex, createdIndex } = node
  const left = (expireAt - nowMs) / 1000
  const ttl = left > 0 ? Math.ceil(left) : Math.ceil(left) + 0
  return {
    key,
    ...(value === undefined ? { dir: true } : { value }),
    ...(expireAt !== 0 && {
      expiration: new Date(expireAt).toISOString().replace(/\.?0+Z$/, 'Z'),
      ...(ttl !== 0 && { ttl }),
    }),
    modifiedIndex,
    createdIndex,
  }
}

function mismatchOf(node: NaiveNode, entry: Command): string | undefined {
  const isOtherValue = entry.prevValue !== '' && entry.prevValue !== node.value
  const isOtherIndex = entry.prevIndex !== '' && entry.prevIndex !== `${node.modifiedIndex}`
  const index = entry.prevIndex === '' ? 0 : entry.prevIndex
  const parts = [
    ...(isOtherValue ? [`[${entry.prevValue} != ${node.value}]`] : []),
    ...(isOtherIndex ? [`[${index} != ${node.modifiedIndex}]`] : []),
  ]
  return parts.length === 0 ? undefined : parts.join(' ')
}
