import { parseUnitName, unescapeUnitName } from '../unit-name.ts'

/** What the machine and the manager contribute to specifiers. */
export interface SpecifierContext {
  readonly machineID: string
  readonly bootID: string
  readonly hostname: string
  readonly kernelRelease: string
  readonly architecture: string
  readonly user: {
    readonly name: string
    readonly uid: number
    readonly gid: number
    readonly home: string
    readonly shell: string
  }
  readonly unitsDirectory: string
  /** What %t, %S, %C, %L and %E stand for. */
  readonly directories: {
    readonly runtime: string
    readonly state: string
    readonly cache: string
    readonly logs: string
    readonly config: string
  }
}

/** Letter to replacement. */
export type Specifiers = ReadonlyMap<string, string>

function unescaped(text: string): string {
  try {
    return unescapeUnitName(text)
  } catch {
    // systemd refuses the line; the escaped form is the nearest text that says what was meant.
    return text
  }
}

/** The specifiers of one unit (systemd.unit(5), SPECIFIERS), without those that need a credential or an image. */
export function specifiersOf(unit: string, context: SpecifierContext): Specifiers {
  const name = parseUnitName(unit) ?? { name: unit, prefix: unit, instance: '' }
  const last = (text: string): string => text.slice(text.lastIndexOf('-') + 1)
  const { user, directories } = context
  return new Map([
    ['a', context.architecture],
    ['b', context.bootID],
    ['C', directories.cache],
    ['E', directories.config],
    ['f', `/${unescaped(name.instance === '' ? name.prefix : name.instance).replace(/^\/+/, '')}`],
    ['G', String(user.gid)],
    ['h', user.home],
    ['H', context.hostname],
    ['i', name.instance],
    ['I', unescaped(name.instance)],
    ['j', last(name.prefix)],
    ['J', unescaped(last(name.prefix))],
    ['l', context.hostname.replace(/\..*/, '')],
    ['L', directories.logs],
    ['m', context.machineID],
    ['n', unit],
    ['N', name.name],
    ['p', name.prefix],
    ['P', unescaped(name.prefix)],
    ['q', context.hostname],
    ['s', user.shell],
    ['S', directories.state],
    ['t', directories.runtime],
    ['T', '/tmp'],
    ['u', user.name],
    ['U', String(user.uid)],
    ['v', context.kernelRelease],
    ['V', '/var/tmp'],
    ['y', `${context.unitsDirectory}/${unit}`],
    ['Y', context.unitsDirectory],
    ['%', '%'],
  ])
}

/** Replaces specifiers; an unknown one stays as it is, like a lone `%` at the end. */
export function expandSpecifiers(text: string, specifiers: Specifiers): string {
  return text.replace(/%([^])/g, (all, letter: string) => specifiers.get(letter) ?? all)
}
