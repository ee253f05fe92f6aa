import type { Call, Cluster } from './cluster.ts'
import { encodeForm, keyPath, KEYS_PREFIX } from './keys.ts'
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
export function createKeysApi(
  cluster: Pick<Cluster, 'call'>,
  prefix = KEYS_PREFIX,
): Omit<KeysApi, 'watch'> {
  const call = async (request: Call) => parseKeysAnswer(await cluster.call(request))
  const path = (key: string): string => keyPath(key, prefix)
  const set = (key: string, value: string, options?: SetOptions) =>
    call(setCall(path(key), value, options))
  return {
    get: (key, options) => call(getCall(path(key), options)),
    set,
    create: (key, value, options) => set(key, value, { ...options, prevExist: false }),
    update: (key, value, options) => set(key, value, { ...options, prevExist: true }),
    createInOrder: (dir, value, options) => call(postCall(path(dir), value, options)),
    mkdir: (key, options) => set(key, '', { ...options, dir: true, prevExist: false }),
    delete: (key, options) => call(deleteCall(path(key), options)),
    waitOnce: async (key, options) => {
      const answer = await cluster.call(waitCall(path(key), options))
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
  path: string,
  options: WaitOptions = {},
  listeners: Pick<Call, 'onHeaders' | 'onData'> = {},
): Call {
  const query = encodeForm({
    recursive: String(options.recursive ?? false),
    wait: 'true',
    waitIndex: String(options.waitIndex ?? 0),
  })
  const target = `${path}?${query}`
  return { method: 'GET', path: target, isPoll: true, signal: options.signal, ...listeners }
}

function getCall(path: string, options: GetOptions = {}): Call {
  const query = encodeForm({
    quorum: String(options.quorum ?? false),
    recursive: String(options.recursive ?? false),
    sorted: String(options.sorted ?? false),
  })
  return { method: 'GET', path: `${path}?${query}`, signal: options.signal }
}

function setCall(path: string, value: string, options: SetOptions = {}): Call {
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
  return { method: 'PUT', path: withQuery(path, query), form, signal: options.signal }
}

function postCall(path: string, value: string, options: TtlOptions = {}): Call {
  const form = encodeForm({ ttl: ttlField(options.ttl), value })
  return { method: 'POST', path, form, signal: options.signal }
}

function deleteCall(path: string, options: DeleteOptions = {}): Call {
  const query = encodeForm({
    dir: options.dir === true ? 'true' : undefined,
    prevIndex: options.prevIndex ? String(options.prevIndex) : undefined,
    prevValue: options.prevValue || undefined,
    recursive: options.recursive === true ? 'true' : undefined,
  })
  return { method: 'DELETE', path: withQuery(path, query), signal: options.signal }
}

function ttlField(ttl: number | undefined): string | undefined {
  return ttl === undefined || ttl < 1 ? undefined : BigInt(Math.floor(ttl)).toString()
}

function withQuery(path: string, query: string): string {
  return query === '' ? path : `${path}?${query}`
}
