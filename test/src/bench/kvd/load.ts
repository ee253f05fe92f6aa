import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cpuSeconds, parseMetric } from '../proc.ts'
import { doneLua, runWrk, type LoadResult } from '../wrk.ts'

/** The operations driven by wrk. */
export type Operation = 'get' | 'qget' | 'put' | 'mixed'

/** Bytes of a value and number of keys of every load. */
export const valueBytes = 100
export const keyCount = 10_000

/** Every tenth request of the mixed load is a PUT. */
const script = `
local gets, puts, g, p, n, op = {}, {}, 0, 0, 0, ""
local alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
local function value(bytes)
  local out = {}
  for i = 1, bytes do
    local at = math.random(#alphabet)
    out[i] = alphabet:sub(at, at)
  end
  return table.concat(out)
end
function init(args)
  op = args[1]
  local keys, bytes = tonumber(args[2]), tonumber(args[3])
  math.randomseed(7)
  local order = {}
  for i = 1, keys do order[i] = i end
  for i = keys, 2, -1 do
    local j = math.random(i)
    order[i], order[j] = order[j], order[i]
  end
  local query = op == "qget" and "?quorum=true" or ""
  local form = { ["Content-Type"] = "application/x-www-form-urlencoded" }
  for i = 1, keys do
    local path = string.format("/v2/keys/bench/%05d", order[i] - 1)
    gets[i] = wrk.format("GET", path .. query, {})
    if op == "put" or op == "mixed" then
      puts[i] = wrk.format("PUT", path, form, "value=" .. value(bytes))
    end
  end
end
function request()
  n = n + 1
  if op == "put" or (op == "mixed" and n % 10 == 0) then
    p = p % #puts + 1
    return puts[p]
  end
  g = g % #gets + 1
  return gets[g]
end
${doneLua}`

/** One measurement: what the generator saw, and what it cost the server. */
export interface Sample extends LoadResult {
  readonly perSecond: number
  readonly cpuUsPerRequest: number
  /** fsyncs of the driven server's log during the run, from its own metrics; undefined when it does not say. */
  readonly fsyncs: number | undefined
}

/** Writes the script to `dir` and gives its path. */
export async function writeScript(dir: string): Promise<string> {
  const path = join(dir, 'kvd.lua')
  await writeFile(path, script)
  return path
}

/** The same load from several threads, each of which drives another port of this machine. */
export async function writeSpreadScript(dir: string, ports: readonly number[]): Promise<string> {
  const path = join(dir, `spread-${ports.join('-')}.lua`)
  await writeFile(path, `${script}\n${spreadLua(ports)}`)
  return path
}

function spreadLua(ports: readonly number[]): string {
  return `
local ports, threads = { ${ports.join(', ')} }, 0
function setup(thread)
  threads = threads + 1
  local port = ports[(threads - 1) % #ports + 1]
  thread.addr = wrk.lookup("127.0.0.1", tostring(port))[1]
end
`
}

/** What is driven, and the processes whose work counts: of a cluster all members'. */
export interface Target {
  readonly url: string
  readonly pids: readonly number[]
}

/** Drives a target with one operation for `seconds`. */
export async function measure(
  target: Target,
  operation: Operation,
  load: {
    readonly connections: number
    readonly seconds: number
    readonly script: string
    readonly threads?: number
  },
): Promise<Sample> {
  const before = await cost(target)
  const result = await runWrk({
    url: target.url,
    ...load,
    args: [operation, String(keyCount), String(valueBytes)],
  })
  const after = await cost(target)
  return {
    ...result,
    perSecond: result.requests / result.seconds,
    cpuUsPerRequest: ((after.cpuSeconds - before.cpuSeconds) * 1e6) / result.requests,
    fsyncs: minus(after.fsyncs, before.fsyncs),
  }
}

function minus(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : a - b
}

/** The metric's name in etcd 2.3 (and kvd), and in etcd 3. */
const fsyncMetrics = [
  'etcd_wal_fsync_durations_seconds_count',
  'etcd_disk_wal_fsync_duration_seconds_count',
]

async function cost(target: Target): Promise<{ cpuSeconds: number; fsyncs: number | undefined }> {
  const text = await (await fetch(`${target.url}/metrics`)).text()
  const fsyncs = fsyncMetrics.map((name) => parseMetric(text, name)).find((n) => n !== undefined)
  const each = await Promise.all(target.pids.map(cpuSeconds))
  return { cpuSeconds: each.reduce((sum, seconds) => sum + seconds, 0), fsyncs }
}
