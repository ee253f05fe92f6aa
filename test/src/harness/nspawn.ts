import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { waitFor } from './deadline.ts'
import { enterCommand } from './enter.ts'
import type { Bind } from './machine-files.ts'
import { bridgeName } from './network.ts'
import { childrenOf, readOrEmpty, run, signal } from './process.ts'

/** What systemd-nspawn is told about a machine. */
export interface NspawnOptions {
  readonly name: string
  readonly root: string
  /** The machine's own cgroups, which exist. */
  readonly groups: readonly string[]
  readonly binds: readonly Bind[]
  /** Gets what the machine prints on its console. */
  readonly logFile: string
}

/** A booted machine. */
export interface Running {
  readonly nspawn: ChildProcess
  /** systemd-nspawn's exit status: 0 after a shutdown, 133 when the machine asked for a reboot. */
  readonly exited: Promise<number>
  /** The systemd inside, as this pid namespace numbers it. */
  readonly leader: number
}

const BOOT_MS = 60_000
/** Enters the cgroups given up to "--", then becomes the command behind it. */
const IN_GROUPS =
  'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 125; shift; done; shift; exec "$@"'

/** Boots a machine and waits until its systemd has nothing left to start. */
export async function boot(options: NspawnOptions): Promise<Running> {
  const log = openSync(options.logFile, 'a')
  const command = [...options.groups, '--', 'systemd-nspawn', ...flags(options)]
  const nspawn = spawn('sh', ['-c', IN_GROUPS, 'sh', ...command], {
    detached: true,
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  const exited = new Promise<number>((resolve, reject) => {
    nspawn.on('error', reject)
    nspawn.on('exit', (code, name) => resolve(code ?? (name === 'SIGKILL' ? 137 : 143)))
  })
  try {
    return { nspawn, exited, leader: await untilReady(nspawn, options) }
  } catch (error) {
    // Never systemd-nspawn itself: the machine would live on as an orphan.
    for (const leader of childrenOf(nspawn.pid ?? 0)) signal(leader, 'SIGKILL')
    throw error
  }
}

function flags({ name, root, binds }: NspawnOptions): string[] {
  return [
    '--quiet',
    `--directory=${root}`,
    '--boot',
    `--machine=${name}`,
    `--network-bridge=${bridgeName()}`,
    '--register=no',
    '--keep-unit',
    '--console=pipe',
    '--kill-signal=SIGRTMIN+3',
    '--link-journal=no',
    '--resolv-conf=off',
    '--timezone=off',
    ...binds.map(({ from, to }) => `--bind-ro=${from}:${to}`),
  ]
}

async function untilReady(nspawn: ChildProcess, options: NspawnOptions): Promise<number> {
  const look = async () => {
    const [leader] = childrenOf(nspawn.pid ?? 0)
    if (leader === undefined) return { seen: 'no process in it yet' }
    const ask = [...enterCommand(leader), 'systemctl', 'is-system-running']
    const { stdout, stderr } = await run(ask, { timeoutMs: 5000 })
    const state = stdout.trim()
    if (state === 'running' || state === 'degraded') return { done: leader }
    return { seen: `${state} ${stderr}`.trim() }
  }
  const ended = new Promise<never>((_, reject) => {
    nspawn.on('exit', (code) =>
      reject(new Error(`systemd-nspawn ended with ${code}:\n${readOrEmpty(options.logFile)}`)),
    )
  })
  const ready = waitFor(`${options.name} to boot`, look, { timeoutMs: BOOT_MS })
  return Promise.race([ready, ended])
}
