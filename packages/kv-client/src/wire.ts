import type { IncomingHttpHeaders } from 'node:http'
import { KvError, TransportError } from './errors.ts'
import type { KvNode, KvResponse } from './types.ts'

/** An answer as it came, its body decoded as UTF-8. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** The answer of the keys API, or the KvError it holds. */
export function parseKeysAnswer(answer: Answer): KvResponse {
  if (answer.status !== 200 && answer.status !== 201) throw parseError(answer)
  return parseEvent(parseJson(answer.body), answer.headers)
}

/** An event as HTTP and WebSocket carry it; the headers give the indexes. */
export function parseEvent(value: unknown, headers: IncomingHttpHeaders): KvResponse {
  const event = record(value)
  const prevNode = event['prevNode']
  return {
    action: text(event['action']),
    node: parseNode(event['node']),
    ...(prevNode === undefined || prevNode === null ? {} : { prevNode: parseNode(prevNode) }),
    etcdIndex: headerNumber(headers, 'x-etcd-index'),
    raftIndex: headerNumber(headers, 'x-raft-index'),
    raftTerm: headerNumber(headers, 'x-raft-term'),
    clusterId: headerText(headers, 'x-etcd-cluster-id'),
  }
}

/** Directories in each other, at the most: kvd has 1000, and what is read level by level needs an end. */
const DEPTH_MAX = 2000

/** A node; fields of a wrong type are an error, absent ones stay absent. */
export function parseNode(value: unknown): KvNode {
  return parseLevel(value, 0)
}

function parseLevel(value: unknown, depth: number): KvNode {
  if (depth > DEPTH_MAX) throw bad('a node without directories', value)
  const node = record(value)
  const { value: content, dir, expiration, ttl, nodes } = node
  return {
    key: node['key'] === undefined ? '/' : text(node['key']),
    ...(content === undefined ? {} : { value: text(content) }),
    ...(dir === true ? { dir } : {}),
    ...(expiration === undefined ? {} : { expiration: text(expiration) }),
    ...(ttl === undefined ? {} : { ttl: number(ttl) }),
    ...(nodes === undefined || nodes === null
      ? {}
      : { nodes: list(nodes).map((below) => parseLevel(below, depth + 1)) }),
    modifiedIndex: number(node['modifiedIndex'] ?? 0),
    createdIndex: number(node['createdIndex'] ?? 0),
  }
}

/** The error an answer stands for: the v2 JSON, `{"message"}` of members and auth, or plain text. */
export function parseError(answer: Answer): KvError {
  const { status } = answer
  const plain = { errorCode: 0, subject: '', index: 0, status }
  let body: Readonly<Record<string, unknown>>
  try {
    body = record(parseJson(answer.body))
  } catch {
    return new KvError(answer.body.trim() || `HTTP status ${status}`, plain)
  }
  const { errorCode, message, cause, index } = body
  return new KvError(typeof message === 'string' ? message : `HTTP status ${status}`, {
    errorCode: typeof errorCode === 'number' ? errorCode : 0,
    subject: typeof cause === 'string' ? cause : '',
    index: typeof index === 'number' ? index : 0,
    status,
  })
}

/** JSON, or a TransportError `BAD_ANSWER` (text of etcd 2.3 client/keys.go). */
export function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch (error) {
    throw new TransportError(
      'client: response is invalid json. The endpoint is probably not valid etcd cluster endpoint.',
      'BAD_ANSWER',
      true,
      error,
    )
  }
}

export function record(value: unknown): Readonly<Record<string, unknown>> {
  if (isRecord(value)) return value
  throw bad('an object', value)
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function list(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw bad('a list', value)
}

export function text(value: unknown): string {
  if (typeof value === 'string') return value
  throw bad('a text', value)
}

export function number(value: unknown): number {
  if (typeof value === 'number') return value
  throw bad('a number', value)
}

function bad(wanted: string, value: unknown): TransportError {
  const got = value === null ? 'null' : typeof value
  return new TransportError(`client: answer has ${got} where ${wanted} belongs`, 'BAD_ANSWER', true)
}

/** A header's number, 0 when it is absent or no number. */
export function headerNumber(headers: IncomingHttpHeaders, name: string): number {
  const value = Number(headerText(headers, name))
  return Number.isFinite(value) ? value : 0
}

function headerText(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name]
  return typeof value === 'string' ? value : ''
}
