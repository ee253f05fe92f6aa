import { readFile, statfs } from 'node:fs/promises'
import { cpus, loadavg, release, totalmem } from 'node:os'

/** What the figures of a report depend on. `load1` is the load average of the last minute at the start. */
export interface Machine {
  readonly cpu: string
  readonly cpus: number
  readonly memoryMib: number
  readonly kernel: string
  readonly node: string
  readonly fileSystem: string
  readonly load1: number
}

/** Types of file systems by their magic number (statfs(2)); others show as a number. */
const fileSystems: ReadonlyMap<number, string> = new Map([
  [0x01021994, 'tmpfs'],
  [0x858458f6, 'ramfs'],
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x794c7630, 'overlayfs'],
  [0x2fc12fc1, 'zfs'],
])

/** The name of the file system that holds `dir`. */
export async function fileSystemOf(dir: string): Promise<string> {
  const { type } = await statfs(dir)
  return fileSystems.get(type) ?? `0x${type.toString(16)}`
}

/** The machine as it is now; `dir` is where the servers keep their data. */
export async function machineFacts(dir: string): Promise<Machine> {
  const all = cpus()
  return {
    cpu: all[0]?.model ?? 'unknown',
    cpus: all.length,
    memoryMib: Math.round(totalmem() / (1 << 20)),
    kernel: `${release()} ${await isolation()}`.trim(),
    node: process.version,
    fileSystem: await fileSystemOf(dir),
    load1: loadavg()[0] ?? 0,
  }
}

/** Says when the kernel runs under a hypervisor: its timings are then those of a shared machine. */
async function isolation(): Promise<string> {
  const info = await readFile('/proc/cpuinfo', 'utf8').catch(() => '')
  return /^flags\s*:.*\bhypervisor\b/m.test(info) ? '(virtual)' : ''
}

/** One line for the head of a report. */
export function machineLine(machine: Machine): string {
  return [
    `${machine.cpus} x ${machine.cpu}`,
    `${machine.memoryMib} MiB`,
    `Linux ${machine.kernel}`,
    `Node ${machine.node}`,
    `data on ${machine.fileSystem}`,
    `load average ${machine.load1.toFixed(1)}`,
  ].join(', ')
}
