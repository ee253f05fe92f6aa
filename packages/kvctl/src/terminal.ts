type Input = NodeJS.ReadableStream & {
  readonly isTTY?: boolean
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

/** Asks for one line that is not shown. From a pipe it takes the first line. */
export async function readHidden(prompt: string, input: Input, screen: Screen): Promise<string> {
  screen.write(prompt)
  const isTerminal = input.isTTY === true && input.setRawMode !== undefined
  if (isTerminal) input.setRawMode?.(true)
  input.setEncoding('utf8')
  try {
    return await readLine(input)
  } finally {
    if (isTerminal) input.setRawMode?.(false)
    input.pause()
    screen.write('\n')
  }
}

function readLine(input: Input): Promise<string> {
  return new Promise((resolve, reject) => {
    let line = ''
    const done = (how: () => void): void => {
      input.off('data', onData)
      input.off('end', onEnd)
      how()
    }
    const onEnd = (): void => done(() => resolve(line))
    const onData = (chunk: string | Buffer): void => {
      for (const char of String(chunk)) {
        if (char === CTRL_C) return done(() => reject(new Error('interrupted')))
        if (char === '\n' || char === '\r' || char === CTRL_D) return onEnd()
        line = BACKSPACES.has(char) ? line.slice(0, -1) : line + char
      }
    }
    input.on('data', onData)
    input.on('end', onEnd)
    input.resume()
  })
}
