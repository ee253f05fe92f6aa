import type { DiskSnapshot } from './disk.ts'
import type { FromDisk, ToDisk } from './messages.ts'

interface Reader {
  opened: (message: Extract<FromDisk, { type: 'snapshot' }>) => void
  rows: (pack: Uint8Array | undefined) => void
}

/** Images that are being read, on the side that asks: questions and answers by number. */
export class DiskSnapshots {
  readonly #post: (message: ToDisk) => void
  readonly #readers = new Map<number, Reader>()
  #count = 0

  constructor(post: (message: ToDisk) => void) {
    this.#post = post
  }

  async open(): Promise<DiskSnapshot | undefined> {
    this.#count += 1
    const id = this.#count
    const reader: Reader = { opened: () => undefined, rows: () => undefined }
    this.#readers.set(id, reader)
    const { head, events } = await new Promise<Extract<FromDisk, { type: 'snapshot' }>>(
      (resolve) => {
        reader.opened = resolve
        this.#post({ type: 'snapshotOpen', id })
      },
    )
    if (head === undefined) {
      this.#readers.delete(id)
      return undefined
    }
    return {
      head,
      events,
      next: async () =>
        await new Promise((resolve) => {
          reader.rows = resolve
          this.#post({ type: 'snapshotNext', id })
        }),
      close: () => {
        if (this.#readers.delete(id)) this.#post({ type: 'snapshotClose', id })
      },
    }
  }

  take(message: FromDisk): void {
    if (message.type === 'snapshot') this.#readers.get(message.id)?.opened(message)
    else if (message.type === 'snapshotRows') this.#readers.get(message.id)?.rows(message.pack)
  }
}
