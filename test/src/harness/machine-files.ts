import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { member, textOf } from './json.ts'
import { ROOT } from './paths.ts'
import { HOST_ADDRESS, addressOf } from './network.ts'

/** Units that a test machine has no use for; without these masks a boot takes 8 s instead of 1 s. */
const MASKED = [
  'systemd-resolved.service',
  'getty.target',
  'console-getty.service',
  'apt-daily.timer',
  'apt-daily-upgrade.timer',
  'fstrim.timer',
  'e2scrub_all.timer',
  'e2scrub_reap.service',
  'dpkg-db-backup.timer',
  'systemd-timesyncd.service',
  'ssh.service',
  'ssh.socket',
]

const UNIT_TYPES = new Set(['.service', '.socket', '.timer', '.path', '.target'])
const UNITS = 'etc/systemd/system'
/** Where the workspace is bound inside a machine. */
const WORKSPACE = '/usr/local/lib/flotilla'

/** A host path shown inside a machine, read-only. */
export interface Bind {
  readonly from: string
  readonly to: string
}

/** Who a machine is, before its first boot. */
export interface Identity {
  readonly name: string
  readonly number: number
  /** 32 hex digits: fleet's machine identity. */
  readonly machineID: string
}

/** Writes a file below the machine's root, folders included. */
export function writeBelow(root: string, path: string, text: string, mode = 0o644): void {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, text)
  chmodSync(file, mode)
}

function linkBelow(root: string, path: string, target: string): void {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  rmSync(file, { force: true })
  symlinkSync(target, file)
}

/** Name, identity, address and masks. `names` are all machines of the cluster, in order of their numbers. */
export function writeIdentity(root: string, identity: Identity, names: readonly string[]): void {
  writeBelow(root, 'etc/hostname', `${identity.name}\n`)
  writeBelow(root, 'etc/machine-id', `${identity.machineID}\n`)
  const hosts = names.map((name, index) => `${addressOf(index + 1)} ${name}\n`)
  writeBelow(root, 'etc/hosts', `127.0.0.1 localhost\n${hosts.join('')}`)
  const network = [
    '[Match]\nName=host0\n\n[Network]',
    `Address=${addressOf(identity.number)}/24`,
    `Gateway=${HOST_ADDRESS}`,
    'LinkLocalAddressing=no\nIPv6AcceptRA=no\n',
  ]
  writeBelow(root, 'etc/systemd/network/10-host0.network', network.join('\n'))
  const networkd = 'systemd-networkd.service'
  linkBelow(root, `${UNITS}/multi-user.target.wants/${networkd}`, `/lib/systemd/system/${networkd}`)
  for (const unit of MASKED) linkBelow(root, `${UNITS}/${unit}`, '/dev/null')
}

/** What every machine in workspace mode sees of the host: this repository and the running node. */
export function workspaceBinds(): Bind[] {
  return [
    { from: process.execPath, to: '/usr/local/bin/node' },
    { from: ROOT, to: WORKSPACE },
  ]
}

/**
 * Installs one of our programs: its commands in /usr/local/bin under every name its package gives them,
 * and the unit files that the package ships. `environment` goes into a drop-in of its service.
 */
export function writeProgram(
  root: string,
  name: string,
  environment: Readonly<Record<string, string>> = {},
): void {
  for (const [command, file] of Object.entries(binOf(name)))
    linkBelow(root, `usr/local/bin/${command}`, join(WORKSPACE, 'packages', name, file))
  const units = join(ROOT, 'packages', name, 'systemd')
  for (const file of existsSync(units) ? readdirSync(units) : []) {
    const place = UNIT_TYPES.has(extname(file)) ? UNITS : `usr/lib/sysusers.d`
    mkdirSync(join(root, place), { recursive: true })
    copyFileSync(join(units, file), join(root, place, file))
  }
  const lines = Object.entries(environment).map(
    ([key, value]) => `Environment=${quote(`${key}=${value}`)}\n`,
  )
  if (lines.length > 0)
    writeBelow(root, `${UNITS}/${name}.service.d/10-test.conf`, `[Service]\n${lines.join('')}`)
}

/** The commands of a package, by name: the `bin` of its manifest. */
function binOf(name: string): Record<string, string> {
  const manifest: unknown = JSON.parse(
    readFileSync(join(ROOT, 'packages', name, 'package.json'), 'utf8'),
  )
  const bin = member(manifest, 'bin') ?? {}
  return Object.fromEntries(Object.entries(bin).map(([key, file]) => [key, textOf(file)]))
}

/** systemd.syntax(7): quotes and backslashes are escaped, a percent sign begins a specifier. */
function quote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('%', '%%')}"`
}
