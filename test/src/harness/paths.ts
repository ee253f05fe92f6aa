import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * The top of the workspace. The compiled code lies at different depths (dist, build-test), so it is
 * looked for upwards; nothing else in this package counts directories.
 */
export const ROOT = findRoot(dirname(fileURLToPath(import.meta.url)))

/** The folder with the recorded vectors, or undefined where there is none. FLOTILLA_SHARED names another place. */
export const SHARED = findShared()

/** The start file of one of our programs. */
export function program(name: string): string {
  return join(ROOT, 'packages', name, 'bin', `${name}.js`)
}

function findRoot(from: string): string {
  if (existsSync(join(from, 'pnpm-workspace.yaml'))) return from
  const above = dirname(from)
  if (above === from)
    throw new Error('this file lies in no workspace: pnpm-workspace.yaml is missing')
  return findRoot(above)
}

function findShared(): string | undefined {
  const place = process.env['FLOTILLA_SHARED'] ?? join(dirname(ROOT), 'shared')
  return existsSync(join(place, 'conformance')) ? place : undefined
}
