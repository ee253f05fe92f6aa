import { Agent, request } from 'node:http'

/** A node as the v2 API shows it. */
export interface WireNode {
  readonly key: string
  readonly value: string | undefined
  readonly dir: boolean
  readonly expiration: string | undefined
  readonly createdIndex: number
  readonly modifiedIndex: number
  readonly nodes: readonly WireNode[]
}

/** An event, or the answer to a request, which has the same shape. */
export interface WireEvent {
  readonly action: string
  readonly node: WireNode
  readonly prevNode: WireNode | undefined
}

/** An answer with its whole body. `index` is X-Etcd-Index, 0 when there is none. */
export interface Answer {
  readonly status: number
  readonly index: number
  readonly body: string
}

/** What `ask` sends. `form` makes the body of a PUT or POST; `host` is this machine unless told. */
export interface Ask {
  readonly host?: string
  readonly method: string
  readonly path: string
  readonly form?: Readonly<Record<string, string>>
  readonly agent?: Agent
  readonly signal?: AbortSignal
}

/**
 * One request to a store at `port`. Rejects when the connection breaks: the request may then have
 * been carried out or not.
 */
export function ask(port: number, wanted: Ask): Promise<Answer> {
  const body = wanted.form === undefined ? undefined : new URLSearchParams(wanted.form).toString()
  const headers =
    body === undefined
      ? {}
      : {
          'Content-Type': 'application/x-www-form-urlencoded',
          'Content-Length': Buffer.byteLength(body),
        }
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: wanted.host ?? '127.0.0.1',
        port,
        method: wanted.method,
        path: wanted.path,
        headers,
        ...(wanted.agent && { agent: wanted.agent }),
        ...(wanted.signal && { signal: wanted.signal }),
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            index: Number(response.headers['x-etcd-index'] ?? 0),
            body: Buffer.concat(chunks).toString(),
          }),
        )
      },
    )
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Reads an event. @throws Error when the text is none */
export function parseEvent(text: string): WireEvent {
  return eventOf(JSON.parse(text), text)
}

/** An event out of parsed JSON; `text` is for the message. */
export function eventOf(json: unknown, text: string): WireEvent {
  const fields = fieldsOf(json)
  const action = fields['action']
  if (typeof action !== 'string') throw new Error(`not an event: ${text}`)
  const prevNode = fields['prevNode']
  return {
    action,
    node: nodeOf(fields['node']),
    prevNode: prevNode === undefined ? undefined : nodeOf(prevNode),
  }
}

function nodeOf(json: unknown): WireNode {
  const fields = fieldsOf(json)
  const nodes = fields['nodes']
  return {
    key: textOf(fields['key']) ?? '/',
    value: textOf(fields['value']),
    dir: fields['dir'] === true,
    expiration: textOf(fields['expiration']),
    createdIndex: Number(fields['createdIndex'] ?? 0),
    modifiedIndex: Number(fields['modifiedIndex'] ?? 0),
    nodes: Array.isArray(nodes) ? nodes.map(nodeOf) : [],
  }
}

/** The members of a JSON object; empty for anything else. */
export function fieldsOf(json: unknown): Readonly<Record<string, unknown>> {
  return typeof json === 'object' && json !== null ? Object.fromEntries(Object.entries(json)) : {}
}

function textOf(json: unknown): string | undefined {
  return typeof json === 'string' ? json : undefined
}
