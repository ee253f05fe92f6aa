import { readdirSync, readFileSync, writeFileSync } from 'node:fs'

/** Resident memory of a process in MiB: now, and the highest since the last `forgetPeak`. */
export interface Footprint {
  readonly nowMib: number
  readonly peakMib: number
}

/** Reads /proc/PID/status. */
export function footprintOf(pid: number): Footprint {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const mib = (name: string): number =>
    Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1024
  return { nowMib: mib('VmRSS'), peakMib: mib('VmHWM') }
}

/** Lets the peak begin anew (proc(5), clear_refs 5); false where that is not allowed. */
export function forgetPeak(pid: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, '5')
    return true
  } catch {
    return false
  }
}

/** Open file descriptors of a process. */
export function openFiles(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** How many files this process may open; its children inherit the limit. */
export function openFilesMax(): number {
  const limits = readFileSync('/proc/self/limits', 'utf8')
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1024)
}
