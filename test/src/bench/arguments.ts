/** A command line that makes no sense; the message says what and why. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** Runs a parser of the command line; whatever it refuses is wrong usage. */
export function refusing<T>(parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

/** The words of a list with commas. */
export function list(text: string): string[] {
  return text.split(',').filter((word) => word !== '')
}

/** A whole number from `min` to `max`. @throws UsageError that names the flag */
export function whole(flag: string, text: string, max: number, min = 1): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw new UsageError(`${flag}: ${text} is no whole number from ${min} to ${max}`)
  return value
}

/** The word, if it is one of those known. @throws UsageError that names the flag */
export function oneOf<T extends string>(flag: string, word: string, known: readonly T[]): T {
  const found = known.find((name) => name === word)
  if (found === undefined) throw new UsageError(`${flag}: ${word} is none of ${known.join(', ')}`)
  return found
}
