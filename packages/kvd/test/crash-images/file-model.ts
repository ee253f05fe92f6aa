import { Buffer } from 'node:buffer'
import type { Call } from './trace.ts'

/** Files of one directory by name. */
export type Files = ReadonlyMap<string, Buffer>

/** A file apart from its names. */
interface Inode {
  durable: Buffer
}

/** A change that no sync has made durable. */
export type Change =
  | {
      readonly type: 'write'
      readonly inode: Inode
      readonly offset: number
      readonly data: Buffer
    }
  | { readonly type: 'truncate'; readonly inode: Inode; readonly size: number }
  | { readonly type: 'link'; readonly file: string; readonly inode: Inode }
  | { readonly type: 'rename'; readonly file: string; readonly to: string }
  | { readonly type: 'unlink'; readonly file: string }

/**
 * One directory as the system sees it and as the disk has it. A sync of a file makes its bytes
 * durable, not its name; a sync of the directory makes names durable, not bytes. Everything else may
 * be on the disk or not when the power goes.
 */
export class FileModel {
  readonly #durable: Map<string, Inode>
  readonly #live: Map<string, Inode>
  #pending: Change[] = []

  /** @param files all of them durable */
  constructor(files: Files) {
    this.#durable = new Map([...files].map(([file, durable]) => [file, { durable }]))
    this.#live = new Map(this.#durable)
  }

  /** In the order in which they were made. */
  get pending(): readonly Change[] {
    return this.#pending
  }

  /** What kinds of changes are pending, of which files: `unlink kvd.db-journal, write kvd.db`. */
  get signature(): string {
    const names = new Map([...this.#live].map(([file, inode]) => [inode, file]))
    const kinds = this.#pending.map((change) => {
      const file = 'file' in change ? change.file : names.get(change.inode)
      return `${change.type} ${file ?? 'nothing'}`
    })
    return [...new Set(kinds)].toSorted().join(', ')
  }

  apply(call: Call): void {
    switch (call.type) {
      case 'note':
        return
      case 'sync':
        this.#sync(call.file)
        return
      case 'create':
        if (!this.#live.has(call.file))
          this.#change({ type: 'link', file: call.file, inode: { durable: Buffer.alloc(0) } })
        return
      case 'write':
        this.#change({ ...call, inode: this.#inode(call.file) })
        return
      case 'truncate':
        this.#change({ ...call, inode: this.#inode(call.file) })
        return
      case 'rename':
      case 'unlink':
        this.#change(call)
    }
  }

  /** A sync that does nothing: what was pending of the file is gone for good. */
  forget(file: string): void {
    const inode = this.#inode(file)
    this.#pending = this.#pending.filter((change) => !concerns(change, inode))
  }

  /** The directory after a power loss that left these of the pending changes, or parts of them. */
  image(kept: readonly Change[]): Files {
    const files = new Map(this.#durable)
    const contents = new Map<Inode, Buffer>()
    for (const change of kept)
      if (isData(change)) fill(contents, change)
      else rename(files, change)
    return new Map([...files].map(([file, inode]) => [file, contents.get(inode) ?? inode.durable]))
  }

  #change(change: Change): void {
    if (!isData(change)) rename(this.#live, change)
    this.#pending.push(change)
  }

  #inode(file: string): Inode {
    const inode = this.#live.get(file)
    if (inode === undefined) throw new Error(`the trace has no beginning of ${file}`)
    return inode
  }

  #sync(file: string): void {
    const inode = file === '.' ? undefined : this.#inode(file)
    const contents = new Map<Inode, Buffer>()
    const rest: Change[] = []
    for (const change of this.#pending)
      if (!concerns(change, inode)) rest.push(change)
      else if (isData(change)) fill(contents, change)
      else rename(this.#durable, change)
    for (const [changed, content] of contents) changed.durable = content
    this.#pending = rest
  }
}

type DataChange = Extract<Change, { type: 'write' | 'truncate' }>

function isData(change: Change): change is DataChange {
  return change.type === 'write' || change.type === 'truncate'
}

/** True for the bytes of `inode`, or for names when there is none. */
function concerns(change: Change, inode: Inode | undefined): boolean {
  return isData(change) ? change.inode === inode : inode === undefined
}

function rename(files: Map<string, Inode>, change: Exclude<Change, DataChange>): void {
  if (change.type === 'link') files.set(change.file, change.inode)
  else if (change.type === 'unlink') files.delete(change.file)
  else {
    const inode = files.get(change.file)
    files.delete(change.file)
    if (inode !== undefined) files.set(change.to, inode)
  }
}

/** Carries a change out on a copy of what is durable: images share their buffers. */
function fill(contents: Map<Inode, Buffer>, change: DataChange): void {
  const { inode } = change
  const known = contents.get(inode)
  const old = known ?? inode.durable
  const end = change.type === 'write' ? change.offset + change.data.length : change.size
  const size = change.type === 'write' ? Math.max(old.length, end) : end
  const content = known?.length === size ? known : Buffer.alloc(size)
  if (content !== known) old.copy(content)
  if (change.type === 'write') change.data.copy(content, change.offset)
  contents.set(inode, content)
}
