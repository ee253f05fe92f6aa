import { createServer } from 'node:http'
import type { Socket } from 'node:net'
import type { Test } from 'tap'
import type { Io } from '../../src/context.ts'
import { runCommandLine } from '../../src/run.ts'

/** What a command left behind. */
export interface Result {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Surroundings {
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: string
  readonly password?: string
  /** SIGINT. */
  readonly interrupt?: AbortSignal
  /** Told everything that is printed, as it is printed. */
  readonly onOutput?: (text: string) => void
}

/** Runs a command line in this process. */
export async function run(args: readonly string[], around: Surroundings = {}): Promise<Result> {
  let stdout = ''
  let stderr = ''
  const io: Io = {
    env: around.env ?? {},
    stdout: (text) => {
      stdout += text
      around.onOutput?.(text)
    },
    stderr: (text) => {
      stderr += text
      around.onOutput?.(text)
    },
    readStdin: async () => around.stdin ?? '',
    readPassword: async (prompt) => {
      stdout += prompt
      if (around.password === undefined) throw new Error('no terminal')
      return around.password
    },
    onInterrupt: () => around.interrupt ?? new AbortController().signal,
  }
  const code = await runCommandLine(args, io)
  return { code, stdout, stderr }
}

export interface Asked {
  readonly line: string
  readonly body: string
  readonly authorization: string | undefined
}

/** undefined: never. */
export type Reply = { readonly status?: number; readonly body?: string; readonly index?: number }
export type Script = (asked: Asked, server: ScriptedServer) => Reply | undefined

export interface ScriptedServer {
  readonly url: string
  readonly asked: Asked[]
}

/** A server that answers as the script says; /v2/members names itself. */
export async function serve(t: Test, script: Script): Promise<ScriptedServer> {
  const asked: Asked[] = []
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8')
    request.on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      const { authorization } = request.headers
      const one: Asked = { line: `${request.method} ${request.url}`, body, authorization }
      asked.push(one)
      const reply = script(one, made) ?? standard(one, made)
      if (reply === undefined) return
      response.writeHead(reply.status ?? 200, { 'X-Etcd-Index': reply.index ?? 9 })
      response.end(reply.body ?? '')
    })
  })
  server.on('connection', (socket: Socket) => sockets.add(socket))
  t.teardown(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' ? address?.port : 0
  const made: ScriptedServer = { url: `http://127.0.0.1:${port}`, asked }
  return made
}

function standard({ line }: Asked, { url }: ScriptedServer): Reply | undefined {
  if (line !== 'GET /v2/members') return undefined
  return { body: JSON.stringify({ members: [member('ab', 'one', [url])] }) }
}

/** A member of /v2/members. */
export function member(id: string, name: string, clientURLs: readonly string[]): object {
  return { id, name, peerURLs: [`http://${id}:2380`], clientURLs }
}

/** An answer of the keys API for a file. */
export function event(action: string, key: string, value: string, index = 7): string {
  return JSON.stringify({
    action,
    node: { key, value, modifiedIndex: index, createdIndex: index },
  })
}
