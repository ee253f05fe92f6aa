import { existsSync, mkdirSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import { hierarchies } from './cgroup.ts'
import { installTools, isRoot, missingTools } from './host.ts'
import { run } from './process.ts'

/** The command that starts what follows it in fresh namespaces, all of which die with it. */
export const NAMESPACES: readonly string[] = [
  'unshare',
  '--mount',
  '--net',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount-proc',
]

/** What is probed inside fresh namespaces: nothing of it can stay behind. */
const PROBES = {
  'an overlay mount':
    'mount -t tmpfs tmpfs /tmp && cd /tmp && mkdir l u w m && mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w m',
  'a bridge': 'ip link add flotilla0 type bridge',
  'nft on bridges': 'nft add table bridge flotilla',
} as const

/**
 * Why machines cannot be booted here; empty when they can. Installs what is missing first, where it may.
 * Each reason is a few words, fit for a list.
 */
export async function preflight(): Promise<string[]> {
  if (process.platform !== 'linux') return ['Linux']
  if (!isRoot()) return ['root']
  const failure = await installTools().then(
    () => [],
    (error: unknown) => [`apt-get (${error instanceof Error ? error.message : String(error)})`],
  )
  const tools = missingTools()
  if (tools.length > 0) return [...tools, ...failure]
  if ((await run([...NAMESPACES, 'true'])).code !== 0) return ['namespaces (unshare)']
  const reasons: string[] = canMakeGroup() ? [] : ['a writable cgroup tree']
  for (const [what, script] of Object.entries(PROBES)) {
    const probe = await run([...NAMESPACES, 'sh', '-c', script])
    if (probe.code !== 0) reasons.push(what)
  }
  return reasons
}

function canMakeGroup(): boolean {
  const [top] = hierarchies()
  if (top === undefined || !existsSync(top)) return false
  const group = join(top, `flotilla-probe-${process.pid}`)
  try {
    mkdirSync(group)
    rmdirSync(group)
    return true
  } catch {
    return false // read-only or not delegated: which of them makes no difference
  }
}

/** The one line a skipped suite prints. */
export function skipLine(reasons: readonly string[]): string {
  return `integration needs root, systemd-nspawn, nft and overlayfs (missing: ${reasons.join(', ')})`
}

/** True where a skipped suite would hide a broken machine: CI says so with FLOTILLA_INTEGRATION=required. */
export function isRequired(): boolean {
  return process.env['FLOTILLA_INTEGRATION'] === 'required'
}
