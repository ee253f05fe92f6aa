type Environment = Record<string, string | undefined>

/** A socket that systemd opened for this process. */
export interface ListenFd {
  readonly fd: number
  /** FileDescriptorName= of the socket unit, or `unknown`. */
  readonly name: string
}

const FIRST_FD = 3

/**
 * Sockets passed by socket activation (sd_listen_fds), none when they were meant for another
 * process. Takes the three variables out of `env`, so that children do not inherit the claim.
 */
export function takeListenFds(env: Environment, pid: number): readonly ListenFd[] {
  const count = /^\d{1,5}$/.test(env['LISTEN_FDS'] ?? '') ? Number(env['LISTEN_FDS']) : 0
  const isOurs = env['LISTEN_PID'] === String(pid)
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':')
  for (const variable of ['LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES']) delete env[variable]
  if (!isOurs) return []
  return Array.from({ length: count }, (_, offset) => {
    const name = names[offset] ?? ''
    return { fd: FIRST_FD + offset, name: name === '' ? 'unknown' : name }
  })
}
