import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { hierarchies } from './cgroup.ts'
import { startJanitor } from './janitor.ts'
import { NAMESPACES, isRequired, preflight, skipLine } from './preflight.ts'
import { childrenOf, signal } from './process.ts'
import { rootFileSystem } from './rootfs.ts'

/**
 * Namespaces of their own for a test file or a cluster:
 *
 *     node file ── setpriv ── unshare ── node file (again, pid 1 inside) ── systemd-nspawn …
 *        └─ janitor (waits for the first node's end, however it ends; removes cgroups and directory)
 *
 * When any process of the upper row dies, the kernel kills all to its right.
 */
export interface Sandbox {
  /** The name of this run; its cgroups are called so. */
  readonly runName: string
  /** An empty directory for the machines' files. It vanishes with the sandbox. */
  readonly directory: string
  /** The lower layer of every machine. */
  readonly rootfs: string
}

/** A sandbox, or why there can be none. */
export type Entry = { readonly sandbox: Sandbox } | { readonly reason: string }

const MARKER = 'FLOTILLA_SANDBOX'
/** How long the inside may take to end by itself after a signal. */
const GRACE_MS = 20_000

/**
 * Continues inside a sandbox: on the first call the program is started again in fresh namespaces and
 * this process only waits for it and ends with its status; the call returns in the second process.
 * Must be awaited before anything with effects (importing tap, for one). `kind` becomes part of the
 * run's name; `prepare` is done outside, where the network still is.
 */
export async function enterSandbox(
  kind = 'test',
  prepare: () => Promise<void> = () => Promise.resolve(),
): Promise<Entry> {
  const inside = process.env[MARKER]
  if (inside !== undefined) {
    delete process.env[MARKER]
    return { sandbox: parseMarker(inside) }
  }
  const reasons = await preflight()
  if (reasons.length > 0) {
    const reason = skipLine(reasons)
    if (isRequired()) throw new Error(`${reason}, and FLOTILLA_INTEGRATION=required`)
    return { reason }
  }
  await prepare()
  const rootfs = await rootFileSystem()
  const directory = mkdtempSync(join(tmpdir(), `flotilla-${kind}-`))
  process.exit(await runInside({ runName: basename(directory), directory, rootfs }))
}

function parseMarker(text: string): Sandbox {
  const [runName = '', directory = '', rootfs = ''] = text.split('\n')
  if (rootfs === '') throw new Error(`${MARKER} is not for setting by hand`)
  return { runName, directory, rootfs }
}

/** The outer half. Resolves with the exit status of the inner one, when nothing of it is left. */
async function runInside(sandbox: Sandbox): Promise<number> {
  const { runName, directory, rootfs } = sandbox
  const groups = hierarchies().map((top) => join(top, runName))
  const clearUp = startJanitor({ directory, groups })
  const again = [process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', ...NAMESPACES, ...again], {
    // A session of its own, so that Ctrl-C arrives once: through us.
    detached: true,
    stdio: 'inherit',
    env: { ...process.env, [MARKER]: [runName, directory, rootfs].join('\n') },
  })
  const forward = (name: NodeJS.Signals): void => {
    for (const inner of childrenOf(child.pid ?? 0)) signal(inner, name)
    // unshare's death kills whatever is inside.
    setTimeout(() => child.kill('SIGKILL'), GRACE_MS).unref()
  }
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, forward)
  const code = await new Promise<number>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => resolve(status ?? 1))
  })
  await clearUp()
  return code
}
