import {
  fieldsOf,
  parseEvent,
  type Answer as Reply,
  type Ask,
  type WireNode,
} from '../helpers/answers.ts'
import type { Answer, Ending, Item, Request } from './history.ts'

/** A request as HTTP, after the v2 API. */
export function askFor(request: Request): Ask {
  const path = `/v2/keys${request.k}`
  const { f, v = '', exp = '', at } = request
  const comparison = at === undefined ? { prevValue: exp } : { prevIndex: String(at) }
  switch (f) {
    case 'get':
      return { method: 'GET', path: request.isLocal === true ? path : `${path}?quorum=true` }
    case 'list': {
      const quorum = request.isLocal === true ? '' : '&quorum=true'
      return { method: 'GET', path: `${path}?sorted=true${quorum}` }
    }
    case 'set':
      return { method: 'PUT', path, form: { value: v } }
    case 'create':
      return { method: 'PUT', path, form: { value: v, prevExist: 'false' } }
    case 'update':
      return { method: 'PUT', path, form: { value: v, prevExist: 'true' } }
    case 'cas':
      return { method: 'PUT', path, form: { value: v, ...comparison } }
    case 'post':
      return { method: 'POST', path, form: { value: v } }
    case 'delete':
      return { method: 'DELETE', path }
    case 'cad':
      return { method: 'DELETE', path: `${path}?${new URLSearchParams(comparison).toString()}` }
  }
}

/** What an answer says about a request. Whatever is no plain yes or no leaves the outcome open. */
export function endingOf(request: Request, { status, index, body }: Reply): Ending {
  try {
    if (status === 200 || status === 201) return { e: 'ok', r: successOf(request, index, body) }
    if (status >= 400 && status < 500) return { e: 'ok', r: errorOf(body) }
    return { e: 'info', why: `${status} ${body.trim()}` }
  } catch (error) {
    return { e: 'info', why: `unreadable: ${String(error)}` }
  }
}

function successOf(request: Request, etcdIndex: number, body: string): Answer {
  const { node, prevNode } = parseEvent(body)
  if (request.f === 'list') return { etcdIndex, items: node.nodes.map(itemOf) }
  const { value, modifiedIndex: mod, createdIndex: created } = node
  const prev = prevNode && { prev: prevNode.value ?? '', prevMod: prevNode.modifiedIndex }
  return {
    etcdIndex,
    mod,
    created,
    ...prev,
    ...(request.f === 'get' && { v: value ?? '' }),
    ...(request.f === 'post' && { name: nameOf(node) }),
  }
}

function itemOf(node: WireNode): Item {
  return { name: nameOf(node), v: node.value ?? '', mod: node.modifiedIndex }
}

function nameOf({ key }: WireNode): string {
  return key.slice(key.lastIndexOf('/') + 1)
}

function errorOf(body: string): Answer {
  const { errorCode, cause, index } = fieldsOf(JSON.parse(body))
  if (typeof errorCode !== 'number' || typeof index !== 'number') throw new Error(body)
  const found = /^\[.* != (.*)\]$/.exec(typeof cause === 'string' ? cause : '')?.[1]
  return { code: errorCode, etcdIndex: index, ...(found !== undefined && { cur: found }) }
}

/** What a broken connection says about a request: only one that never came about is certain. */
export function brokenOf(error: unknown): Ending {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const why = code === '' ? String(error) : code
  return { e: code === 'ECONNREFUSED' ? 'fail' : 'info', why }
}
