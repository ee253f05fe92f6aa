import { spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { hierarchies } from './cgroup.ts'
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
  const janitor = startJanitor(sandbox)
  const { runName, directory, rootfs } = sandbox
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
  await janitor()
  return code
}

/**
 * Removes what outlives a sandbox, empty groups and an empty directory, also when this process is
 * killed and can do nothing itself: the janitor's standard input ends then.
 */
function startJanitor(sandbox: Sandbox): () => Promise<void> {
  const script = [
    'cat >/dev/null',
    'rm -rf "$1"; shift',
    'i=0; while [ $i -lt 300 ]; do i=$((i+1)); left=',
    'for g; do [ -d "$g" ] || continue; find "$g" -depth -type d -exec rmdir {} + 2>/dev/null; [ -d "$g" ] && left=1; done',
    '[ "$left" ] || exit 0; sleep 0.1; done; exit 1',
  ].join('\n')
  const groups = hierarchies().map((top) => join(top, sandbox.runName))
  const janitor = spawn('sh', ['-c', script, 'janitor', sandbox.directory, ...groups], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  const ended = new Promise<void>((resolve, reject) => {
    janitor.on('error', reject)
    janitor.on('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`cgroups of ${sandbox.runName} did not empty`)),
    )
  })
  return () => {
    janitor.stdin.end()
    return ended
  }
}
