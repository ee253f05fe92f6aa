import { formatTable } from './table.ts'
import type { Context, Flags } from './context.ts'

/** How a column gets its text out of an item. */
export type Columns<T> = Readonly<Record<string, (item: T) => string>>

/** The columns that `--fields` names; the problem with it as text. */
export function chooseColumns<T>(
  columns: Columns<T>,
  fields: string,
): { readonly names: readonly string[] } | { readonly problem: string } {
  if (fields === '') return { problem: 'Must define output format' }
  const names = fields.split(',')
  const unknown = names.find((name) => !Object.hasOwn(columns, name))
  if (unknown === undefined) return { names }
  return { problem: `Invalid key in output format: ${JSON.stringify(unknown)}` }
}

/** Prints items as a table with the chosen columns; the header is theirs in capitals. */
export function printTable<T>(
  context: Context,
  flags: Flags,
  table: { columns: Columns<T>; names: readonly string[]; items: readonly T[] },
): void {
  const rows = table.items.map((item) =>
    table.names.map((name) => table.columns[name]?.(item) ?? ''),
  )
  const header = table.names.map((name) => name.toUpperCase())
  const lines = flags.isOn('no-legend') ? rows : [header, ...rows]
  if (lines.length > 0) context.write(formatTable(lines))
}

/** An empty cell is shown as a dash. */
export function orDash(text: string): string {
  return text === '' ? '-' : text
}
