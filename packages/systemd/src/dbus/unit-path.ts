const PREFIX = '/org/freedesktop/systemd1/unit/'

/** The object path of a unit (systemd `unit_dbus_path_from_name`). */
export function pathOfUnit(name: string): string {
  const escaped = [...Buffer.from(name)].map((byte, index) => {
    const char = String.fromCharCode(byte)
    const isPlain = /[A-Za-z]/.test(char) || (index > 0 && /[0-9]/.test(char))
    return isPlain ? char : `_${byte.toString(16).padStart(2, '0')}`
  })
  return `${PREFIX}${escaped.length === 0 ? '_' : escaped.join('')}`
}

/** The unit whose object path this is; undefined for other objects. */
export function unitOfPath(path: string): string | undefined {
  if (!path.startsWith(PREFIX)) return undefined
  const escaped = path.slice(PREFIX.length)
  if (escaped === '_') return ''
  const bytes = escaped.replace(/_([0-9a-f]{2})/g, (_, hex: string) =>
    String.fromCharCode(parseInt(hex, 16)),
  )
  return Buffer.from(bytes, 'latin1').toString('utf8')
}
