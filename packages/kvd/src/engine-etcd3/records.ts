import type { Action } from '../store/event.ts'

/** What a node's companion says; what it does not say follows from its revisions. */
export interface Companion {
  /** createdIndex, when the companion was written later than that. */
  readonly created?: number
  /** Expiration, milliseconds since 1970. */
  readonly expireAt?: number
  /** modifiedIndex, when the node was written later than that: a directory whose TTL changed. */
  readonly modified?: number
}

export function companionText({ created, expireAt, modified }: Companion): string {
  return JSON.stringify({ c: created, e: expireAt, m: modified })
}

/** Whatever is no companion says nothing. */
export function parseCompanion(text: string): Companion {
  const document = parseObject(text)
  const [created, expireAt, modified] = [document['c'], document['e'], document['m']]
  return {
    ...(isCount(created) && { created }),
    ...(isCount(expireAt) && { expireAt }),
    ...(isCount(modified) && { modified }),
  }
}

/** The v2 event of a revision, beside the keys that it wrote. */
export interface EventRecord {
  /** `sweep`: no event, but what lay below an expired directory was cleared away. */
  readonly action: Exclude<Action, 'get' | 'expire'> | 'sweep'
  readonly key: string
  readonly isDir: boolean
  readonly isRefresh: boolean
  /** There was no such node before. */
  readonly isNew: boolean
  /** When it was asked for, milliseconds since 1970. */
  readonly timeMs: number
}

export function eventText(record: EventRecord): string {
  const { action, key, isDir, isRefresh, isNew, timeMs } = record
  // A lone surrogate (a byte that is no UTF-8) survives as its escape.
  return JSON.stringify({
    a: action,
    k: key,
    d: isDir ? true : undefined,
    r: isRefresh ? true : undefined,
    n: isNew ? true : undefined,
    t: timeMs,
  })
}

/** Undefined for a text that is no event. */
export function parseEvent(text: string): EventRecord | undefined {
  const { a, k, d, r, n, t }: Readonly<Record<string, unknown>> = parseObject(text)
  const action = a === 'sweep' ? a : readAction(a)
  if (action === undefined || typeof k !== 'string') return undefined
  return {
    action,
    key: k,
    isDir: d === true,
    isRefresh: r === true,
    isNew: n === true,
    timeMs: isCount(t) ? t : 0,
  }
}

const ACTIONS = ['set', 'create', 'update', 'compareAndSwap', 'delete', 'compareAndDelete'] as const

/** An action that a client can cause. */
export type WriteAction = (typeof ACTIONS)[number]

export function readAction(value: unknown): WriteAction | undefined {
  return ACTIONS.find((action) => action === value)
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const document: unknown = JSON.parse(text)
    return typeof document === 'object' && document !== null ? { ...document } : {}
  } catch (error) {
    if (error instanceof SyntaxError) return {}
    throw error
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
