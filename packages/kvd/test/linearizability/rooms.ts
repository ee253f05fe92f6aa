import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import { TrialError } from './trial-error.ts'

// A room is what one member sees of the world: a network and a small disk of its own. All rooms hang
// on one bridge, where the clients sit too.
//
//     clients (10.99.0.254) ── br-lin ─┬─ room 1: eth0 10.99.0.1, tmpfs
//                                      ├─ room 2: eth0 10.99.0.2, tmpfs
//                                      └─ …

const BRIDGE = 'br-lin'
const CLIENTS_ADDRESS = '10.99.0.254'
/**
 * Where the disk of a room is mounted, in it, and a second one that never fills, for what the harness
 * has to tell those inside. Every system has these directories.
 */
const DISK = '/mnt'
const DESK = '/media'
const ROOMS_MAX = 9

/** Why rooms cannot be made here, or false. */
export function roomsSkip(): string | false {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  const script = `ip link add ${BRIDGE} type bridge && ip link add v1 type veth peer name v2`
  const tried = spawnSync('unshare', ['--net', '--mount', 'sh', '-c', script])
  return tried.status === 0 ? false : 'unshare and ip cannot make bridges here'
}

/** Runs a command to its end. @throws Error with what it said when it fails */
async function must(...argv: readonly string[]): Promise<void> {
  const [command = '', ...args] = argv
  await promisify(execFile)(command, args)
}

/** Makes the bridge. The caller must be in a network namespace that nobody else uses. */
export async function openBridge(): Promise<void> {
  await must('ip', 'link', 'set', 'lo', 'up')
  await must('ip', 'link', 'add', BRIDGE, 'type', 'bridge')
  await must('ip', 'address', 'add', `${CLIENTS_ADDRESS}/24`, 'dev', BRIDGE)
  await must('ip', 'link', 'set', BRIDGE, 'up')
}

export class Room {
  readonly address: string
  /** The directory of the room's disk, as those inside see it. */
  readonly disk = DISK
  readonly desk = DESK
  readonly #holder: ChildProcess

  private constructor(address: string, holder: ChildProcess) {
    this.address = address
    this.#holder = holder
  }

  /** Makes the room with this number, from 1; its disk has so many MiB. */
  static async open(number: number, diskMib: number): Promise<Room> {
    if (number < 1 || number > ROOMS_MAX) throw new RangeError(`room ${number}`)
    // `cat` waits on its standard input, so that the room ends with whoever made it.
    const disks = [`size=${diskMib}m tmpfs ${DISK}`, `size=1m tmpfs ${DESK}`]
    const mounts = disks.map((disk) => `mount -t tmpfs -o ${disk}`).join(' && ')
    const script = `${mounts} && echo ready && exec cat`
    const args = ['--net', '--mount', '--propagation', 'private', 'sh', '-c', script]
    const holder = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'inherit'] })
    const [said] = await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')])
    if (String(said) !== 'ready\n') throw new TrialError('NO_ROOM', `no room: ${String(said)}`)
    const room = new Room(`10.99.0.${number}`, holder)
    await room.#connect(number)
    return room
  }

  async #connect(number: number): Promise<void> {
    const outside = `lin${number}`
    const pid = String(this.#holder.pid)
    await must('ip', 'link', 'add', outside, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', pid)
    await must('ip', 'link', 'set', outside, 'master', BRIDGE, 'up')
    await this.run('ip', 'link', 'set', 'lo', 'up')
    await this.run('ip', 'address', 'add', `${this.address}/24`, 'dev', 'eth0')
    await this.run('ip', 'link', 'set', 'eth0', 'up')
  }

  /** Words in front of a command that is to run inside; the last of them execs the rest. */
  get wrapper(): readonly string[] {
    const namespaces = `/proc/${this.#holder.pid}/ns`
    return ['nsenter', `--net=${namespaces}/net`, `--mount=${namespaces}/mnt`, '--']
  }

  /** Runs a command inside. @throws Error when it fails */
  async run(...argv: readonly string[]): Promise<void> {
    await must(...this.wrapper, ...argv)
  }

  /** Nothing leaves for `other` any more; what `other` sends still comes. */
  async block(other: Room): Promise<void> {
    await this.run('ip', 'route', 'replace', 'blackhole', `${other.address}/32`)
  }

  /** Takes all blocks away. */
  async unblock(): Promise<void> {
    await this.run('ip', 'route', 'flush', 'type', 'blackhole')
  }

  /** Writes zeros until there is no room for more. */
  async fillDisk(): Promise<void> {
    await this.run('sh', '-c', `cat /dev/zero > ${DISK}/filler 2>/dev/null || true`)
  }

  async emptyDisk(): Promise<void> {
    await this.run('rm', '-f', `${DISK}/filler`)
  }

  /** Writes a file inside that others may be reading: they see the old text or the new one. */
  async writeFile(path: string, text: string): Promise<void> {
    await this.run('sh', '-c', 'printf %s "$2" > "$1.new" && mv "$1.new" "$1"', 'sh', path, text)
  }

  close(): void {
    this.#holder.kill('SIGKILL')
  }
}
