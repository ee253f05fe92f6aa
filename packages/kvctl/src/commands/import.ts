import { readFile } from 'node:fs/promises'
import { isKvError } from '@flotilla/kv-client'
import type { KvClient } from '@flotilla/kv-client'
import { withClient } from '../client.ts'
import { EXIT, ExitError } from '../context.ts'
import type { Context, Io, Run } from '../context.ts'
import { errorText } from '../errors.ts'
import { logLine } from '../log-line.ts'
import { findNode, readSnapshot, walk } from '../snapshot04.ts'
import type { Entry, SnapshotNode } from '../snapshot04.ts'
import { readTree } from '../tree.ts'
import type { TreeEntry } from '../tree.ts'

/** A key that is about to die would not survive the move (etcdctl/command/import_snap_command.go). */
const TTL_MIN_SECONDS = 300

export const importSnapshot: Run = async (context) => {
  const { io, options } = context
  const json = options.text('json')
  if (json !== '') return importTree(context, json)
  const file = options.text('snap')
  const root = await readRoot(io, file)
  if (root === undefined) return EXIT.badArgs
  const clients = clientCount(context)
  io.stdout(`starting to import snapshot ${file} with ${clients} clients\n`)
  const entries = [root, ...options.list('hidden').map((path) => wantNode(root, path))].flatMap(
    (node) => [...walk(node, Date.now())],
  )
  return withClient(context, async (client) => {
    const keys = await writeAll(entries, clients, (entry) => writeEntry(io, client, entry))
    io.stdout(`finished importing ${keys} keys\n`)
    return EXIT.success
  })
}

function clientCount({ options }: Context): number {
  return Math.max(1, Number(options.int('c')))
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

/** Writes so many at a time; the first failure ends it all, as in the original. Resolves to the number of keys. */
async function writeAll<T>(
  entries: readonly T[],
  clients: number,
  write: (entry: T) => Promise<number>,
): Promise<number> {
  let count = 0
  const queue = entries.values()
  const worker = async (): Promise<void> => {
    for (const entry of queue) {
      const keys = await write(entry)
      count += keys
    }
  }
  await Promise.all(Array.from({ length: clients }, worker))
  return count
}

async function writeEntry(io: Io, client: KvClient, entry: Entry): Promise<number> {
  const { key } = entry
  if (entry.type === 'dir') {
    io.stderr(logLine(`entering dir: ${key}`))
    return 0
  }
  const { value, ttl } = entry
  io.stderr(logLine(`copying key: ${key}`))
  const isShort = ttl !== 0 && ttl < TTL_MIN_SECONDS
  if (isShort) io.stderr(logLine(`extending key ${key}'s ttl to 300 seconds`))
  await copied(client.set(key, value, { ttl: isShort ? TTL_MIN_SECONDS : ttl }))
  return 1
}

async function copied(write: Promise<unknown>): Promise<void> {
  try {
    await write
  } catch (error) {
    throw new ExitError(EXIT.badArgs, logLine(`failed to copy key: ${errorText(error)}`))
  }
}

/**
 * Writes a tree of `export`: directories first, then the keys. The ttls of directories come last, from the
 * bottom up: one that died before its last key is written would be made again with that key, and stay.
 */
async function importTree(context: Context, file: string): Promise<number> {
  const { io } = context
  const entries = await readEntries(io, file)
  const dirs = entries.filter(({ value, key }) => value === undefined && key !== '/')
  return withClient(context, async (client) => {
    for (const { key } of dirs) await copied(makeDir(client, key))
    const files = entries.filter(({ value }) => value !== undefined)
    const keys = await writeAll(files, clientCount(context), async ({ key, value = '', ttl }) => {
      await copied(client.set(key, value, { ttl }))
      return 1
    })
    for (const { key, ttl } of dirs.filter((dir) => dir.ttl !== 0).toReversed()) {
      await copied(client.set(key, '', { dir: true, prevExist: true, ttl }))
    }
    io.stdout(`finished importing ${keys} keys\n`)
    return EXIT.success
  })
}

async function readEntries(io: Io, file: string): Promise<readonly TreeEntry[]> {
  try {
    return readTree(file === '-' ? await io.readStdin() : await readFile(file, 'utf8'))
  } catch (error) {
    throw new ExitError(EXIT.badArgs, `cannot read tree ${file}: ${errorText(error)}\n`)
  }
}

/** A directory that is there already stays, with all that is in it. */
async function makeDir(client: KvClient, key: string): Promise<void> {
  try {
    await client.mkdir(key)
  } catch (error) {
    if (!isKvError(error, 105)) throw error
  }
}
