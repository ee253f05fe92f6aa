import { ConfigError } from '../../src/config-error.ts'
import { readInvocation, type Config } from '../../src/config.ts'

/** The configuration that flags and environment make. */
export function configOf(argv: readonly string[], env: Record<string, string> = {}): Config {
  const invocation = readInvocation(argv, env)
  if (invocation.type !== 'run') throw new Error(`${invocation.type}, not run`)
  return invocation.config
}

/** `STATUS message`, with a plus when the usage follows. */
export function refusalOf(argv: readonly string[], env: Record<string, string> = {}): string {
  try {
    readInvocation(argv, env)
    return 'accepted'
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    return `${error.exitCode}${error.showsUsage ? '+' : ''} ${error.message}`
  }
}
