import { Agent, request } from 'node:http'
import type { Server } from '../servers.ts'

/** An answer with its whole body. */
interface Answer {
  readonly status: number
  readonly body: string
}

const fillers = 32

/**
 * PUTs every key of `keys` (paths below /v2/keys) with a value of `bytes` bytes.
 * @throws when an answer is not 200 or 201
 */
export async function fill(server: Server, keys: readonly string[], bytes: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: fillers })
  const value = valueOf(bytes)
  const rest = keys.values()
  const worker = async (): Promise<void> => {
    for (const key of rest) await put(server, agent, key, value)
  }
  await Promise.all(Array.from({ length: fillers }, worker))
  agent.destroy()
}

async function put(server: Server, agent: Agent, key: string, value: string): Promise<void> {
  const answer = await send(server, agent, 'PUT', `/v2/keys${key}`, `value=${value}`)
  if (answer.status !== 200 && answer.status !== 201)
    throw new Error(`${server.name}: PUT ${key}: ${answer.status} ${answer.body}`)
}

/** Checks that the loads will measure real answers: PUT, GET and quorum GET give the value back. */
export async function probe(server: Server, key: string, bytes: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const value = valueOf(bytes)
  await put(server, agent, key, value)
  for (const query of ['', '?quorum=true']) {
    const answer = await send(server, agent, 'GET', `/v2/keys${key}${query}`)
    if (answer.status !== 200 || !answer.body.includes(`"value":"${value}"`))
      throw new Error(`${server.name}: GET ${key}${query}: ${answer.status} ${answer.body}`)
  }
  agent.destroy()
}

/** Number of files below `dir`, as the server lists them. */
export async function countKeys(server: Server, dir: string): Promise<number> {
  const agent = new Agent()
  const { body } = await send(server, agent, 'GET', `/v2/keys${dir}?recursive=true`)
  agent.destroy()
  return body.split('"value":').length - 1
}

function valueOf(bytes: number): string {
  return 'x'.repeat(bytes)
}

function send(
  server: Server,
  agent: Agent,
  method: string,
  path: string,
  form?: string,
): Promise<Answer> {
  const headers =
    form === undefined
      ? {}
      : {
          'Content-Type': 'application/x-www-form-urlencoded',
          'Content-Length': Buffer.byteLength(form),
        }
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: '127.0.0.1', port: server.port, agent, method, path, headers },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() })
        })
        response.on('error', reject)
      },
    )
    asked.on('error', reject)
    asked.end(form)
  })
}
