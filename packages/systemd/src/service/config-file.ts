/** One `Name=value` of a unit file as systemd itself reads it. */
export interface Assignment {
  readonly section: string
  readonly name: string
  readonly value: string
  /** Line on which it begins, from 1. */
  readonly line: number
}

/** What systemd says of a line and its number. */
export interface Remark {
  readonly line: number
  readonly message: string
}

export interface ConfigFile {
  readonly assignments: readonly Assignment[]
  readonly remarks: readonly Remark[]
}

const SECTIONS: ReadonlySet<string> = new Set(['Unit', 'Service', 'Install'])

/**
 * Reads a unit file with the rules of systemd's own parser (systemd 252 `config_parse`), which differ from those of
 * parseUnit: a continuation becomes a blank, comments between continued lines vanish, and what cannot be read is
 * skipped with a remark.
 */
export function parseConfigFile(text: string): ConfigFile {
  const assignments: Assignment[] = []
  const remarks: Remark[] = []
  let section: string | undefined
  let isKnown = false
  for (const { text: logical, line } of logicalLines(text)) {
    const stripped = strip(logical)
    if (stripped === '') continue
    if (stripped.startsWith('[')) {
      if (!stripped.endsWith(']')) {
        remarks.push({ line, message: `Invalid section header '${stripped}'` })
        continue
      }
      section = stripped.slice(1, -1)
      isKnown = SECTIONS.has(section)
      const isExtension = section.startsWith('X-')
      if (!isKnown && !isExtension) {
        remarks.push({ line, message: `Unknown section '${section}'. Ignoring.` })
      }
    } else if (section === undefined) {
      remarks.push({ line, message: 'Assignment outside of section. Ignoring.' })
    } else if (isKnown) {
      const equals = stripped.indexOf('=')
      if (equals === -1) remarks.push({ line, message: "Missing '=', ignoring line." })
      else {
        const name = strip(stripped.slice(0, equals))
        assignments.push({ section, name, value: strip(stripped.slice(equals + 1)), line })
      }
    }
  }
  return { assignments, remarks }
}

/** systemd's white space is ASCII only. */
function strip(text: string): string {
  return text.replace(/^[ \t\n\r]+/, '').replace(/[ \t\n\r]+$/, '')
}

/** True when the line's last backslash is not itself escaped. */
function isContinued(line: string): boolean {
  const backslashes = /\\*$/.exec(line)?.[0].length ?? 0
  return backslashes % 2 === 1
}

function logicalLines(text: string): { readonly text: string; readonly line: number }[] {
  const lines: { text: string; line: number }[] = []
  let pending: { text: string; line: number } | undefined
  for (const [index, raw] of text
    .replace(/^\ufeff/, '')
    .split(/\r\n|\n|\r|\0/)
    .entries()) {
    if (/^[ \t]*[#;]/.test(raw)) continue
    const whole: { text: string; line: number } = pending ?? { text: '', line: index + 1 }
    whole.text += raw
    if (isContinued(whole.text)) {
      whole.text = `${whole.text.slice(0, -1)} `
      pending = whole
    } else {
      lines.push(whole)
      pending = undefined
    }
  }
  if (pending !== undefined) lines.push(pending)
  return lines
}
