import { command, type Command } from '../../src/store/command.ts'
import { isRefusal, type Refusal } from '../../src/store/errors.ts'
import type { StoreEvent } from '../../src/store/event.ts'
import { Store } from '../../src/store/store.ts'

/** The time of commands that do not say otherwise: 2016-01-01T00:00:00Z. */
export const NOW = Date.UTC(2016, 0, 1)

type Fields = Partial<Omit<Command, 'op' | 'key'>>

/** Commands by name; everything that is not named is empty, the time is `NOW`. */
export const set = of('set')
export const create = of('create')
export const createInOrder = of('createInOrder')
export const update = of('update')
export const compareAndSwap = of('compareAndSwap')
export const remove = of('delete')
export const compareAndDelete = of('compareAndDelete')

function of(op: Command['op']): (key: string, fields?: Fields) => Command {
  return (key, fields = {}) => command({ op, key, time: NOW, ...fields })
}

/** The command that lets time pass. */
export function sync(time: number): Command {
  return command({ op: 'sync', time })
}

/** A new store that has carried out these commands. */
export function storeOf(commands: readonly Command[], historySize = 1000): Store {
  const store = new Store({ historySize })
  for (const entry of commands) store.apply(entry)
  return store
}

/** Carries out a command that must succeed. @throws Error naming the refusal when it does not */
export function applied(store: Store, entry: Command): StoreEvent {
  const outcome = store.apply(entry)
  if (outcome === undefined) throw new Error(`${entry.op} has no event`)
  if (isRefusal(outcome)) throw new Error(`${entry.op} of ${entry.key}: ${textOf(outcome)}`)
  return outcome
}

/** An outcome as a short text: the event's JSON, `CODE cause @index`, or `nothing`. */
export function textOf(outcome: { readonly json: string } | Refusal | string | undefined): string {
  if (outcome === undefined) return 'nothing'
  if (typeof outcome === 'string') return outcome
  return isRefusal(outcome) ? `${outcome.code} ${outcome.cause} @${outcome.index}` : outcome.json
}
