import { Worker } from 'node:worker_threads'
import type { NodeRow } from '../store/store.ts'
import type { StoreEvent } from '../store/event.ts'
import { Buffer } from 'node:buffer'
import { endsWithin } from '@flotilla/daemon'
import type { Entry } from '../raft/types.ts'
import { frames } from '../store/command.ts'
import { unpackEntry } from './entry-codec.ts'
import { unpackEvents } from './records.ts'
import { nodeRowOf, unpackRows } from './rows.ts'
import { DiskSnapshots } from './disk-snapshots.ts'
import type {
  Batch,
  DiskFailureFields,
  DiskOptions,
  EventRow,
  FromDisk,
  Loaded,
  SnapshotHead,
  ToDisk,
} from './messages.ts'

/** A thread that hangs in a system call is not waited for any longer. */
const CLOSE_MS = 10_000

/** The disk cannot go on; the process has to end. */
export class DiskError extends Error {
  override readonly name = 'DiskError'
  readonly code: DiskFailureFields['code']

  constructor(failure: DiskFailureFields) {
    super(failure.message)
    this.code = failure.code
  }
}

/** Everything that was on disk: rows up to `loaded.applied`, entries from `loaded.base` on. */
export interface Recovered {
  readonly loaded: Loaded
  readonly rows: readonly NodeRow[]
  readonly events: readonly StoreEvent[]
  readonly entries: readonly Entry[]
}

export interface DiskListener {
  persisted(seq: number, commitMs: number): void
  /** No room: nothing of the batch is on the disk, nor will it be. */
  full(seq: number, message: string): void
  failed(error: DiskError): void
}

/** The port to the disk thread. Batches become durable strictly in the order of `write`. */
export interface Disk {
  /** What was found at the start; empty after `forget`. */
  readonly recovered: Recovered
  /** Frees the memory of what was recovered. */
  forget(): void
  listen(listener: DiskListener): void
  /** The memory of `entries` is given away. */
  write(batch: Batch): void
  /** Opens the last image that was written; undefined when there is none. */
  openSnapshot(): Promise<DiskSnapshot | undefined>
  /** Ends the thread after what was written; resolves when the files are closed. */
  close(): Promise<void>
}

/** An image that is read while batches come and go. */
export interface DiskSnapshot {
  readonly head: SnapshotHead
  /** As `packEvents` packs them. */
  readonly events: Iterable<EventRow>
  /** The next rows, as `packChanges` packs them; undefined when these were all. */
  next(): Promise<Uint8Array | undefined>
  close(): void
}

/**
 * Starts the disk thread and reads what is there.
 * @throws DiskError
 */
export async function openDisk(options: DiskOptions): Promise<Disk> {
  const worker = new Worker(new URL('./disk-worker.js', import.meta.url), { workerData: options })
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  let recovered = await recover(worker).catch(async (error: unknown) => {
    // Whoever opens it next finds the files closed.
    if (!(await endsWithin(ended, CLOSE_MS))) await worker.terminate()
    throw error
  })
  let listener: DiskListener | undefined
  let isClosing = false
  const failed = (failure: DiskFailureFields): void => listener?.failed(new DiskError(failure))
  const post = (message: ToDisk): void => worker.postMessage(message)
  const snapshots = new DiskSnapshots(post)
  worker.on('message', (message: FromDisk) => {
    if (message.type === 'persisted') listener?.persisted(message.seq, message.commitMs)
    else if (message.type === 'full') listener?.full(message.seq, message.message)
    else if (message.type === 'failed') failed(message.failure)
    else snapshots.take(message)
  })
  worker.on('error', (error) => failed({ code: 'IO', message: `disk thread: ${String(error)}` }))
  worker.on('exit', () => {
    if (!isClosing) failed({ code: 'IO', message: 'the disk thread ended' })
  })
  return {
    openSnapshot: async () => await snapshots.open(),
    get recovered() {
      return recovered
    },
    forget: () => {
      recovered = { loaded: recovered.loaded, rows: [], events: [], entries: [] }
    },
    listen: (wanted) => {
      listener = wanted
    },
    write: (batch) => {
      const { buffer } = batch.entries
      const message: ToDisk = { type: 'batch', batch }
      if (buffer instanceof ArrayBuffer && buffer.byteLength > 0)
        worker.postMessage(message, [buffer])
      else post(message)
    },
    close: async () => {
      isClosing = true
      post({ type: 'close' })
      if (!(await endsWithin(ended, CLOSE_MS))) await worker.terminate()
    },
  }
}

async function recover(worker: Worker): Promise<Recovered> {
  const rows: NodeRow[] = []
  const events: StoreEvent[] = []
  const entries: Entry[] = []
  return await new Promise((resolve, reject) => {
    const onMessage = (message: FromDisk): void => {
      if (message.type === 'rows')
        for (const { node } of unpackRows(asBuffer(message.pack)))
          if (node !== undefined) rows.push(nodeRowOf(node))
      if (message.type === 'events') events.push(...unpackEvents(message.body))
      else if (message.type === 'entries')
        for (const body of frames(asBuffer(message.entries))) entries.push(unpackEntry(body))
      else if (message.type === 'failed') reject(new DiskError(message.failure))
      else if (message.type === 'loaded') {
        worker.removeAllListeners('message')
        worker.removeAllListeners('error')
        resolve({ loaded: message.loaded, rows, events, entries })
      }
    }
    worker.on('message', onMessage)
    worker.on('error', (error) =>
      reject(new DiskError({ code: 'IO', message: `disk thread: ${String(error)}` })),
    )
  })
}

/** Structured cloning turns a Buffer into a plain Uint8Array. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
