import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { JournalOptions, UnitStatus } from '../manager.ts'
import { UnitManagerError } from '../manager.ts'

/** A status text is bounded by -n 10; a runaway one is cut. */
const STATUS_BYTES_MAX = 1024 * 1024

function environment(): NodeJS.ProcessEnv {
  return { ...process.env, SYSTEMD_COLORS: '0', SYSTEMD_URLIFY: '0', SYSTEMD_PAGER: '' }
}

/** Runs `systemctl status -l NAME` and returns what it printed. */
export async function systemctlStatus(name: string, scope: readonly string[]): Promise<UnitStatus> {
  const args = [...scope, 'status', '-l', '--no-pager', '--', name]
  const child = spawn('systemctl', args, { env: environment(), stdio: ['ignore', 'pipe', 'pipe'] })
  const texts = { stdout: '', stderr: '' }
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      if (texts[stream].length < STATUS_BYTES_MAX) texts[stream] += text
    })
  }
  const exitCode = await new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 1))
  })
  return { text: `${texts.stdout}${texts.stderr}`, exitCode }
}

/** The lines that `journalctl` prints about a unit. The child ends with the iteration or the signal. */
export async function* journalctl(
  name: string,
  { lines, follow, output, signal }: JournalOptions,
  scope: readonly string[],
): AsyncGenerator<string> {
  if (signal?.aborted === true) return
  // Not --user: the user journal lacks what a user's systemd logs as a system user.
  const unit = scope.includes('--user') ? `--user-unit=${name}` : `--unit=${name}`
  const args = [unit, '--no-pager', '-n', String(lines), '--output', output]
  const child = spawn('journalctl', follow ? [...args, '-f'] : args, {
    env: environment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let problem = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (problem.length < STATUS_BYTES_MAX) problem += text
  })
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve(code ?? 0))
  })
  // Reported below, when the lines have been read.
  ended.catch(() => undefined)
  const stop = (): void => void child.kill()
  signal?.addEventListener('abort', stop)
  try {
    yield* createInterface({ input: child.stdout })
    if ((await ended) !== 0) throw new UnitManagerError('INVALID_ARGUMENT', problem.trim())
  } finally {
    signal?.removeEventListener('abort', stop)
    stop()
  }
}
