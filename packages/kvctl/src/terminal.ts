type Input = NodeJS.ReadableStream & {
  readonly isTTY?: boolean
  readonly readableEnded?: boolean
  setRawMode?(mode: boolean): unknown
}
interface Screen {
  write(text: string): boolean
}

/** Everything a stream has, as UTF-8. */
export async function readAll(input: NodeJS.ReadableStream): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of input) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks).toString('utf8')
}

const CTRL_C = '\u0003'
const CTRL_D = '\u0004'
const BACKSPACES = new Set(['\u0008', '\u007f'])

/** Asks for one line that is not shown. From a pipe it takes one line and leaves the rest for later readers. */
export async function readHidden(prompt: string, input: Input, screen: Screen): Promise<string> {
  screen.write(prompt)
  const isTerminal = input.isTTY === true && input.setRawMode !== undefined
  if (isTerminal) input.setRawMode?.(true)
  input.setEncoding('utf8')
  try {
    return await readLine(input)
  } finally {
    if (isTerminal) input.setRawMode?.(false)
    screen.write('\n')
  }
}

function readLine(input: Input): Promise<string> {
  return new Promise((resolve, reject) => {
    let line = ''
    const done = (how: () => void): void => {
      input.off('data', onData)
      input.off('end', onEnd)
      input.off('error', onError)
      // At once: a stream that still flows would throw away what is put back.
      input.pause()
      how()
    }
    const onEnd = (): void => done(() => resolve(line))
    const onError = (error: Error): void => done(() => reject(error))
    const onData = (chunk: string | Buffer): void => {
      const text = String(chunk)
      let at = 0
      for (const char of text) {
        at += char.length
        if (char === CTRL_C) return done(() => reject(new Error('interrupted')))
        if (char === '\n' || char === '\r' || char === CTRL_D) {
          onEnd()
          const rest = text.slice(char === '\r' && text[at] === '\n' ? at + 1 : at)
          if (rest !== '') input.unshift(rest)
          return
        }
        line = BACKSPACES.has(char) ? line.slice(0, -1) : line + char
      }
    }
    // A stream says only once that it has ended.
    if (input.readableEnded === true) return resolve(line)
    input.on('data', onData)
    input.on('end', onEnd)
    input.on('error', onError)
    input.resume()
  })
}
