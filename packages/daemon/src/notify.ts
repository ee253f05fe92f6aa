import { execFile } from 'node:child_process'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Tells systemd about this service (sd_notify). Node has no datagram socket for AF_UNIX, so
 * `systemd-notify` carries the message; units therefore say NotifyAccess=all.
 * Without NOTIFY_SOCKET nothing happens. Resolves to an error's text instead of throwing.
 */
export async function notify(
  env: Environment,
  states: readonly string[],
): Promise<string | undefined> {
  if ((env['NOTIFY_SOCKET'] ?? '') === '') return undefined
  return await new Promise((resolve) => {
    execFile('systemd-notify', [...states], { timeout: 5_000, env: { ...env } }, (error) => {
      resolve(error === null ? undefined : `systemd-notify: ${error.message}`)
    })
  })
}

/** setInterval's longest; it takes a longer one for 1 ms. */
const INTERVAL_MS_MAX = 2_147_483_647

/** Milliseconds between watchdog pings (half of what systemd asks for), or undefined. */
export function watchdogIntervalMs(env: Environment, pid: number): number | undefined {
  const usec = Number(env['WATCHDOG_USEC'] ?? '')
  const forPid = env['WATCHDOG_PID'] ?? ''
  if (!Number.isFinite(usec) || usec <= 0) return undefined
  if (forPid !== '' && forPid !== String(pid)) return undefined
  return Math.min(INTERVAL_MS_MAX, Math.max(1, Math.floor(usec / 2_000)))
}

/** Pings systemd's watchdog until the signal aborts; does nothing when none was asked for. */
export function keepWatchdog(env: Environment, pid: number, signal: AbortSignal): void {
  const everyMs = watchdogIntervalMs(env, pid)
  if (everyMs === undefined || signal.aborted) return
  const timer = setInterval(() => void notify(env, ['WATCHDOG=1']), everyMs)
  signal.addEventListener('abort', () => clearInterval(timer), { once: true })
}
