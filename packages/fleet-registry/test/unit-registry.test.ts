import type { KeysApi, KvNode, KvResponse } from '@flotilla/kv-client'
import { test } from 'tap'
import {
  encodeJobObject,
  encodeUnitObject,
  parseUnitFile,
  registryKeys,
  UnitRegistry,
} from '../src/index.ts'

const KEYS = registryKeys('/fleet')

/** A store that can only be read; `onGet` is waited for before an answer. */
class Shelf implements Pick<KeysApi, 'get'> {
  readonly #values = new Map<string, string>()
  onGet: (key: string) => Promise<void> = async () => await Promise.resolve()

  add(name: string): void {
    const file = parseUnitFile(`[Unit]\nDescription=${name}\n`)
    this.#values.set(KEYS.jobObject(name), encodeJobObject({ name, unitHash: file.hash }))
    this.#values.set(KEYS.unitFile(file.hash), encodeUnitObject(file.text))
  }

  async get(key: string): Promise<KvResponse> {
    await this.onGet(key)
    const counts = { etcdIndex: 1, raftIndex: 1, raftTerm: 1, clusterId: '' }
    return { action: 'get', node: this.#node(key), ...counts }
  }

  #node(key: string): KvNode {
    const plain = { key, modifiedIndex: 1, createdIndex: 1 }
    const value = this.#values.get(key)
    if (value !== undefined) return { ...plain, value }
    const below = [...this.#values.keys()].filter((it) => it.startsWith(`${key}/`))
    const names = new Set(below.map((it) => it.slice(key.length + 1).split('/')[0] ?? ''))
    // A whole tree is asked for at two levels only: jobs with their leaves, and files.
    const nodes = [...names].map((name): KvNode => {
      const child = this.#values.get(`${key}/${name}`)
      if (child !== undefined) return { ...plain, key: `${key}/${name}`, value: child }
      const object = this.#values.get(`${key}/${name}/object`) ?? ''
      const leaf = { ...plain, key: `${key}/${name}/object`, value: object }
      return { ...plain, key: `${key}/${name}`, dir: true, nodes: [leaf] }
    })
    return { ...plain, dir: true, nodes }
  }
}

const NEVER = async (): Promise<never> => await Promise.reject(new Error('this store is only read'))
const WRITES = {
  set: NEVER,
  create: NEVER,
  update: NEVER,
  delete: NEVER,
  mkdir: NEVER,
  createInOrder: NEVER,
  waitOnce: NEVER,
  watch: (): never => {
    throw new Error('this store is only read')
  },
}

test('a list misses no unit while single units are asked for beside it', async (t) => {
  const shelf = new Shelf()
  const names = Array.from({ length: 1100 }, (_, at) => `u${at}.service`)
  for (const name of names) shelf.add(name)
  const registry = new UnitRegistry({ ...WRITES, get: async (key) => shelf.get(key) }, KEYS)
  t.equal((await registry.units()).length, names.length)
  shelf.add('new.service')
  let isAsked = false
  shelf.onGet = async (key) => {
    if (isAsked || !key.startsWith(`${KEYS.unitFiles}/`)) return
    isAsked = true
    t.equal((await registry.unit('u7.service'))?.name, 'u7.service')
  }
  t.equal((await registry.units()).length, names.length + 1)
  t.equal(isAsked, true)
})

test('files that no unit needs any more are forgotten, and read again when one does', async (t) => {
  const old = new Shelf()
  for (let at = 0; at < 1100; at++) old.add(`u${at}.service`)
  const few = new Shelf()
  few.add('a.service')
  let shelf = old
  const asked: string[] = []
  const registry = new UnitRegistry(
    {
      ...WRITES,
      get: async (key) => {
        asked.push(key)
        return await shelf.get(key)
      },
    },
    KEYS,
  )
  await registry.units()
  shelf = few
  t.equal((await registry.units()).length, 1)
  shelf = old
  asked.length = 0
  t.equal((await registry.units()).length, 1100)
  t.ok(asked.includes(KEYS.unitFiles))
})
