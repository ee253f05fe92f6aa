import type { Call, Cluster } from './cluster.ts'
import { encodeForm, keyPath } from './keys.ts'
import type {
  DeleteOptions,
  GetOptions,
  KeysApi,
  SetOptions,
  TtlOptions,
  WaitOptions,
} from './types.ts'
import { parseKeysAnswer } from './wire.ts'

/** The requests of etcd 2.3 client/keys.go, parameter for parameter. */
export function createKeysApi(cluster: Pick<Cluster, 'call'>): Omit<KeysApi, 'watch'> {
  const call = async (request: Call) => parseKeysAnswer(await cluster.call(request))
  return {
    get: (key, options) => call(getCall(key, options)),
    set: (key, value, options) => call(setCall(key, value, options)),
    create: (key, value, options) => call(setCall(key, value, { ...options, prevExist: false })),
    update: (key, value, options) => call(setCall(key, value, { ...options, prevExist: true })),
    createInOrder: (dir, value, options) => call(postCall(dir, value, options)),
    mkdir: (key, options) => call(setCall(key, '', { ...options, dir: true, prevExist: false })),
    delete: (key, options) => call(deleteCall(key, options)),
    waitOnce: async (key, options) => {
      const answer = await cluster.call(waitCall(key, options))
      return isEmpty(answer) ? undefined : parseKeysAnswer(answer)
    },
  }
}

/** True when a long poll ended without an event: the server stopped or dropped the watch. */
export function isEmpty(answer: { readonly status: number; readonly body: string }): boolean {
  return answer.status === 200 && answer.body === ''
}

/** One long poll. `waitIndex` 0 stands for none, as etcd's own client sends it. */
export function waitCall(
  key: string,
  options: WaitOptions = {},
  listeners: Pick<Call, 'onHeaders' | 'onData'> = {},
): Call {
  const query = encodeForm({
    recursive: String(options.recursive ?? false),
    wait: 'true',
    waitIndex: String(options.waitIndex ?? 0),
  })
  const path = `${keyPath(key)}?${query}`
  return { method: 'GET', path, isPoll: true, signal: options.signal, ...listeners }
}

function getCall(key: string, options: GetOptions = {}): Call {
  const query = encodeForm({
    quorum: String(options.quorum ?? false),
    recursive: String(options.recursive ?? false),
    sorted: String(options.sorted ?? false),
  })
  return { method: 'GET', path: `${keyPath(key)}?${query}`, signal: options.signal }
}

function setCall(key: string, value: string, options: SetOptions = {}): Call {
  const isDir = options.dir === true
  const query = encodeForm({
    dir: isDir ? 'true' : undefined,
    prevExist: options.prevExist === undefined ? undefined : String(options.prevExist),
    prevIndex: options.prevIndex ? String(options.prevIndex) : undefined,
    prevValue: isDir ? undefined : options.prevValue || undefined,
  })
  const form = encodeForm({
    refresh: options.refresh === true ? 'true' : undefined,
    ttl: ttlField(options.ttl),
    // The server refuses a refresh that brings a value (211), even an unchanged one.
    value: isDir || options.refresh === true ? undefined : value,
  })
  return { method: 'PUT', path: withQuery(keyPath(key), query), form, signal: options.signal }
}

function postCall(dir: string, value: string, options: TtlOptions = {}): Call {
  const form = encodeForm({ ttl: ttlField(options.ttl), value })
  return { method: 'POST', path: keyPath(dir), form, signal: options.signal }
}

function deleteCall(key: string, options: DeleteOptions = {}): Call {
  const query = encodeForm({
    dir: options.dir === true ? 'true' : undefined,
    prevIndex: options.prevIndex ? String(options.prevIndex) : undefined,
    prevValue: options.prevValue || undefined,
    recursive: options.recursive === true ? 'true' : undefined,
  })
  return { method: 'DELETE', path: withQuery(keyPath(key), query), signal: options.signal }
}

function ttlField(ttl: number | undefined): string | undefined {
  return ttl === undefined || ttl < 1 ? undefined : BigInt(Math.floor(ttl)).toString()
}

function withQuery(path: string, query: string): string {
  return query === '' ? path : `${path}?${query}`
}
