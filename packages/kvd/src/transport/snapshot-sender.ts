import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import type { DiskSnapshot } from '../storage/disk.ts'
import { SnapshotWriter, type SnapshotTitle } from './snapshot-codec.ts'

export const SNAPSHOT_PATH = '/kvd/raft/v1/snap'
/** Nothing has moved for so long: it is given up (raft.md 9). */
export const SNAPSHOT_IDLE_MS = 60_000

/** A snapshot did not arrive. */
export class SnapshotError extends Error {
  override readonly name = 'SnapshotError'
  readonly code = 'SNAPSHOT'
}

export interface SnapshotTarget {
  /** A peer URL of the receiver. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

/**
 * Sends a snapshot, no faster than the receiver takes it. Resolves when it has all of it.
 * @throws SnapshotError
 */
export async function sendSnapshot(
  { url, headers }: SnapshotTarget,
  title: SnapshotTitle,
  snapshot: DiskSnapshot,
): Promise<void> {
  const request = httpRequest(new URL(SNAPSHOT_PATH, url), {
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/octet-stream' },
    timeout: SNAPSHOT_IDLE_MS,
    agent: false,
  })
  request.on('timeout', () => request.destroy(new Error('nothing has moved for a minute')))
  const answered = new Promise<void>((resolve, reject) => {
    request.on('error', reject)
    request.on('response', (response) => {
      response.resume()
      if (response.statusCode === 204) resolve()
      else reject(new Error(`status ${response.statusCode}`))
    })
  })
  try {
    await Promise.race([answered, writeAll(request, title, snapshot)])
    await answered
  } catch (error) {
    throw new SnapshotError(error instanceof Error ? error.message : String(error), {
      cause: error,
    })
  } finally {
    request.destroy()
    snapshot.close()
  }
}

async function writeAll(
  request: NodeJS.WritableStream,
  title: SnapshotTitle,
  snapshot: DiskSnapshot,
): Promise<void> {
  const writer = new SnapshotWriter()
  const put = async (bytes: Buffer): Promise<void> => {
    if (!request.write(bytes)) await once(request, 'drain')
  }
  await put(writer.frame({ kind: 'head', title }))
  for (let pack = await snapshot.next(); pack !== undefined; pack = await snapshot.next())
    await put(writer.frame({ kind: 'rows', pack }))
  for (const row of snapshot.events) await put(writer.frame({ kind: 'events', row }))
  request.end(writer.end())
}
