import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { cacheDirectory } from './host.ts'
import { must, readOrEmpty } from './process.ts'

const PACKAGES = [
  'systemd',
  'systemd-sysv',
  'dbus',
  'iproute2',
  'libstdc++6', // for the node binary that is bound in
  'ca-certificates',
  'curl',
  'iptables',
]
const LEFT_OUT = ['doc', 'man', 'locale', 'info']
const BUILD_MS = 900_000

/**
 * The read-only root file system of every machine: a small Debian, made by mmdebstrap once per recipe.
 * Safe to ask for from several processes at once; a build that broke off is never used.
 */
export async function rootFileSystem(): Promise<string> {
  const recipe = mmdebstrapArguments(suite())
  const hash = createHash('sha256').update(recipe.join('\0')).digest('hex').slice(0, 12)
  const directory = join(cacheDirectory(), `rootfs-${hash}`)
  if (existsSync(directory)) return directory
  const script =
    '[ -d "$1" ] && exit 0; d=$1; shift; rm -rf "$d.tmp"; "$@" "$d.tmp" && mv "$d.tmp" "$d"'
  const command = ['sh', '-c', script, 'build', directory, 'mmdebstrap', ...recipe]
  await must(['flock', `${directory}.lock`, ...command], { timeoutMs: BUILD_MS })
  return directory
}

function mmdebstrapArguments(name: string): string[] {
  return [
    '--quiet',
    '--variant=minbase',
    `--include=${PACKAGES.join(',')}`,
    ...LEFT_OUT.map((part) => `--dpkgopt=path-exclude=/usr/share/${part}/*`),
    '--aptopt=Acquire::Languages "none"',
    name,
  ]
}

/** The host's own Debian release: addons compiled on the host must find the same C library inside. */
function suite(): string {
  const release = readOrEmpty('/etc/os-release')
  const isDebian = /^ID=debian$/m.test(release)
  const name = /^VERSION_CODENAME=(\w+)$/m.exec(release)?.[1]
  return isDebian && name !== undefined ? name : 'bookworm'
}
