import { Agent } from 'node:http'
import { send, type Answer } from '../requests.ts'
import type { Server } from '../servers.ts'

/** Who is filled and asked: a server, or a member of a cluster. */
type Place = Pick<Server, 'name' | 'port'>

const fillers = 32

/**
 * PUTs every key of `keys` (paths below /v2/keys) with a value of `bytes` bytes.
 * @throws when an answer is not 200 or 201
 */
export async function fill(server: Place, keys: readonly string[], bytes: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: fillers })
  const value = valueOf(bytes)
  const rest = keys.values()
  const worker = async (): Promise<void> => {
    for (const key of rest) await put(server, agent, key, value)
  }
  await Promise.all(Array.from({ length: fillers }, worker))
  agent.destroy()
}

async function put(server: Place, agent: Agent, key: string, value: string): Promise<void> {
  const answer = await send({
    agent,
    port: server.port,
    method: 'PUT',
    path: `/v2/keys${key}`,
    form: `value=${value}`,
  })
  if (answer.status !== 200 && answer.status !== 201)
    throw new Error(`${server.name}: PUT ${key}: ${answer.status} ${answer.body}`)
}

/** Checks that the loads will measure real answers: PUT, GET and quorum GET give the value back. */
export async function probe(server: Place, key: string, bytes: number): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const value = valueOf(bytes)
  await put(server, agent, key, value)
  for (const query of ['', '?quorum=true']) {
    const answer = await get(server, agent, `${key}${query}`)
    if (answer.status !== 200 || !answer.body.includes(`"value":"${value}"`))
      throw new Error(`${server.name}: GET ${key}${query}: ${answer.status} ${answer.body}`)
  }
  agent.destroy()
}

/** Number of files below `dir`, as the server lists them. */
export async function countKeys(server: Place, dir: string): Promise<number> {
  const agent = new Agent()
  const { body } = await get(server, agent, `${dir}?recursive=true`)
  agent.destroy()
  return body.split('"value":').length - 1
}

async function get({ port }: Place, agent: Agent, path: string): Promise<Answer> {
  return await send({ agent, port, method: 'GET', path: `/v2/keys${path}` })
}

function valueOf(bytes: number): string {
  return 'x'.repeat(bytes)
}
