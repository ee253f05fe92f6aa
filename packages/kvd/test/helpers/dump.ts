import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { fieldsOf } from './answers.ts'
import type { ModelNode } from './model.ts'
import { kvdPath } from './store-process.ts'

/** The tree of a data directory that no store runs on, as kvd's `--dump` reads it. */
export interface Dump {
  readonly index: number
  /** Nodes that users can reach, hidden ones too. */
  readonly nodes: ReadonlyMap<string, ModelNode>
  /** All lines, the cluster's own nodes included. */
  readonly text: string
}

const textBytesMax = 1 << 28

/**
 * Reads a directory offline: `image` as a start does, `log` by replaying every entry from the first.
 * Undefined when the log's beginning has been compacted away. @throws Error with kvd's message
 */
export async function readDump(dir: string, source: 'image' | 'log'): Promise<Dump | undefined> {
  const args = [kvdPath, '--data-dir', dir, '--dump', source]
  try {
    const options = { encoding: 'utf8', maxBuffer: textBytesMax } as const
    const { stdout } = await promisify(execFile)(process.execPath, args, options)
    return parseDump(stdout)
  } catch (error) {
    if (source === 'log' && /compacted|the store stands at 0/.test(String(error))) return undefined
    throw error
  }
}

function parseDump(text: string): Dump {
  const [head, ...rows] = text
    .trimEnd()
    .split('\n')
    .map((line) => fieldsOf(JSON.parse(line)))
  const nodes = rows
    .filter((row) => row['space'] === 'keys')
    .map((row) => [String(row['key']), nodeOf(row)] as const)
  return { index: Number(head?.['index']), nodes: new Map(nodes), text }
}

function nodeOf(row: Readonly<Record<string, unknown>>): ModelNode {
  const { value, expireAt } = row
  return {
    value: typeof value === 'string' ? value : undefined,
    expiration: Number(expireAt) === 0 ? undefined : expirationOf(Number(expireAt)),
    createdIndex: Number(row['createdIndex']),
    modifiedIndex: Number(row['modifiedIndex']),
  }
}

/** RFC 3339 as the v2 API prints it: zeros at the end of the fraction are cut. */
function expirationOf(ms: number): string {
  return new Date(ms).toISOString().replace(/\.?0*Z$/, 'Z')
}
