/** What a client can ask for. `cad` is a delete with a comparison, `list` reads a directory of posts. */
export type Kind = 'get' | 'set' | 'create' | 'update' | 'cas' | 'delete' | 'cad' | 'post' | 'list'

/**
 * One request. Values are unique over the whole history and never empty, so that a value names the
 * write that made it.
 */
export interface Request {
  readonly f: Kind
  /** The key; for `post` and `list` the directory. */
  readonly k: string
  /** The value that a write would leave. */
  readonly v?: string
  /** The value that a comparison expects. */
  readonly exp?: string
  /** The comparison is by this index, which `exp` was seen to have. */
  readonly at?: number
  /** A read of the asked member alone: not through the log. */
  readonly isLocal?: boolean
}

/** What a server said: a success, or the error `code` of a store that carried the request out. */
export interface Answer {
  /** X-Etcd-Index, or the index of an error. */
  readonly etcdIndex: number
  readonly code?: number
  /** Code 101: what was found, a value or (comparison by index) an index. */
  readonly cur?: string
  readonly v?: string
  readonly mod?: number
  readonly created?: number
  readonly prev?: string
  readonly prevMod?: number
  /** The name that a post was given. */
  readonly name?: string
  /** What a `list` shows. */
  readonly items?: readonly Item[]
}

/** One entry of a directory of posts. */
export interface Item {
  readonly name: string
  readonly v: string
  readonly mod: number
}

/** Process `p` sends request `op` to the member at `ep`, `t` seconds after the start. */
export interface Invoke extends Request {
  readonly i: number
  readonly t: number
  readonly e: 'invoke'
  readonly op: number
  readonly p: number
  readonly ep: string
}

/**
 * The end of request `op`. `fail`: it was certainly not carried out; `info`: nobody can tell.
 */
export type Completion = { readonly i: number; readonly t: number; readonly op: number } & (
  { readonly e: 'ok'; readonly r: Answer } | { readonly e: 'fail' | 'info'; readonly why: string }
)

/** A line of a history: `i` counts them in the one order in which the recording process saw them. */
export type Entry = Invoke | Completion

/** What became of a request, as a client sees it. */
export type Ending =
  { readonly e: 'ok'; readonly r: Answer } | { readonly e: 'fail' | 'info'; readonly why: string }

/** A request with its place in the order. */
export interface Operation {
  readonly op: number
  readonly p: number
  readonly ep: string
  readonly request: Request
  /** Place of the call. */
  readonly call: number
  /** Place of the answer; infinite when there is none: it may be carried out at any time, or never. */
  readonly end: number
  readonly answer?: Answer
}

/** Gathers a history. `now` gives milliseconds since any fixed moment. */
export class Recorder {
  readonly entries: Entry[] = []
  readonly #now: () => number
  #ops = 0

  constructor(now: () => number) {
    this.#now = now
  }

  /** Notes that a request leaves; gives its number. */
  invoke(p: number, ep: string, request: Request): number {
    this.#ops += 1
    const op = this.#ops
    this.entries.push({
      i: this.entries.length + 1,
      t: this.#t(),
      e: 'invoke',
      op,
      p,
      ep,
      ...request,
    })
    return op
  }

  complete(op: number, ending: Ending): void {
    this.entries.push({ i: this.entries.length + 1, t: this.#t(), op, ...ending })
  }

  #t(): number {
    return Math.round(this.#now()) / 1000
  }
}

/** True for requests that change something when they are carried out. */
export function isWrite(request: Request): boolean {
  return request.f !== 'get' && request.f !== 'list'
}

/**
 * The operations of a history in the order of their calls. Left out is what cannot matter: requests
 * that were not carried out and reads without an answer.
 */
export function operationsOf(entries: readonly Entry[]): Operation[] {
  const ends = new Map<number, Completion>()
  for (const entry of entries) if (entry.e !== 'invoke') ends.set(entry.op, entry)
  const operations: Operation[] = []
  for (const entry of entries) {
    if (entry.e !== 'invoke') continue
    const { i, t: _t, e: _e, op, p, ep, ...request } = entry
    const end = ends.get(op)
    if (end?.e === 'ok') operations.push({ op, p, ep, request, call: i, end: end.i, answer: end.r })
    else if (end?.e !== 'fail' && isWrite(request))
      operations.push({ op, p, ep, request, call: i, end: Infinity })
  }
  return operations
}

/** A history as JSON lines. */
export function printHistory(entries: readonly Entry[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join('')
}

/** Reads what `printHistory` wrote. @throws Error naming the line that is none of a history */
export function parseHistory(text: string): Entry[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line, at) => {
      const entry: Entry = JSON.parse(line)
      if (entry.i !== at + 1) throw new Error(`line ${at + 1} of the history has i=${entry.i}`)
      return entry
    })
}
