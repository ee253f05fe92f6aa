import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** One run of the load generator. */
export interface Load {
  readonly url: string
  readonly connections: number
  readonly seconds: number
  /** More than one only where one server is not enough; each has the same share of the connections. */
  readonly threads?: number
  /** Path of the Lua script; it must end with `doneLua`. */
  readonly script: string
  readonly args: readonly string[]
}

/**
 * What came of it. `errors` counts answers of 400 and above, failed connections, reads, writes and timeouts.
 * wrk up to 4.1 corrects its percentiles for coordinated omission: a stall counts for every request
 * that would have been sent during it.
 */
export interface LoadResult {
  readonly requests: number
  readonly seconds: number
  readonly errors: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** Lua that prints the result in the form `parseResult` reads; wrk's own table rounds its numbers. */
export const doneLua = `
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("result requests=%d us=%d status=%d connect=%d read=%d write=%d timeout=%d p50=%d p99=%d max=%d\\n",
    summary.requests, summary.duration, e.status, e.connect, e.read, e.write, e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
`

/** Drives `url`, by default with one thread: the machine is shared with the server, so the client must stay small. */
export async function runWrk(load: Load): Promise<LoadResult> {
  const { stdout } = await run('wrk', [
    `--threads=${load.threads ?? 1}`,
    `--connections=${load.connections}`,
    `--duration=${load.seconds}s`,
    '--timeout=10s',
    `--script=${load.script}`,
    load.url,
    '--',
    ...load.args,
  ])
  return parseResult(stdout)
}

/** Reads the line that `doneLua` prints. */
export function parseResult(stdout: string): LoadResult {
  const line = /^result (.+)$/m.exec(stdout)?.[1]
  if (line === undefined) throw new Error(`wrk printed no result:\n${stdout}`)
  const fields = new Map(line.split(' ').map((field) => pairOf(field)))
  const number = (name: string): number => {
    const value = fields.get(name)
    if (value === undefined || !Number.isFinite(value))
      throw new Error(`wrk: no ${name} in ${line}`)
    return value
  }
  return {
    requests: number('requests'),
    seconds: number('us') / 1e6,
    errors: ['status', 'connect', 'read', 'write', 'timeout'].reduce((n, x) => n + number(x), 0),
    p50Ms: number('p50') / 1e3,
    p99Ms: number('p99') / 1e3,
    maxMs: number('max') / 1e3,
  }
}

function pairOf(field: string): [string, number] {
  const [name = '', value = ''] = field.split('=')
  return [name, value === '' ? NaN : Number(value)]
}

/** The version of wrk, which is installed first where it is missing and may be: as root, with apt. */
export async function needWrk(): Promise<string | undefined> {
  const present = await wrkVersion()
  if (present !== undefined || process.getuid?.() !== 0) return present
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = (...args: string[]): Promise<boolean> =>
    run('apt-get', ['-qq', ...args], { env }).then(
      () => true,
      () => false,
    )
  const isThere =
    (await apt('update')) && (await apt('install', '-y', '--no-install-recommends', 'wrk'))
  return isThere ? await wrkVersion() : undefined
}

/** `wrk --version`, or undefined where there is no wrk. */
async function wrkVersion(): Promise<string | undefined> {
  // wrk prints its version and then leaves with status 1.
  const text = await run('wrk', ['--version']).then(
    (out) => out.stdout,
    (error: unknown) => outputOf(error),
  )
  return /wrk \D*(\S+)/.exec(text)?.[1]
}

function outputOf(error: unknown): string {
  if (!(error instanceof Error) || !('stdout' in error)) return ''
  return String(error.stdout)
}
