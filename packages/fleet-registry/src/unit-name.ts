const RECOGNIZED = new Set([
  '.service',
  '.socket',
  '.timer',
  '.path',
  '.device',
  '.mount',
  '.automount',
])

/** Whether a name ends in a unit type that fleet handles itself (its agent ignores other files). */
export function isRecognizedUnitType(name: string): boolean {
  const dot = name.lastIndexOf('.')
  return dot >= 0 && RECOGNIZED.has(name.slice(dot))
}

/** The unit name that a command-line argument stands for: last path element, `.service` added unless a type is there. */
export function mangleUnitName(argument: string): string {
  const name = baseName(argument)
  return isRecognizedUnitType(name) ? name : `${name}.service`
}

/** Last element of a path by the rules of Go's `path.Base`: trailing slashes do not count, empty is `.`. */
function baseName(path: string): string {
  if (path === '') return '.'
  const trimmed = path.replace(/\/+$/, '')
  if (trimmed === '') return '/'
  return trimmed.slice(trimmed.lastIndexOf('/') + 1)
}

/** The longest name that the API accepts, in bytes. */
const UNIT_NAME_BYTES_MAX = 256

const UNIT_TYPES = new Set([
  'automount',
  'busname',
  'device',
  'mount',
  'path',
  'scope',
  'service',
  'slice',
  'snapshot',
  'socket',
  'swap',
  'target',
  'timer',
])
const TEMPLATE_TYPES = new Set(['path', 'service', 'socket', 'target', 'timer'])
const FOREIGN_CHARACTER = /[^0-9A-Za-z:\-_.\\@]/u

/** Why the API refuses a unit name, or `undefined` when it is good. Order and texts of fleet api/units.go. */
export function checkUnitName(name: string): string | undefined {
  if (name === '') return 'unit name cannot be empty'
  if (Buffer.byteLength(name) > UNIT_NAME_BYTES_MAX) {
    return `unit name exceeds maximum length (${UNIT_NAME_BYTES_MAX})`
  }
  const dot = name.lastIndexOf('.')
  if (dot < 0) return 'unit name must contain "."'
  if (dot === name.length - 1) return 'unit name cannot end in "."'
  const type = name.slice(dot + 1)
  if (!UNIT_TYPES.has(type)) return `invalid unit type: ${JSON.stringify(type)}`
  if (name.includes('@') && !TEMPLATE_TYPES.has(type)) {
    return `invalid unit type for template: ${JSON.stringify(type)}`
  }
  const foreign = FOREIGN_CHARACTER.exec(name.slice(0, dot))
  if (foreign !== null) return `invalid character '${foreign[0]}' in unit name`
  if (name.startsWith('@')) return 'unit name cannot start in "@"'
  return undefined
}
