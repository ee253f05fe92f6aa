import { Buffer } from 'node:buffer'
import { ByteWriter } from '../store/bytes.ts'
import { SPACES, type Node, type Space } from '../store/node.ts'
import type { NodeRow } from '../store/store.ts'
import type { TreeChanges } from '../store/tree.ts'
import { decodeText } from '../store/text.ts'

/** A node as a row of table `node`. `path` is the space's number and the key's bytes. */
export interface DiskNode {
  readonly path: Buffer
  /** Null for directories. */
  readonly value: Buffer | null
  readonly created: number
  readonly modified: number
  readonly expireMs: number
}

/** What became of a node. */
export interface DiskRow {
  /** The path's bytes as latin1: sorts as the path does, and faster. */
  readonly order: string
  readonly path: Buffer
  /** Undefined: it is gone. */
  readonly node: DiskNode | undefined
}

// kind u8 | path length u32, path | unless removed: created f64, modified f64, expire f64
//                                 | files: value length u32, value
const KIND = { removed: 0, directory: 1, file: 2 } as const
const PATH_AT = 5
const NUMBERS_BYTES = 24
const FIXED_BYTES = PATH_AT + 1 + NUMBERS_BYTES + 4

/** Packs rows one behind the other. */
export class RowWriter {
  readonly #writer = new ByteWriter()

  get length(): number {
    return this.#writer.length
  }

  /** A node of the tree as it is now. */
  written(node: Node): void {
    const { value } = node
    this.#writer.reserve(FIXED_BYTES, node.key.length + (value?.length ?? 0))
    this.#path(value === undefined ? KIND.directory : KIND.file, node.space, node.key)
    this.#writer.f64(node.createdIndex)
    this.#writer.f64(node.modifiedIndex)
    // A column of integers takes it.
    this.#writer.f64(Math.trunc(node.expireAt))
    if (value !== undefined) this.#writer.sizedText(value, value.isWellFormed())
  }

  removed(space: Space, key: string): void {
    this.#writer.reserve(FIXED_BYTES, key.length)
    this.#path(KIND.removed, space, key)
  }

  #path(kind: number, space: Space, key: string): void {
    const writer = this.#writer
    writer.u8(kind)
    const at = writer.length
    writer.u32(0)
    writer.u8(SPACES.indexOf(space))
    writer.text(key, key.isWellFormed())
    writer.patchU32(writer.length - at - 4, at)
  }

  /** A row that is there already. */
  row({ path, node }: DiskRow): void {
    const writer = this.#writer
    writer.reserve(FIXED_BYTES + path.length + (node?.value?.length ?? 0))
    writer.u8(kindOf(node))
    writer.u32(path.length)
    writer.bytes(path)
    if (node === undefined) return
    writer.f64(node.created)
    writer.f64(node.modified)
    writer.f64(node.expireMs)
    if (node.value === null) return
    writer.u32(node.value.length)
    writer.bytes(node.value)
  }

  /** The rows so far, in memory of their own: they may be handed to another thread. */
  take(): Uint8Array {
    return new Uint8Array(this.#writer.take())
  }
}

function kindOf(node: DiskNode | undefined): number {
  if (node === undefined) return KIND.removed
  return node.value === null ? KIND.directory : KIND.file
}

/** Changes of the tree in packs of about `bytesMax`; a row is never cut. */
export function packChanges(changes: TreeChanges, bytesMax: number): Uint8Array[] {
  const writer = new RowWriter()
  const packs: Uint8Array[] = []
  const cut = (): void => {
    if (writer.length >= bytesMax) packs.push(writer.take())
  }
  for (const node of changes.written) {
    writer.written(node)
    cut()
  }
  for (const { space, key } of changes.removed) {
    writer.removed(space, key)
    cut()
  }
  if (writer.length > 0) packs.push(writer.take())
  return packs
}

/** The rows of a pack; the caller has checked its checksum. They share its memory. */
export function* unpackRows(pack: Buffer): Generator<DiskRow> {
  for (let at = 0; at < pack.length;) {
    const end = rowEnd(pack, at)
    yield rowAt(pack, at)
    at = end
  }
}

function rowEnd(pack: Buffer, at: number): number {
  const kind = pack[at]
  const pathEnd = at + PATH_AT + pack.readUInt32LE(at + 1)
  if (kind === KIND.removed) return pathEnd
  const numbersEnd = pathEnd + NUMBERS_BYTES
  return kind === KIND.file ? numbersEnd + 4 + pack.readUInt32LE(numbersEnd) : numbersEnd
}

function rowAt(pack: Buffer, at: number): DiskRow {
  const kind = pack[at]
  const pathEnd = at + PATH_AT + pack.readUInt32LE(at + 1)
  const path = pack.subarray(at + PATH_AT, pathEnd)
  const order = path.toString('latin1')
  if (kind === KIND.removed) return { order, path, node: undefined }
  const valueAt = pathEnd + NUMBERS_BYTES
  const value =
    kind === KIND.file ? pack.subarray(valueAt + 4, valueAt + 4 + pack.readUInt32LE(valueAt)) : null
  const created = pack.readDoubleLE(pathEnd)
  const modified = pack.readDoubleLE(pathEnd + 8)
  const expireMs = pack.readDoubleLE(pathEnd + 16)
  return { order, path, node: { path, value, created, modified, expireMs } }
}

/** The same rows in the order of their paths, and how many they are. A path must not come twice. */
export function sortRows(pack: Buffer): { readonly pack: Buffer; readonly count: number } {
  const spans: { readonly order: string; readonly from: number; readonly end: number }[] = []
  for (let from = 0; from < pack.length;) {
    const end = rowEnd(pack, from)
    const pathAt = from + PATH_AT
    const pathEnd = pathAt + pack.readUInt32LE(from + 1)
    spans.push({ order: pack.toString('latin1', pathAt, pathEnd), from, end })
    from = end
  }
  spans.sort((left, right) => (left.order < right.order ? -1 : 1))
  const sorted = Buffer.allocUnsafe(pack.length)
  let at = 0
  for (const { from, end } of spans) at += pack.copy(sorted, at, from, end)
  return { pack: sorted, count: spans.length }
}

interface Head {
  readonly row: DiskRow
  /** 0 for the newest run. */
  readonly age: number
  readonly rest: Iterator<DiskRow>
}

/** One run out of several, the newest first: of each path its newest row, in the order of paths. */
export function* mergeRuns(runs: readonly Iterator<DiskRow>[]): Generator<DiskRow> {
  /** Each run's next row; the one to take is the last. */
  const heads: Head[] = []
  const put = (age: number, rest: Iterator<DiskRow>): void => {
    const { done, value: row } = rest.next()
    if (done !== true) insert(heads, { row, age, rest })
  }
  for (const [age, rest] of runs.entries()) put(age, rest)
  let last: string | undefined
  for (let head = heads.pop(); head !== undefined; head = heads.pop()) {
    if (head.row.order !== last) yield head.row
    last = head.row.order
    put(head.age, head.rest)
  }
}

/** By binary search, behind all heads that come later. */
function insert(heads: Head[], head: Head): void {
  let low = 0
  let high = heads.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const other = heads[middle]
    if (other !== undefined && comesBefore(head, other)) low = middle + 1
    else high = middle
  }
  heads.splice(low, 0, head)
}

function comesBefore(head: Head, other: Head): boolean {
  if (head.row.order !== other.row.order) return head.row.order < other.row.order
  return head.age < other.age
}

/** @throws Error when the path is none: the caller has checked the row's checksum */
export function nodeRowOf(node: DiskNode): NodeRow {
  const space = SPACES[node.path[0] ?? -1]
  if (space === undefined) throw new Error(`row with path ${node.path.toString('hex')}`)
  return {
    space,
    key: decodeText(node.path.subarray(1)),
    value: node.value === null ? undefined : decodeText(node.value),
    createdIndex: node.created,
    modifiedIndex: node.modified,
    expireAt: node.expireMs,
  }
}
