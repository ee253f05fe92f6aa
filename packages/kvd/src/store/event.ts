import { keyedJson, type NodeView, type Shown, type Space } from './node.ts'
import { escapeJson, isPlain } from './text.ts'

export type Action =
  'get' | 'set' | 'create' | 'update' | 'compareAndSwap' | 'delete' | 'compareAndDelete' | 'expire'

/** What an event tells besides its nodes. */
interface EventHead {
  readonly index: number
  readonly action: Action
  readonly space: Space
  readonly key: string
  /** A directory went away: keys below it are affected too. */
  readonly removedDir: boolean
  /** A refresh: kept for the numbering, never shown to watchers. */
  readonly refresh: boolean
  /** There was nothing under this key before. */
  readonly isNew: boolean
}

/** What the JSON of an event is made of: views that no later change of the nodes reaches. */
interface Content {
  readonly node: NodeView
  readonly prev: NodeView | undefined
  /** The TTLs shown are what is left then. */
  readonly timeMs: number
}

/** Characters of an event's JSON besides keys, values and expirations, its numbers being long ones. */
const EVENT_LENGTH = 32
const VIEW_LENGTH = 72
const EXPIRY_LENGTH = 56
/** How much longer than its `length` says the JSON may be and still be kept. */
const KEPT_FACTOR = 1.5

/**
 * One change of the store. Its JSON is made when somebody asks, as most members are never asked. It is
 * kept from the second time on: for a thousand events that are answered once and never asked for
 * again it would only be in the collector's way.
 */
export class StoreEvent implements EventHead {
  readonly index: number
  readonly action: Action
  readonly space: Space
  readonly key: string
  readonly removedDir: boolean
  readonly refresh: boolean
  readonly isNew: boolean
  /**
   * About how many characters of JSON it keeps, or could: exact for an event that came as JSON, else
   * an estimate that leaves escapes out. JSON that is much longer is not kept, so that a sum of lengths
   * bounds what is in memory.
   */
  readonly length: number
  #content: Content | string
  #wasAsked = false

  /** @param content a text is the JSON itself */
  constructor(head: EventHead, content: Content | string) {
    this.index = head.index
    this.action = head.action
    this.space = head.space
    this.key = head.key
    this.removedDir = head.removedDir
    this.refresh = head.refresh
    this.isNew = head.isNew
    this.length = typeof content === 'string' ? content.length : contentLength(content)
    this.#content = content
  }

  /** `{"action":...}` without newline. */
  get json(): string {
    return this.shown.json
  }

  /** The same, and what is known of it. */
  get shown(): Shown {
    const content = this.#content
    if (typeof content === 'string') return { json: content, isAscii: false }
    if (last?.event === this) return last.shown
    const shown = eventJson(this.action, content)
    if (this.#wasAsked && shown.json.length <= KEPT_FACTOR * this.length) this.#content = shown.json
    else last = { event: this, shown }
    this.#wasAsked = true
    return shown
  }
}

/** All watchers of a key ask for the same event in one turn. */
let last: { readonly event: StoreEvent; readonly shown: Shown } | undefined

function contentLength({ node, prev }: Content): number {
  return EVENT_LENGTH + viewLength(node) + (prev === undefined ? 0 : viewLength(prev))
}

function viewLength({ key, value, expireAt }: NodeView): number {
  return VIEW_LENGTH + key.length + (value?.length ?? 0) + (expireAt === 0 ? 0 : EXPIRY_LENGTH)
}

function eventJson(action: Action, { node, prev, timeMs }: Content): Shown {
  const isAscii = isPlain(node.key) && isPlain(node.value ?? '') && isPlain(prev?.value ?? '')
  const key = isAscii ? node.key : escapeJson(node.key)
  const json = keyedJson(key, node, timeMs, isAscii)
  if (prev === undefined) return { json: `{"action":"${action}","node":${json}}`, isAscii }
  const prevJson = keyedJson(key, prev, timeMs, isAscii)
  return { json: `{"action":"${action}","node":${json},"prevNode":${prevJson}}`, isAscii }
}

/** True when `key` lies strictly below `dir`. */
export function isBelow(key: string, dir: string): boolean {
  return dir === '/' ? key !== '/' : key.length > dir.length && key.startsWith(`${dir}/`)
}

/** True when a component of `key` after `base` begins with `_`: not for a watcher of `base`. */
export function isHiddenFrom(base: string, key: string): boolean {
  if (base.length > key.length) return false
  return key.includes('/_', base === '/' ? 0 : base.length)
}
