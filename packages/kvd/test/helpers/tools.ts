import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A program that a test needs, with arguments that make it prove that it works, and its Debian package. */
interface Tool {
  readonly probe: readonly [command: string, ...args: string[]]
  readonly debian: string
}

/** Follows system calls. */
export const STRACE: Tool = { probe: ['strace', '-f', 'true'], debian: 'strace' }
/** Compiles C; the headers of the C library come along. */
export const GCC: Tool = { probe: ['gcc', '--version'], debian: 'gcc libc6-dev' }

/** Why a tool cannot be used, or false. It is installed where it is missing and may be: as root, with apt. */
export async function toolSkip({
  probe: [command, ...args],
  debian,
}: Tool): Promise<string | false> {
  const works = async (): Promise<boolean> => await succeeds(command, args)
  if (await works()) return false
  if (process.getuid?.() === 0 && (await installPackages(debian)) && (await works())) return false
  return `${command} is missing or may not run: as root, apt-get install ${debian}`
}

async function installPackages(debian: string): Promise<boolean> {
  const options = ['-qq', '-o', 'DPkg::Lock::Timeout=120']
  const install = ['install', '-y', '--no-install-recommends', ...debian.split(' ')]
  return (
    (await succeeds('apt-get', [...options, 'update'])) &&
    (await succeeds('apt-get', [...options, ...install]))
  )
}

async function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  return await run(command, [...args], { env }).then(
    () => true,
    () => false,
  )
}
