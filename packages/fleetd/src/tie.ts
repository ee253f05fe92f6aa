import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'

/** Every process of a tied unit carries it in its environment. */
const TIE_VARIABLE = 'FLOTILLA_TIE'

/**
 * Waits until its standard input ends, which the kernel sees to when fleetd dies in whatever way, and kills every
 * process that carries the mark; twice, because a process may fork while the list is read.
 */
const WATCHDOG = `
read -r _
for round in 1 2; do
  for process in /proc/[0-9]*; do
    if tr '\\0' '\\n' < "$process/environ" 2>/dev/null | grep -qx "$1"; then
      kill -KILL "\${process#/proc/}" 2>/dev/null
    fi
  done
done
`

/**
 * Ties units to this process: starts a watchdog and gives the environment that units have to get. `kill -9` of this
 * process then ends them, as the death of a machine would.
 */
export function tieUnits(): Readonly<Record<string, string>> {
  const mark = randomBytes(16).toString('hex')
  const watchdog = spawn('/bin/sh', ['-c', WATCHDOG, 'fleetd-tie', `${TIE_VARIABLE}=${mark}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
    // A session of its own: a Ctrl-C in the terminal is not meant for it.
    detached: true,
  })
  watchdog.unref()
  return { [TIE_VARIABLE]: mark }
}
