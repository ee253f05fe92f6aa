import process from 'node:process'
import type { Io } from './context.ts'
import { runCommandLine } from './run.ts'
import { readAll, readHidden } from './terminal.ts'

/** Runs one command line; resolves to the exit code. */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  // A reader that has seen enough (`kvctl ls | head`) ends the command as it would end any other.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? 141 : 1)
  })
  return runCommandLine(argv, processIo(env))
}

function processIo(env: NodeJS.ProcessEnv): Io {
  let interrupt: AbortController | undefined
  return {
    env,
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    readStdin: () => readAll(process.stdin),
    readPassword: (prompt) => readHidden(prompt, process.stdin, process.stdout),
    onInterrupt() {
      if (interrupt === undefined) {
        const controller = new AbortController()
        interrupt = controller
        process.once('SIGINT', () => controller.abort())
      }
      return interrupt.signal
    },
  }
}
