import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

/** A mount namespace with a small file system of its own; nothing of it is seen outside. */
export interface Sandbox {
  /** Words in front of a command that is to run inside. */
  readonly wrapper: readonly string[]
  /** Mounts the file system again with other options, such as `ro` or `size=64m`. */
  remount(options: string): void
  /** Runs a shell command inside; gives its output. @throws Error when it fails */
  shell(command: string): string
  /** Ends the namespace, and the file system with it. */
  close(): Promise<void>
}

/** Why sandboxes cannot be made here, or false. */
export function sandboxSkip(): string | false {
  if (process.getuid?.() !== 0) return 'mount namespaces need root'
  const tried = spawnSync('unshare', ['--mount', 'true'])
  return tried.status === 0 ? false : 'unshare --mount does not work here'
}

/** Makes a namespace in which `dir` is a tmpfs with these mount options. */
export async function openSandbox(dir: string, options: string): Promise<Sandbox> {
  // `cat` waits on its standard input, so that it ends with the test even when that is killed.
  const script = 'mount -t tmpfs -o "$2" tmpfs "$1" && echo ready && exec cat'
  const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', dir, options]
  const holder = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const [said] = await Promise.race([once(holder.stdout, 'data'), once(holder, 'exit')])
  if (String(said) !== 'ready\n') throw new Error(`no sandbox: ${String(said)}`)
  const enter = [`--mount=/proc/${holder.pid}/ns/mnt`, '--']
  const shell = (command: string): string => {
    const result = spawnSync('nsenter', [...enter, 'sh', '-c', command], { encoding: 'utf8' })
    if (result.status !== 0) throw new Error(`${command}: ${result.stderr}`)
    return result.stdout
  }
  return {
    wrapper: ['nsenter', ...enter],
    shell,
    remount: (changed) => void shell(`mount -o 'remount,${changed}' '${dir}'`),
    close: async () => {
      holder.stdin.end()
      if (holder.exitCode === null && holder.signalCode === null) await once(holder, 'exit')
    },
  }
}
