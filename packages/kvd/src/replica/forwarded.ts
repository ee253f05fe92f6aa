import { Buffer } from 'node:buffer'
import { bufferOf } from '../machine.ts'
import type { Message, Proposal } from '../raft/types.ts'
import { DATA_BYTES_MAX } from '../storage/entry-codec.ts'
import { Seldom } from '../seldom.ts'
import { parseRoleRequest } from '../auth/role.ts'
import { DIRECTORIES, ENABLED } from '../auth/rules.ts'
import { parseUser } from '../auth/user.ts'
import { decodeCommand, isTooDeep, TTL_SECONDS_MAX, type Command } from '../store/command.ts'

/** The root, or names that are none of `.` and `..` and not empty. */
const KEY = /^\/$|^(\/(?!\.{1,2}(\/|$))[^/]+)+$/
const INDEX = /^(0|[1-9]\d*)?$/
/** What members propose of the space that only changes of the membership write otherwise. */
const CLUSTER_KEYS = /^\/version$|^\/members\/[1-9a-f][0-9a-f]{0,15}\/attributes$/
const ID = /^[1-9a-f][0-9a-f]{0,15}$/
const AUTH_KEYS: readonly string[] = [...DIRECTORIES, ENABLED]
const AUTH_KEY = /^\/2\/(users|roles)\/[^/]+$/
/** So much of what is wrong is told. */
const SHOWN_MAX = 100

/** Keeps proposals of other members out of the log that can be no entries. */
export class ForwardedGuard {
  readonly #refused: (text: string) => void
  readonly #elapsedMs: () => number
  readonly #problems = new Seldom()

  /** @param refused hears of them now and then, as a line for the log */
  constructor(refused: (text: string) => void, elapsedMs: () => number) {
    this.#refused = refused
    this.#elapsedMs = elapsedMs
  }

  /** Of any message: false when nobody must see it. Its sender hears nothing, as of one that is lost. */
  passes(message: Message): boolean {
    if (message.type !== 'prop') return true
    const problem = problemOf(message.proposal)
    if (problem === undefined) return true
    if (this.#problems.isNews(message.from, problem, this.#elapsedMs()))
      this.#refused(`raft: a proposal of ${message.from} can be no entry: ${problem}`)
    return false
  }
}

/**
 * Why a proposal that another member has forwarded can be no entry; undefined: it can. Once in the log
 * it would end every member that applies it, and every new start of theirs.
 */
export function problemOf({ kind, data }: Proposal): string | undefined {
  if (kind === 'noop') return 'no member proposes a no-op'
  if (data.length > DATA_BYTES_MAX) return `${data.length} bytes`
  try {
    return kind === 'conf' ? changeProblem(data) : commandProblem(decodeCommand(bufferOf(data)))
  } catch (error) {
    return shown(error instanceof Error ? error.message : String(error))
  }
}

function commandProblem(entry: Command): string | undefined {
  const { space, key, time, expireAt, prevIndex } = entry
  if (isTooDeep(key) || !KEY.test(key)) return `the key ${shown(JSON.stringify(key))}`
  if (!Number.isFinite(time)) return 'a time that is no number'
  // The leader's stamp takes the place of the time, and the TTL counts from there.
  const ttlMs = expireAt === 0 ? 0 : expireAt - time
  if (!(ttlMs >= 0 && ttlMs <= (TTL_SECONDS_MAX + 1) * 1000)) return `a TTL of ${ttlMs} ms`
  if (!INDEX.test(prevIndex)) return `the index ${shown(JSON.stringify(prevIndex))}`
  if (space === 'auth') return authProblem(entry)
  return space === 'cluster' ? clusterProblem(entry) : undefined
}

function authProblem({ key, value, expireAt, dir, refresh }: Command): string | undefined {
  if (expireAt !== 0 || refresh || dir !== isAuthDirectory(key)) return `a write to ${shown(key)}`
  if (AUTH_KEYS.includes(key)) return undefined
  const [, kind] = AUTH_KEY.exec(key) ?? []
  if (kind === undefined) return `the key ${shown(key)} of users and roles`
  if (value !== '') (kind === 'users' ? parseUser : parseRoleRequest)(value)
  return undefined
}

function isAuthDirectory(key: string): boolean {
  return DIRECTORIES.some((directory) => directory === key)
}

function clusterProblem({ op, key, value, dir, expireAt }: Command): string | undefined {
  if (op !== 'set' || dir || expireAt !== 0 || !CLUSTER_KEYS.test(key))
    return `a write to ${shown(key)} of the cluster`
  return key === '/version' ? undefined : attributesProblem(JSON.parse(value))
}

function shown(text: string): string {
  return text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text
}

function attributesProblem(found: unknown): string | undefined {
  const { name = '', clientURLs = [] } = membersOf(found)
  return typeof name === 'string' && isTexts(clientURLs) ? undefined : 'attributes of no member'
}

function changeProblem(data: Uint8Array): string | undefined {
  const { type, id, peerURLs, isLearner } = membersOf(JSON.parse(Buffer.from(data).toString()))
  if (typeof id !== 'string' || !ID.test(id)) return 'a change of no member'
  switch (type) {
    case 'remove':
    case 'promote':
      return undefined
    case 'add':
      if (typeof isLearner !== 'boolean') return 'an addition of no kind'
      return isTexts(peerURLs) ? undefined : 'an addition without peer URLs'
    case 'update':
      return isTexts(peerURLs) ? undefined : 'an update without peer URLs'
    default:
      return `a change ${shown(String(type))}`
  }
}

function membersOf(found: unknown): Readonly<Record<string, unknown>> {
  if (typeof found !== 'object' || found === null) throw new Error('no object')
  return Object.fromEntries(Object.entries(found))
}

function isTexts(found: unknown): boolean {
  return Array.isArray(found) && found.every((one) => typeof one === 'string')
}
