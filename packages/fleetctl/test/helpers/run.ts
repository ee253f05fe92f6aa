import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const BIN = fileURLToPath(new URL('../../../bin/fleetctl.js', import.meta.url))

/** What a command printed and how it ended. */
export interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Surroundings of a command. */
export interface RunOptions {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: string
  /** Leaves stdin open after the text. */
  readonly keepsStdin?: boolean
  /** Nobody reads what the command prints. */
  readonly isUnread?: boolean
}

/** Runs fleetctl in a directory. */
export async function fleetctl(args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const { cwd = '/', env = {}, stdin = '', keepsStdin = false, isUnread = false } = options
  const child = spawn(process.execPath, [BIN, ...args], {
    cwd,
    env: { PATH: process.env['PATH'], TZ: 'UTC', ...env },
  })
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  if (isUnread) child.stdout.destroy()
  if (keepsStdin) child.stdin.write(stdin)
  else child.stdin.end(stdin)
  const [code]: (number | null)[] = await once(child, 'close')
  return { code: code ?? null, stdout, stderr }
}
