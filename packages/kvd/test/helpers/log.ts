import { createLogger, type Logger } from '@flotilla/daemon'

/** A logger whose lines a test can read: `<6>text`, without the line's end. */
export function openLog(): { readonly logger: Logger; readonly lines: readonly string[] } {
  const lines: string[] = []
  const sink = { write: (line: string) => lines.push(line.trimEnd()), writableLength: 0 }
  return { logger: createLogger({ sink, journal: true }), lines }
}
