/** A promise about a figure. `atLeast` and `atMost` hold at the limit itself, `below` does not. */
export interface Bar {
  readonly what: string
  readonly kind: 'atLeast' | 'atMost' | 'below'
  readonly limit: number
  readonly value: number
}

const SIGNS: Readonly<Record<Bar['kind'], string>> = { atLeast: '>=', atMost: '<=', below: '<' }

/** Whether a bar is held; no number holds none. */
export function isHeld({ kind, limit, value }: Bar): boolean {
  switch (kind) {
    case 'atLeast':
      return value >= limit
    case 'atMost':
      return value <= limit
    case 'below':
      return value < limit
  }
}

/** Lines `held    put at 64 connections: 1.34 >= 1.1`, under a title; '' when there is no bar. */
export function renderBars(bars: readonly Bar[]): string {
  if (bars.length === 0) return ''
  const lines = bars.map((bar) => `${isHeld(bar) ? 'held  ' : 'MISSED'}  ${barText(bar)}\n`)
  return `bars\n${lines.join('')}`
}

/** One line for each bar that is not held. */
export function missedBars(bars: readonly Bar[]): string[] {
  return bars.filter((bar) => !isHeld(bar)).map((bar) => `bar missed: ${barText(bar)}`)
}

function barText({ what, kind, limit, value }: Bar): string {
  return `${what}: ${Number(value.toFixed(2))} ${SIGNS[kind]} ${limit}`
}
