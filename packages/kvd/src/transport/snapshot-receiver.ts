import type { IncomingMessage, ServerResponse } from 'node:http'
import type { MemberId } from '../raft/types.ts'
import type { EventRow } from '../storage/messages.ts'
import { unpackEvents } from '../storage/records.ts'
import { nodeRowOf, unpackRows } from '../storage/rows.ts'
import { CodecError } from '../store/byte-reader.ts'
import { Store } from '../store/store.ts'
import { judgeGreeting, readGreeting, type Host } from './handshake.ts'
import { SnapshotParser, type SnapshotFrame, type SnapshotTitle } from './snapshot-codec.ts'
import { SNAPSHOT_IDLE_MS } from './snapshot-sender.ts'

/** Fewer bytes in `SNAPSHOT_IDLE_MS` hold the place of a sender that could do better. */
const PACE_BYTES_MIN = 64 * 1024

/** A snapshot that has arrived, was checked, and waits to be installed. */
export interface Snapshot {
  readonly title: SnapshotTitle
  /** As it will be. */
  readonly store: Store
  /** The same for the disk. */
  readonly packs: readonly Uint8Array[]
  readonly events: readonly EventRow[]
}

export interface SnapshotReceiverOptions {
  readonly host: Host
  readonly historySize: number
  /** How often it is seen whether enough has come; default 60 s. */
  readonly paceMs?: number
  readonly received: (snapshot: Snapshot) => void
  readonly failed: (from: string, problem: string) => void
}

/** Takes snapshots of other members, one at a time. */
export class SnapshotReceiver {
  readonly #options: SnapshotReceiverOptions
  #isBusy = false

  constructor(options: SnapshotReceiverOptions) {
    this.#options = options
  }

  async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { host, received, failed } = this.#options
    const greeting = readGreeting(request.headers)
    const refusal = judgeGreeting(greeting, host)
    if (refusal !== undefined || greeting === undefined) {
      refuse(response, refusal?.status ?? 400, refusal?.text ?? 'no greeting')
      return
    }
    if (this.#isBusy) {
      refuse(response, 503, 'another snapshot is on its way')
      return
    }
    this.#isBusy = true
    const stopWatching = this.#watchPace(request)
    const snapshot = await this.#readFrom(greeting.from, request)
    stopWatching()
    this.#isBusy = false
    if (typeof snapshot === 'string') {
      failed(greeting.from, snapshot)
      refuse(response, 400, snapshot)
      return
    }
    response.statusCode = 204
    response.end()
    received(snapshot)
  }

  /** Or why it is none. */
  async #readFrom(sender: MemberId, request: IncomingMessage): Promise<Snapshot | string> {
    try {
      const snapshot = await this.#read(request)
      const { from, to } = snapshot.title
      if (from === sender && to === this.#options.host.id) return snapshot
      return 'a snapshot in the name of another member'
    } catch (error) {
      return error instanceof Error ? error.message : String(error)
    }
  }

  /** Ends a request of which too little arrives. Returns how to stop. */
  #watchPace(request: IncomingMessage): () => void {
    const { socket } = request
    let before = socket.bytesRead
    const timer = setInterval(() => {
      if (socket.bytesRead - before < PACE_BYTES_MIN)
        request.destroy(new Error('it comes too slowly'))
      before = socket.bytesRead
    }, this.#options.paceMs ?? SNAPSHOT_IDLE_MS)
    return () => clearInterval(timer)
  }

  async #read(request: IncomingMessage): Promise<Snapshot> {
    const parser = new SnapshotParser()
    const store = new Store({ historySize: this.#options.historySize })
    const packs: Uint8Array[] = []
    const events: EventRow[] = []
    let title: SnapshotTitle | undefined
    const takeFrame = (frame: SnapshotFrame): void => {
      if (frame.kind === 'head') title = frame.title
      else if (frame.kind === 'events') events.push(frame.row)
      else {
        packs.push(frame.pack)
        store.loadRows(rowsOf(frame.pack))
      }
    }
    for await (const chunk of request) {
      if (!Buffer.isBuffer(chunk)) throw new CodecError('text instead of bytes')
      for (const frame of parser.push(chunk)) takeFrame(frame)
    }
    if (title === undefined || !parser.isWhole) throw new CodecError('the snapshot has no end')
    const { storeIndex: index, count, stats } = title
    if (events.some(({ last }) => last > index))
      throw new CodecError('the snapshot has events of a later store')
    store.finishLoad(
      { index, count, stats },
      events.flatMap(({ body }) => unpackEvents(body)),
    )
    return { title, store, packs, events }
  }
}

function* rowsOf(pack: Uint8Array): Generator<ReturnType<typeof nodeRowOf>> {
  const bytes = Buffer.from(pack.buffer, pack.byteOffset, pack.byteLength)
  for (const { node } of unpackRows(bytes)) if (node !== undefined) yield nodeRowOf(node)
}

function refuse(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'Content-Type': 'text/plain; charset=utf-8',
    Connection: 'close',
  })
  response.end(`${text}\n`)
}
