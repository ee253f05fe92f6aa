import { existsSync } from 'node:fs'
import { kvdPath } from '../helpers/store-process.ts'

/** A program under test. Both understand the same flags. */
export interface Program {
  readonly name: 'etcd' | 'kvd'
  readonly command: readonly string[]
  readonly flags: readonly string[]
  /** etcd makes files of 64 MB before it needs them. */
  readonly diskMib: number
  /** The promise of kvd alone: nothing but a signal ends it. */
  readonly survivesFullDisk: boolean
  /** Libraries that show it another time than the machine's; Go asks the kernel itself. */
  readonly preload: string | undefined
  /** The names of its variables for faults that it must take part in (correctness.md 4.6). */
  readonly hooks: { readonly clockOffsetFile: string; readonly diskDelayMs: string } | undefined
}

const FAKETIME = ['x86_64', 'aarch64'].map(
  (machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketime.so.1`,
)

/** kvd as built, or the machine's etcd, whose v2 API is a flag since 3.0. */
export function programOf(name: 'etcd' | 'kvd'): Program {
  const snapshots = ['--snapshot-count', '700']
  if (name === 'etcd')
    return {
      name,
      command: ['etcd', '--enable-v2'],
      flags: snapshots,
      diskMib: 300,
      survivesFullDisk: false,
      preload: undefined,
      hooks: undefined,
    }
  return {
    name,
    command: [process.execPath, kvdPath],
    flags: [...snapshots, '--event-history', '10000'],
    diskMib: 40,
    survivesFullDisk: true,
    preload: FAKETIME.find((path) => existsSync(path)),
    hooks: { clockOffsetFile: 'KVD_TEST_CLOCK_OFFSET_FILE', diskDelayMs: 'KVD_TEST_DISK_DELAY_MS' },
  }
}
