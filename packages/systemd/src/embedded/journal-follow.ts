import type { JournalOptions } from '../manager.ts'
import type { Journal, JournalEntry } from './journal.ts'

/**
 * The newest entries and, when asked to follow, those that come until the signal or the journal's end. It holds no
 * queue: a reader that is slower than the journal's ring misses what the ring has dropped, and is told how many.
 */
export async function* followJournal(
  journal: Journal,
  { lines, follow, signal }: JournalOptions,
): AsyncGenerator<JournalEntry> {
  const tail = lines > 0 ? journal.tail(lines) : []
  let seq = tail.at(-1)?.seq ?? journal.lastSeq
  yield* tail
  if (!follow) return
  for (;;) {
    for (const entry of journal.after(seq)) {
      if (signal?.aborted === true) return
      if (entry.seq > seq + 1) yield missed(entry, entry.seq - seq - 1)
      seq = entry.seq
      yield entry
    }
    if (journal.lastSeq > seq) continue
    if (journal.isClosed || signal?.aborted === true) return
    await nextEntry(journal, signal)
  }
}

function missed(before: JournalEntry, count: number): JournalEntry {
  const message = `Missed ${count} entries, the reader was too slow.`
  return { ...before, pid: 0, identifier: 'systemd-journald', priority: 4, message }
}

async function nextEntry(journal: Journal, signal: AbortSignal | undefined): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const cancel = journal.onAppend(done)
    signal?.addEventListener('abort', done)
  })
}
