import { relative } from 'node:path'
import { ROOT, program } from '../harness/paths.ts'
import { type RunOptions, run } from '../harness/process.ts'

/** Prints a line for the person at the terminal. */
export function say(line = ''): void {
  process.stdout.write(`${line}\n`)
}

/** Seconds since this program began, as people say them: "1.9 s". */
export function elapsed(): string {
  return `${(performance.now() / 1000).toFixed(1)} s`
}

/** The path of something in the workspace such that it works when pasted into the user's shell. */
export function pasteable(path: string): string {
  const short = relative(process.cwd(), path)
  return short === '' || short.startsWith('..') ? path : short
}

/** How a user calls one of our command lines: `node packages/kvctl/bin/kvctl.js`. */
export function commandOf(name: string): string {
  return `node ${pasteable(program(name))}`
}

/** Runs a command and shows it with all it prints, like a person would see it. Rejects when it fails. */
export async function show(
  shown: string,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<void> {
  const { code, stdout, stderr } = await run(argv, { cwd: ROOT, timeoutMs: 60_000, ...options })
  say(`$ ${shown}`)
  const text = `${stdout}${stderr}`.trimEnd()
  if (text !== '') say(text)
  if (code !== 0) throw new Error(`${shown}: exit status ${code}`)
}

/** npm passes on a signal that the terminal has given to us as well: what comes so soon is the same one. */
const SAME_MS = 500

/** Where signals come from, and the time; a test has its own. */
export interface Surroundings {
  readonly signals: Pick<NodeJS.EventEmitter, 'on'>
  readonly nowMs: () => number
}

/** What the first of SIGINT, SIGTERM and SIGHUP resolves, or a terminal that is gone; a later one calls `hurry`. */
export function interruption(
  hurry: () => void,
  { signals, nowMs }: Surroundings = { signals: process, nowMs: () => performance.now() },
): Promise<'interrupted'> {
  return new Promise((resolve) => {
    let firstMs: number | undefined
    const listen = (): void => {
      firstMs ??= nowMs()
      if (nowMs() - firstMs > SAME_MS) hurry()
      resolve('interrupted')
    }
    process.stdout.on('error', () => resolve('interrupted'))
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) signals.on(name, listen)
  })
}
