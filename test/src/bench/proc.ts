import { readFile } from 'node:fs/promises'

/** USER_HZ: the unit of /proc/PID/stat on every Linux that Node runs on. */
const ticksPerSecond = 100

/** Memory of a process in KiB. PSS counts pages shared with others by their share; peak is the highest RSS. */
export interface Memory {
  readonly rssKib: number
  readonly pssKib: number
  readonly peakKib: number
}

/** Processor time (user + system) of the whole process, all its threads and those that ended, in seconds. */
export async function cpuSeconds(pid: number): Promise<number> {
  return parseCpuSeconds(await readFile(`/proc/${pid}/stat`, 'utf8'))
}

/** Fields 14 (utime) and 15 (stime) of a /proc/PID/stat line, in seconds (proc(5)). */
export function parseCpuSeconds(stat: string): number {
  // The second field is the program's name in brackets and may itself hold blanks and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[11]) + Number(fields[12])
  if (!Number.isFinite(ticks)) throw new Error(`not a /proc/PID/stat line: ${stat}`)
  return ticks / ticksPerSecond
}

/** Memory of a running process. */
export async function memoryOf(pid: number): Promise<Memory> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8')
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return {
    rssKib: parseKib(rollup, 'Rss'),
    pssKib: parseKib(rollup, 'Pss'),
    peakKib: parseKib(status, 'VmHWM'),
  }
}

/** The number of the line `NAME:   1234 kB` in a file of /proc. */
export function parseKib(text: string, name: string): number {
  const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text)
  if (found === null) throw new Error(`no line ${name}: in the file of /proc`)
  return Number(found[1])
}

/** The value of a plain sample `name value` in Prometheus text, undefined when there is none. */
export function parseMetric(text: string, name: string): number | undefined {
  const found = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)
  return found === null ? undefined : Number(found[1])
}
