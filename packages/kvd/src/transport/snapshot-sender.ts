import { once } from 'node:events'
import { request as requestPlain, type ClientRequest } from 'node:http'
import { request as requestSecure } from 'node:https'
import { hostOf, serverName } from '../tls/tls-config.ts'
import type { DialOptions } from '../tls/tls-identity.ts'
import type { DiskSnapshot } from '../storage/disk.ts'
import { SnapshotWriter, type SnapshotTitle } from './snapshot-codec.ts'

export const SNAPSHOT_PATH = '/kvd/raft/v1/snap'
/** Nothing has moved for so long: it is given up (raft.md 9). */
export const SNAPSHOT_IDLE_MS = 60_000

/** A snapshot did not arrive. */
class SnapshotError extends Error {
  override readonly name = 'SnapshotError'
  readonly code = 'SNAPSHOT'
}

export interface SnapshotTarget {
  /** A peer URL of the receiver. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** How to dial an https URL. */
  readonly tls: () => DialOptions
}

/**
 * Sends a snapshot, no faster than the receiver takes it, and leaves it open. Resolves when it has all of it.
 * @throws SnapshotError
 */
export async function sendSnapshot(
  target: SnapshotTarget,
  title: SnapshotTitle,
  snapshot: DiskSnapshot,
): Promise<void> {
  const request = openRequest(target)
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
  }
}

function openRequest({ url: base, headers, tls }: SnapshotTarget): ClientRequest {
  const url = new URL(SNAPSHOT_PATH, base)
  const options = {
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/octet-stream' },
    timeout: SNAPSHOT_IDLE_MS,
    agent: false,
    host: hostOf(url),
  } as const
  return url.protocol === 'https:'
    ? requestSecure(url, { ...options, ...tls(), servername: serverName(url) })
    : requestPlain(url, options)
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
