import { accessSync, constants, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { must } from './process.ts'

/** Commands the machines need on the host, and the Debian package that brings each. */
const TOOLS = {
  'systemd-nspawn': 'systemd-container',
  mmdebstrap: 'mmdebstrap',
  nft: 'nftables',
  ip: 'iproute2',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  flock: 'util-linux',
  'dbus-daemon': 'dbus',
} as const

/** The originals that tests compare with. */
const ORIGINALS = { etcd: 'etcd-server', etcdctl: 'etcd-client' } as const

const APT_MS = 600_000

/** Where the root file system is kept between runs; only what `flock` guards is written there. */
export function cacheDirectory(): string {
  const base = process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache')
  const directory = join(base, 'flotilla')
  mkdirSync(directory, { recursive: true })
  return directory
}

/** Where a command lies on the PATH (and in /usr/sbin, which users' PATHs lack), or undefined. */
export function which(command: string): string | undefined {
  const places = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin']
  return places.map((place) => join(place, command)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false // absent or not ours to run: the search goes on
  }
}

/** True for the superuser, who alone may make namespaces, bridges and cgroups. */
export function isRoot(): boolean {
  return process.getuid?.() === 0
}

/** Commands of the machines' tool list that this host lacks. */
export function missingTools(): string[] {
  return Object.keys(TOOLS).filter((command) => which(command) === undefined)
}

/** Installs the Debian packages of missing tools, where that is possible: as root, with apt-get. */
export async function installTools(): Promise<void> {
  await installMissing(TOOLS)
}

/** The same for Debian's etcd and etcdctl, which conformance tests run beside ours. */
export async function installOriginals(): Promise<void> {
  await installMissing(ORIGINALS)
}

/** A prepared host spends nothing here; an unprepared one installs once, however many tests ask at once. */
async function installMissing(wanted: Readonly<Record<string, string>>): Promise<void> {
  const missing = () =>
    Object.entries(wanted).flatMap(([command, name]) =>
      which(command) === undefined ? [name] : [],
    )
  if (missing().length === 0 || !isRoot() || which('apt-get') === undefined) return
  const packages = [...new Set(missing())].join(' ')
  // A service that a package brings must not start on the host (etcd-server would take port 2379).
  const script = [
    'set -e',
    `dpkg -s ${packages} >/dev/null 2>&1 && exit 0`,
    'policy=/usr/sbin/policy-rc.d',
    `[ -e $policy ] || { printf '#!/bin/sh\\nexit 101\\n' >$policy; chmod 755 $policy; trap 'rm -f '$policy EXIT; }`,
    'apt-get -qq update',
    `apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends ${packages}`,
  ].join('\n')
  await must(['flock', join(cacheDirectory(), 'apt.lock'), 'sh', '-c', script], {
    timeoutMs: APT_MS,
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
}
