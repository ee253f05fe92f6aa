import type { Options } from './args/options.ts'

/** What a command line needs of the process it runs in. */
export interface Io {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  /** All of stdin. */
  readonly readStdin: () => Promise<string>
  /** One line, not shown while it is typed. */
  readonly readPassword: (prompt: string) => Promise<string>
  /** Aborted by SIGINT, once somebody has asked for it; until then SIGINT ends the process. */
  readonly onInterrupt: () => AbortSignal
}

/** What a command gets. */
export interface Context {
  readonly io: Io
  /** Options before the command. */
  readonly global: Options
  /** Options of the command. */
  readonly options: Options
  /** The other words of the command. */
  readonly args: readonly string[]
}

/** Carries a command out; the number is the exit code. */
export type Run = (context: Context) => Promise<number>

/** etcd 2.3 etcdctl/command/error.go. */
export const EXIT = {
  success: 0,
  badArgs: 1,
  badConnection: 2,
  serverError: 4,
  unhealthy: 5,
} as const

/** Ends the command: the text goes to stderr as it is. */
export class ExitError extends Error {
  override readonly name = 'ExitError'
  readonly exitCode: number

  constructor(exitCode: number, stderr: string) {
    super(stderr)
    this.exitCode = exitCode
  }
}
