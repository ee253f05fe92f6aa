import { execFile } from 'node:child_process'
import { constants, openSync, readSync } from 'node:fs'
import { mkdir, rm, stat } from 'node:fs/promises'
import { Socket } from 'node:net'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import type { Role } from '../service/machine-state.ts'

/** One line that a process wrote, and the priority its `<N>` prefix asked for (6 without one). */
export interface OutputLine {
  readonly priority: number
  readonly message: string
}

/** Longer lines are cut in pieces (journald's LineMax). */
const LINE_BYTES_MAX = 48 * 1024
/** What a pipe holds. */
const READ_BYTES = 64 * 1024
const DRAIN_READS_MAX = 16

/** Makes the named pipe unless it is there. */
export async function makeFifo(path: string): Promise<void> {
  const isThere = await stat(path).then(
    (info) => info.isFIFO(),
    () => false,
  )
  if (isThere) return
  await rm(path, { force: true })
  await mkdir(dirname(path), { recursive: true })
  await promisify(execFile)('mkfifo', ['-m', '600', path])
}

/** Cuts bytes into lines of limited length. */
export class LineSplitter {
  #rest: Buffer = Buffer.alloc(0)

  push(bytes: Buffer): Buffer[] {
    const lines: Buffer[] = []
    let data = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    for (;;) {
      const end = data.indexOf(0x0a)
      const length = end === -1 ? data.length : end
      if (length >= LINE_BYTES_MAX) {
        lines.push(data.subarray(0, LINE_BYTES_MAX))
        data = data.subarray(LINE_BYTES_MAX)
      } else if (end === -1) {
        this.#rest = Buffer.from(data)
        return lines
      } else {
        lines.push(data.subarray(0, end))
        data = data.subarray(end + 1)
      }
    }
  }

  /** What was not ended by a newline. */
  flush(): Buffer[] {
    const rest = this.#rest
    this.#rest = Buffer.alloc(0)
    return rest.length === 0 ? [] : [rest]
  }
}

/** Reads a line as journald does: the `<N>` prefix is taken off, and a line without text is none. */
export function parseOutput(bytes: Buffer): OutputLine | undefined {
  const text = bytes.toString('utf8').replace(/[ \t\r\0]+$/, '')
  const prefix = /^<([0-7])>/.exec(text)
  const message = prefix === null ? text : text.slice(3)
  if (message === '') return undefined
  return { priority: prefix === null ? 6 : Number(prefix[1]), message }
}

/**
 * The reading end of a named pipe that processes have as stdout and stderr. Both sides open it for reading and writing:
 * so a process neither gets SIGPIPE nor loses lines while no manager reads, it only waits when the pipe is full, and a
 * new manager goes on where the last one stopped.
 */
export class OutputPipe {
  readonly #path: string
  readonly #onLine: (line: Buffer) => void
  readonly #splitter = new LineSplitter()
  readonly #fd: number
  readonly #socket: Socket

  constructor(path: string, onLine: (line: Buffer) => void) {
    this.#path = path
    this.#onLine = onLine
    this.#fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK)
    this.#socket = new Socket({ fd: this.#fd, readable: true, writable: false })
    this.#socket.on('data', (bytes: Buffer) => this.#take(bytes))
    // Reading a pipe that we hold open ourselves cannot fail but by a bug; the process then ends.
  }

  /** A descriptor for a child's stdout; the caller closes it. */
  openWriter(): number {
    return openSync(this.#path, constants.O_RDWR)
  }

  /** Takes what is in the pipe now, so that a process's last lines come before the news of its end. */
  drain(): void {
    const buffer = Buffer.alloc(READ_BYTES)
    // Bounded, because a process that is left may write without end.
    for (let turn = 0; turn < DRAIN_READS_MAX; turn += 1) {
      const length = readNow(this.#fd, buffer)
      if (length === 0) break
      this.#take(buffer.subarray(0, length))
    }
    for (const line of this.#splitter.flush()) this.#onLine(line)
  }

  close(): void {
    this.#socket.destroy()
  }

  #take(bytes: Buffer): void {
    for (const line of this.#splitter.push(bytes)) this.#onLine(line)
  }
}

/** Bytes read, 0 when the pipe is empty. */
function readNow(fd: number, buffer: Buffer): number {
  try {
    return readSync(fd, buffer, 0, buffer.length, null)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EAGAIN') return 0
    throw error
  }
}

/** Which process the lines of a pipe are taken to be from. */
export interface OutputSource {
  readonly pid: number
  readonly identifier: string
}

/** The two pipes of a unit: its main process has one, and its control processes, which run one at a time, the other. */
export class UnitOutput {
  readonly #path: string
  readonly #onLine: (line: Buffer, source: OutputSource) => void
  readonly #pipes = new Map<Role, OutputPipe>()
  readonly #sources = new Map<Role, OutputSource>()
  #preparing: Promise<void> | undefined

  constructor(path: string, onLine: (line: Buffer, source: OutputSource) => void) {
    this.#path = path
    this.#onLine = onLine
  }

  /** Makes the pipes. Who asks while they are made waits for the same ones. */
  async prepare(): Promise<void> {
    this.#preparing ??= this.#make().finally(() => {
      this.#preparing = undefined
    })
    await this.#preparing
  }

  async #make(): Promise<void> {
    await makeFifo(this.#pathOf('main'))
    await makeFifo(this.#pathOf('control'))
  }

  /** Takes lines from the pipe of `role`, as from `source`, until close(). */
  open(role: Role, source: OutputSource): OutputPipe {
    this.#sources.set(role, source)
    const existing = this.#pipes.get(role)
    if (existing !== undefined) return existing
    const pipe = new OutputPipe(this.#pathOf(role), (line) => {
      this.#onLine(line, this.#sources.get(role) ?? source)
    })
    this.#pipes.set(role, pipe)
    return pipe
  }

  drain(role: Role): void {
    this.#pipes.get(role)?.drain()
  }

  close(): void {
    for (const pipe of this.#pipes.values()) pipe.close()
    this.#pipes.clear()
  }

  async remove(): Promise<void> {
    this.close()
    // Pipes that are being made would come after their removal.
    await Promise.allSettled([this.#preparing])
    await rm(this.#pathOf('main'), { force: true })
    await rm(this.#pathOf('control'), { force: true })
  }

  #pathOf(role: Role): string {
    return `${this.#path}.${role}`
  }
}
