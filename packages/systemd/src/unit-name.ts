/** The parts of a unit name, as fleet's `unit.UnitNameInfo` has them. */
export interface UnitName {
  /** `foo@1.service` */
  readonly fullName: string
  /** Without the type: `foo@1` */
  readonly name: string
  /** Before the first `@`: `foo` */
  readonly prefix: string
  /** `foo@.service`, or empty when the name has no `@` */
  readonly template: string
  /** After the first `@`: `1`, or empty */
  readonly instance: string
}

/** A name or path that cannot be escaped or unescaped. */
export class UnitNameError extends Error {
  override readonly name = 'UnitNameError'
  readonly code = 'UNIT_NAME'
}

/** Splits a unit name; undefined when there is no type (no dot). fleet 1.0 `unit/unit.go`. */
export function parseUnitName(fullName: string): UnitName | undefined {
  const dot = fullName.lastIndexOf('.')
  if (dot === -1) return undefined
  const name = fullName.slice(0, dot)
  const at = name.indexOf('@')
  if (at === -1) return { fullName, name, prefix: name, template: '', instance: '' }
  const prefix = name.slice(0, at)
  const template = `${prefix}@${fullName.slice(dot)}`
  return { fullName, name, prefix, template, instance: name.slice(at + 1) }
}

/** True when the name is a template: it has an `@` and no instance. */
export function isTemplateName(name: UnitName): boolean {
  return name.template !== '' && name.instance === ''
}

/** Makes any text a valid part of a unit name: `/` becomes `-`, other bytes `\xNN` (systemd.unit(5), `systemd-escape`). */
export function escapeUnitName(text: string): string {
  let escaped = ''
  for (const [index, byte] of Buffer.from(text).entries()) {
    const char = String.fromCharCode(byte)
    if (char === '/') escaped += '-'
    else if (/[0-9A-Za-z:_.]/.test(char) && (char !== '.' || index > 0)) escaped += char
    else escaped += `\\x${byte.toString(16).padStart(2, '0')}`
  }
  return escaped
}

/** The inverse of escapeUnitName. Throws UnitNameError for a backslash that begins no `\xNN`. */
export function unescapeUnitName(escaped: string): string {
  const bytes: number[] = []
  const source = Buffer.from(escaped)
  for (let at = 0; at < source.length; at += 1) {
    const char = String.fromCharCode(source[at] ?? 0)
    if (char === '\\') {
      const hex = source.toString('latin1', at, at + 4)
      if (!/^\\x[0-9a-fA-F]{2}$/.test(hex))
        throw new UnitNameError(`invalid escape in "${escaped}"`)
      bytes.push(parseInt(hex.slice(2), 16))
      at += 3
    } else bytes.push(char === '-' ? 0x2f : char.charCodeAt(0))
  }
  return Buffer.from(bytes).toString('utf8')
}

/** A file system path as part of a unit name: `/var/lib/x-y` is `var-lib-x\x2dy`, `/` is `-` (`systemd-escape --path`). */
export function escapePath(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (path === '' || parts.includes('..'))
    throw new UnitNameError(`path "${path}" is not normalized`)
  return parts.length === 0 ? '-' : escapeUnitName(parts.join('/'))
}
