import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A new directory, in memory where there is some: power losses are played, nothing has to survive one. */
export function scratchDir(): { readonly path: string; remove(): void } {
  const memory = '/dev/shm'
  const path = mkdtempSync(join(existsSync(memory) ? memory : tmpdir(), 'crash-images-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) }
}
