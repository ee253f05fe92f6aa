import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import { request, type RequestOptions } from 'node:https'
import type { Test } from 'tap'
import { kvdPath } from './store-process.ts'

/** A kvd known by what it logs; gone with the test. */
export class Daemon {
  readonly child: ChildProcess
  #text = ''

  constructor(tt: Test, argv: readonly string[]) {
    const own = /^(ETCD|KVD)_|^NOTIFY_SOCKET$|^JOURNAL_STREAM$/
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)))
    const child = spawn(process.execPath, [kvdPath, ...argv], { env })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.#text += chunk
      child.emit('said')
    })
    child.once('close', () => child.emit('said'))
    this.child = child
    tt.teardown(async () => await this.end('SIGKILL'))
  }

  get log(): string {
    return this.#text
  }

  /** Waits until the log has this, a first time or once more. @throws Error when kvd ends before */
  async said(wanted: string, times = 1): Promise<void> {
    while (this.#text.split(wanted).length <= times) {
      if (this.#hasEnded) throw new Error(`kvd has ended:\n${this.#text}`)
      await once(this.child, 'said')
    }
  }

  get #hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null
  }

  /** Sends a signal and waits for the end; gives the status. */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    if (this.#hasEnded) return this.child.exitCode
    this.child.kill(signal)
    await once(this.child, 'exit')
    return this.child.exitCode
  }

  /** Waits until it ends by itself; gives the status. */
  async ended(): Promise<number | null> {
    if (!this.#hasEnded) await once(this.child, 'close')
    return this.child.exitCode
  }
}

/** What to ask, and what to show and trust. */
export interface SecureAsk extends RequestOptions {
  readonly headers?: Readonly<Record<string, string>>
}

/** An answer over TLS. */
export interface SecureAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** One request on a connection of its own; a body is sent as a form. */
export async function askSecurely(
  url: string,
  { headers = {}, ...options }: SecureAsk,
  form?: string,
): Promise<SecureAnswer> {
  return await new Promise((resolve, reject) => {
    const type = form === undefined ? {} : { 'Content-Type': 'application/x-www-form-urlencoded' }
    const sent = request(
      url,
      { agent: false, ...options, headers: { ...type, ...headers } },
      (answer) => {
        let body = ''
        answer.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
        answer.once('error', reject)
        answer.once('end', () =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body }),
        )
      },
    )
    sent.once('error', reject)
    sent.end(form)
  })
}
