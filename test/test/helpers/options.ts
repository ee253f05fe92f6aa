import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { items, member, textOf } from '../../src/harness/json.ts'
import { ROOT } from '../../src/harness/paths.ts'

/** Where each program has the one table of its options, below its dist folder. */
export const OPTION_TABLES: ReadonlyMap<string, string> = new Map([
  ['kvd', 'flags.js'],
  ['kvctl', 'args/specs.js'],
  ['fleetd', 'config.js'],
  ['fleetctl', 'options.js'],
])

/**
 * The names of a program's options, as its table has them: without dashes, first name only, without those
 * that the table hides from the help.
 */
export async function optionNames(program: string): Promise<string[]> {
  const file = join(ROOT, 'packages', program, 'dist', OPTION_TABLES.get(program) ?? '')
  const module: unknown = await import(pathToFileURL(file).href)
  return [...new Set(namesIn(module, ''))].toSorted()
}

/** An entry of a table explains itself; lists and objects of entries do not. */
function namesIn(value: unknown, key: string): string[] {
  if (typeof value !== 'object' || value === null) return []
  const explains = ['usage', 'help'].some((name) => typeof member(value, name) === 'string')
  if (!explains) return Object.entries(value).flatMap(([name, item]) => namesIn(item, name))
  if (member(value, 'hidden') === true) return []
  const [first] = [items(member(value, 'names'))[0], member(value, 'name'), key].filter(Boolean)
  return [textOf(first)]
}
