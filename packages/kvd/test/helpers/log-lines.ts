import { createLogger, type Logger } from '@flotilla/daemon'

/** A logger that keeps its lines, in the journal's form. */
export class LogLines {
  readonly lines: string[] = []
  readonly logger: Logger
  readonly #changed = new EventTarget()

  constructor() {
    const write = (line: string): void => {
      this.lines.push(line.trimEnd())
      this.#changed.dispatchEvent(new Event('line'))
    }
    this.logger = createLogger({ sink: { write, writableLength: 0 }, journal: true })
  }

  /** Waits for a line; tap's timeout ends a wait in vain. */
  async said(wanted: RegExp): Promise<string> {
    for (;;) {
      const found = this.lines.find((line) => wanted.test(line))
      if (found !== undefined) return found
      await new Promise((resolve) =>
        this.#changed.addEventListener('line', resolve, { once: true }),
      )
    }
  }
}
