import { readFileSync } from 'node:fs'
import { ConfigError } from './config-error.ts'

const CLOCK_OFFSET_FILE = 'KVD_TEST_CLOCK_OFFSET_FILE'
const DISK_DELAY_MS = 'KVD_TEST_DISK_DELAY_MS'
const DISK_DELAY_MS_MAX = 60_000

/** Variables that only tests set. */
export const TEST_HOOK_NAMES: readonly string[] = [CLOCK_OFFSET_FILE, DISK_DELAY_MS]

/** What tests make a member suffer that nothing outside of it can do everywhere (correctness.md 4.6). */
export interface TestHooks {
  /** A file with the milliseconds by which the wall clock is wrong. */
  readonly clockOffsetFile: string | undefined
  /** Each batch takes the disk so much longer. */
  readonly diskDelayMs: number
}

/** @throws ConfigError */
export function readTestHooks(env: Readonly<Record<string, string | undefined>>): TestHooks {
  const delay = env[DISK_DELAY_MS] || '0'
  const diskDelayMs = Number(delay)
  if (!Number.isInteger(diskDelayMs) || diskDelayMs < 0 || diskDelayMs > DISK_DELAY_MS_MAX)
    throw new ConfigError(
      2,
      `${DISK_DELAY_MS}=${delay}: not a whole number of milliseconds up to ${DISK_DELAY_MS_MAX}`,
    )
  return { clockOffsetFile: env[CLOCK_OFFSET_FILE] || undefined, diskDelayMs }
}

/** Nobody may run these unawares. */
export function testHookWarnings({ clockOffsetFile, diskDelayMs }: TestHooks): string[] {
  const only = 'for tests only'
  return [
    ...(clockOffsetFile === undefined
      ? []
      : [`${CLOCK_OFFSET_FILE}, ${only}: the clock is wrong by what ${clockOffsetFile} says`]),
    ...(diskDelayMs === 0
      ? []
      : [`${DISK_DELAY_MS}, ${only}: each batch takes the disk ${diskDelayMs} ms longer`]),
  ]
}

/**
 * The wall clock, milliseconds since 1970. With a file it is wrong by the number there, which is read
 * each time, so that the clock jumps when the file changes; a file without a number changes nothing.
 */
export function wallClock(offsetFile: string | undefined): () => number {
  if (offsetFile === undefined) return Date.now
  let offsetMs = 0
  return () => {
    offsetMs = readOffset(offsetFile) ?? offsetMs
    return Date.now() + offsetMs
  }
}

function readOffset(file: string): number | undefined {
  try {
    const text = readFileSync(file, 'utf8').trim()
    const offsetMs = Number(text)
    return text !== '' && Number.isFinite(offsetMs) ? Math.trunc(offsetMs) : undefined
  } catch {
    return undefined // not there, or not to be read: the clock goes on as it was
  }
}
