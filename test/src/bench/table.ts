import type { Spread } from './stats.ts'

/** A column: text to the left, numbers to the right. */
export interface Column {
  readonly title: string
  readonly align: 'left' | 'right'
}

/** The rows under their titles, two spaces between columns, no trailing blanks; ends with a newline. */
export function renderTable(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const widths = columns.map((column, at) =>
    Math.max(column.title.length, ...rows.map((row) => (row[at] ?? '').length)),
  )
  const line = (cells: readonly string[]): string =>
    columns
      .map((column, at) => pad(cells[at] ?? '', widths[at] ?? 0, column.align))
      .join('  ')
      .trimEnd()
  return [columns.map((column) => column.title), ...rows].map((row) => `${line(row)}\n`).join('')
}

function pad(text: string, width: number, align: Column['align']): string {
  return align === 'left' ? text.padEnd(width) : text.padStart(width)
}

/** `12 300 (11 900-12 800)`: median and range, each printed by `format`. */
export function formatSpread(value: Spread, format: (value: number) => string): string {
  return `${format(value.median)} (${format(value.min)}-${format(value.max)})`
}

/** `x1.84`: how many times the original's figure. */
export function formatRatio(value: number): string {
  return `x${value.toFixed(2)}`
}

/** Whole number with thin groups of three: `12 300`. */
export function formatCount(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ' ')
}

/** Milliseconds with enough digits to compare: `0.42`, `12.3`, `150`. */
export function formatMs(value: number): string {
  if (value < 1) return value.toFixed(2)
  return value.toFixed(value < 100 ? 1 : 0)
}
