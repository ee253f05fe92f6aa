import { Buffer } from 'node:buffer'
import { basename, dirname } from 'node:path'

/** What a program did to the files of one directory, in order, and what it said meanwhile. */
export type Call =
  | { readonly type: 'create'; readonly file: string }
  | {
      readonly type: 'write'
      readonly file: string
      readonly offset: number
      readonly data: Buffer
    }
  | { readonly type: 'truncate'; readonly file: string; readonly size: number }
  /** File `.` is the directory itself. */
  | { readonly type: 'sync'; readonly file: string }
  | { readonly type: 'rename'; readonly file: string; readonly to: string }
  | { readonly type: 'unlink'; readonly file: string }
  /** A line on standard output. */
  | { readonly type: 'note'; readonly text: string }

/** Calls that change files, those included that `readTrace` refuses: none may stay unseen. */
const TRACED = [
  'open,openat,creat,pwrite64,write,ftruncate,fdatasync,fsync,rename,renameat,renameat2,unlink,unlinkat',
  'pwritev,pwritev2,writev,truncate,fallocate,sync_file_range,link,linkat,symlink,symlinkat',
  'copy_file_range,sendfile,splice',
].join(',')

/** Makes strace write what `readTrace` reads: all threads, every byte, files by their paths. */
export const STRACE_OPTIONS: readonly string[] = [
  '-f',
  '--seccomp-bpf',
  '-y',
  '-xx',
  '-s',
  '70000',
  '-e',
  `trace=${TRACED}`,
]

/** Its content is rebuilt after a power loss. */
const SHARED_MEMORY = /-shm$/

/**
 * The calls of a trace that concern the files of `directory`, and the notes. A call counts from its
 * end on; one that failed or never ended has not happened.
 * @throws Error on a call that changes those files in a way unknown here
 */
export function readTrace(text: string, directory: string): Call[] {
  const calls: Call[] = []
  /** The beginning of the call that each thread is in. */
  const begun = new Map<string, string>()
  for (const line of text.split('\n')) {
    const found = /^(\d+)\s+(.*)$/.exec(line)
    if (found === null) continue
    const [, thread = '', rest = ''] = found
    if (rest.endsWith(UNFINISHED)) {
      begun.set(thread, rest.slice(0, -UNFINISHED.length))
      continue
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    const whole = resumed === null ? rest : `${begun.get(thread) ?? ''}${resumed[1] ?? ''}`
    begun.delete(thread)
    calls.push(...callsOf(whole, directory))
  }
  return calls
}

const UNFINISHED = '<unfinished ...>'

interface Raw {
  readonly name: string
  readonly args: string
  /** Of the file descriptor in front, or none. */
  readonly path: string | undefined
  readonly fd: number
  readonly strings: readonly Buffer[]
  readonly result: number
}

function callsOf(text: string, directory: string): Call[] {
  const raw = rawOf(text)
  if (raw === undefined || raw.result < 0) return []
  if (raw.fd === 1 && raw.name === 'write') return notesOf(raw)
  const paths = raw.path === undefined ? pathsOf(raw) : [raw.path]
  const [path = '', to = ''] = paths
  if (path === directory) return SYNCS.has(raw.name) ? [{ type: 'sync', file: '.' }] : []
  if (dirname(path) !== directory || SHARED_MEMORY.test(path)) return []
  return changesOf(raw, basename(path), basename(to))
}

const SYNCS: ReadonlySet<string> = new Set(['fsync', 'fdatasync'])

/** `name(args) = result`; undefined for the end of a thread, a signal, a call without an end. */
function rawOf(text: string): Raw | undefined {
  const found = /^(\w+)\((.*)\)\s+= (-?\d+)/.exec(text)
  if (found === null) return undefined
  const [, name = '', args = '', result = ''] = found
  const at = /^(\d+)<([^>]*)>/.exec(args)
  const strings = [...args.matchAll(/"([^"]*)"(\.\.\.)?/g)].map(([, hex = '', more]) => {
    if (more !== undefined) throw new Error(`${name}: strace cut ${hex.length / 4} bytes short`)
    return bytesOf(hex)
  })
  return {
    name,
    args,
    fd: Number(at?.[1] ?? -1),
    path: at === null ? undefined : bytesOf(at[2] ?? '').toString(),
    strings,
    result: Number(result),
  }
}

/** Bytes out of `\x00\x01`. */
function bytesOf(text: string): Buffer {
  return Buffer.from(text.replaceAll('\\x', ''), 'hex')
}

function notesOf({ strings }: Raw): Call[] {
  const lines = String(strings[0] ?? '').split('\n')
  return lines.filter((line) => line !== '').map((line) => ({ type: 'note', text: line }))
}

/** Paths among the arguments: the program under trace names its files absolutely. */
function pathsOf({ name, strings }: Raw): string[] {
  return name === 'write' ? [] : strings.map(String)
}

function changesOf(raw: Raw, file: string, to: string): Call[] {
  const { name, args, strings, result } = raw
  const last = Number(/(\d+)\s*$/.exec(args)?.[1] ?? NaN)
  switch (name) {
    case 'open':
    case 'openat':
      return [
        ...(args.includes('O_CREAT') ? [{ type: 'create' as const, file }] : []),
        ...(args.includes('O_TRUNC') ? [{ type: 'truncate' as const, file, size: 0 }] : []),
      ]
    case 'pwrite64': {
      const data = (strings[0] ?? Buffer.alloc(0)).subarray(0, result)
      return [{ type: 'write', file, offset: last, data }]
    }
    case 'ftruncate':
      return [{ type: 'truncate', file, size: last }]
    case 'fsync':
    case 'fdatasync':
      return [{ type: 'sync', file }]
    case 'rename':
      return [{ type: 'rename', file, to }]
    case 'unlink':
      return [{ type: 'unlink', file }]
    default:
      throw new Error(`${name} of ${file} is a change that crash images do not know`)
  }
}
