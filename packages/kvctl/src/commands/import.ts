import { readFile } from 'node:fs/promises'
import type { KvClient } from '@flotilla/kv-client'
import { withClient } from '../client.ts'
import { EXIT, ExitError } from '../context.ts'
import type { Io, Run } from '../context.ts'
import { errorText } from '../errors.ts'
import { logLine } from '../log-line.ts'
import { findNode, readSnapshot, walk } from '../snapshot04.ts'
import type { Entry, SnapshotNode } from '../snapshot04.ts'

/** A key that is about to die would not survive the move (etcdctl/command/import_snap_command.go). */
const TTL_MIN_SECONDS = 300

export const importSnapshot: Run = async (context) => {
  const { io, options } = context
  const file = options.text('snap')
  const root = await readRoot(io, file)
  if (root === undefined) return EXIT.badArgs
  const clients = Math.max(1, Number(options.int('c')))
  io.stdout(`starting to import snapshot ${file} with ${clients} clients\n`)
  const entries = [root, ...options.list('hidden').map((path) => wantNode(root, path))].flatMap(
    (node) => [...walk(node, Date.now())],
  )
  return withClient(context, async (client) => {
    const keys = await writeAll(io, client, { entries, clients })
    io.stdout(`finished importing ${keys} keys\n`)
    return EXIT.success
  })
}

async function readRoot(io: Io, file: string): Promise<SnapshotNode | undefined> {
  try {
    return readSnapshot(await readFile(file, 'utf8'))
  } catch {
    const text =
      file === ''
        ? 'no snapshot file provided (use --snap)\n'
        : `cannot read snapshot file ${file}\n`
    io.stdout(text)
    return undefined
  }
}

function wantNode(root: SnapshotNode, path: string): SnapshotNode {
  const found = findNode(root, path)
  if (found !== undefined) return found
  throw new ExitError(EXIT.serverError, `Error:  100: Key not found (${path}) [0]\n`)
}

interface Work {
  readonly entries: readonly Entry[]
  readonly clients: number
}

/** Writes so many keys at a time; the first failure ends it all, as in the original. */
async function writeAll(io: Io, client: KvClient, { entries, clients }: Work): Promise<number> {
  let count = 0
  const queue = entries.values()
  const worker = async (): Promise<void> => {
    for (const entry of queue) {
      if (entry.type === 'dir') {
        io.stderr(logLine(`entering dir: ${entry.key}`))
        continue
      }
      count += 1
      await writeOne(io, client, entry)
    }
  }
  await Promise.all(Array.from({ length: clients }, worker))
  return count
}

async function writeOne(
  io: Io,
  client: KvClient,
  { key, value, ttl }: Extract<Entry, { type: 'key' }>,
): Promise<void> {
  io.stderr(logLine(`copying key: ${key}`))
  const isShort = ttl !== 0 && ttl < TTL_MIN_SECONDS
  if (isShort) io.stderr(logLine(`extending key ${key}'s ttl to 300 seconds`))
  try {
    await client.set(key, value, { ttl: isShort ? TTL_MIN_SECONDS : ttl })
  } catch (error) {
    throw new ExitError(EXIT.badArgs, logLine(`failed to copy key: ${errorText(error)}`))
  }
}
