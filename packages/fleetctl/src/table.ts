const TAB_WIDTH = 8
const PADDING = 1

/**
 * Rows as text, columns padded with tabs to multiples of eight, by the rules of Go's tabwriter: a column's width counts
 * characters, the last cell of a line belongs to no column, and a column ends at a line that does not have it.
 */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const lines = rows.flatMap((row) => row.join('\t').split('\n')).map((line) => line.split('\t'))
  const widths = lines.map((): number[] => [])
  measure(lines, widths, { from: 0, to: lines.length, column: 0 })
  return lines.map((cells, at) => formatLine(cells, widths[at] ?? [])).join('')
}

interface Block {
  readonly from: number
  readonly to: number
  readonly column: number
}

/** Finds the runs of lines that have a cell in this column, sets their common width and goes on to the next column. */
function measure(lines: readonly string[][], widths: readonly number[][], block: Block): void {
  const { column } = block
  const has = (at: number): boolean => at < block.to && column < (lines[at]?.length ?? 0) - 1
  for (let from = block.from; from < block.to; from++) {
    if (!has(from)) continue
    let to = from
    let width = 0
    for (; has(to); to++) width = Math.max(width, length(lines[to]?.[column]))
    const padded = Math.ceil((width + PADDING) / TAB_WIDTH) * TAB_WIDTH
    for (let at = from; at < to; at++) widths[at]?.push(padded)
    measure(lines, widths, { from, to, column: column + 1 })
    from = to
  }
}

function formatLine(cells: readonly string[], widths: readonly number[]): string {
  const padded = cells.map((cell, column) => {
    const width = widths[column]
    if (width === undefined) return cell
    return cell + '\t'.repeat(Math.ceil((width - length(cell)) / TAB_WIDTH))
  })
  return `${padded.join('')}\n`
}

function length(cell: string | undefined): number {
  return Array.from(cell ?? '').length
}
