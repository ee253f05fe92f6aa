/** The configuration is wrong: `message` for stderr, `exitCode` as the original's. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError'
  readonly code = 'CONFIG'
  readonly exitCode: 1 | 2
  /** The usage follows the message. */
  readonly showsUsage: boolean

  constructor(exitCode: 1 | 2, message: string, showsUsage = false) {
    super(message)
    this.exitCode = exitCode
    this.showsUsage = showsUsage
  }
}

/** The usage follows, as with any flag that cannot be read. */
export function badValue(name: string, value: string, problem: string): ConfigError {
  return new ConfigError(
    2,
    `invalid value ${JSON.stringify(value)} for flag -${name}: ${problem}`,
    true,
  )
}
