import { parseUnit, parseUnitName, serializeUnit, type UnitOption } from '@flotilla/systemd'
import { matchGlob } from './glob.ts'

const SECTION = 'X-Fleet'

/** What the `[X-Fleet]` section of a unit asks of the scheduler, specifiers already replaced. */
export interface Requirements {
  /** The only machine that may run the unit: full ID or its first eight characters. */
  readonly machineID: string | undefined
  /** Units that must be scheduled on the same machine. */
  readonly peers: readonly string[]
  /** Glob patterns of units that must not be on the same machine. */
  readonly conflicts: readonly string[]
  /** Glob patterns of units that leave the machine when this one is placed there. */
  readonly replaces: readonly string[]
  /** Every key must have one of its values. */
  readonly metadata: ReadonlyMap<string, readonly string[]>
  readonly global: boolean
}

/** Keys of `[X-Fleet]` with their values; a value in quotes is a list of quoted strings, any other is one string. */
export function fleetValues(options: readonly UnitOption[]): Map<string, string[]> {
  const values = new Map<string, string[]>()
  for (const option of options) {
    if (option.section !== SECTION) continue
    const list = values.get(option.name) ?? []
    list.push(...splitQuoted(option.value))
    values.set(option.name, list)
  }
  return values
}

/** fleet job/job.go: elements are separated by single blanks, and quotes are dropped wherever they stand. */
function splitQuoted(value: string): string[] {
  if (value.length < 2 || !value.startsWith('"') || !value.endsWith('"')) return [value]
  const parts: string[] = []
  let part = ''
  let quoted = false
  for (const char of value) {
    if (char === '"') quoted = !quoted
    else if (char === ' ' && !quoted) {
      parts.push(part)
      part = ''
    } else part += char
  }
  parts.push(part)
  return parts
}

/** Values of the given forms of a key, one form after the other. */
type Values = (...keys: string[]) => string[]

/** Requirements of the unit `name`; the name only matters for the specifiers `%n %N %p %i`. */
export function readRequirements(name: string, options: readonly UnitOption[]): Requirements {
  const raw = fleetValues(options)
  const replace = specifiers(name)
  const values: Values = (...keys) => keys.flatMap((key) => raw.get(key) ?? []).map(replace)
  return {
    machineID: values('MachineID', 'X-ConditionMachineID', 'X-ConditionMachineBootID')[0],
    peers: values('X-ConditionMachineOf', 'MachineOf'),
    conflicts: values('X-Conflicts', 'Conflicts').flatMap((value) =>
      value.split(/\s+/).filter((word) => word !== ''),
    ),
    replaces: values('Replaces'),
    metadata: metadataRequirements(values('X-ConditionMachineMetadata', 'MachineMetadata')),
    global: isTrue(values('Global').at(-1)),
  }
}

/** Go's order of replacement: %n, %N, %p, %i; a name without suffix leaves the specifiers alone. */
function specifiers(name: string): (value: string) => string {
  const unit = parseUnitName(name)
  if (unit === undefined) return (value) => value
  const pairs = [
    ['%n', unit.fullName],
    ['%N', unit.name],
    ['%p', unit.prefix],
    ['%i', unit.instance],
  ] as const
  return (value) => pairs.reduce((text, [from, to]) => text.replaceAll(from, () => to), value)
}

function metadataRequirements(values: readonly string[]): Map<string, string[]> {
  const metadata = new Map<string, string[]>()
  for (const value of values) {
    const parts = value.split('=')
    const [key, wanted] = parts
    if (parts.length !== 2 || !key || !wanted) continue
    const list = metadata.get(key)
    if (list === undefined) metadata.set(key, [wanted])
    else if (!list.includes(wanted)) list.push(wanted)
  }
  return metadata
}

const TRUE = new Set(['true', 'yes', '1', 'on', 't'])

function isTrue(value: string | undefined): boolean {
  return value !== undefined && TRUE.has(value.toLowerCase())
}

const KNOWN_KEYS = new Set([
  'MachineID',
  'X-ConditionMachineID',
  'X-ConditionMachineBootID',
  'MachineOf',
  'X-ConditionMachineOf',
  'MachineMetadata',
  'X-ConditionMachineMetadata',
  'Conflicts',
  'X-Conflicts',
  'Replaces',
  'Global',
])

/** Keys of `[X-Fleet]` that fleet does not know; they are accepted, but fleetctl warns. */
export function unknownRequirements(options: readonly UnitOption[]): string[] {
  return [...fleetValues(options).keys()].filter((key) => !KNOWN_KEYS.has(key))
}

/** Why a new unit's options are refused (first rule of fleet api/units.go that fails), or `undefined`. */
export function checkOptions(options: readonly UnitOption[]): string | undefined {
  try {
    parseUnit(serializeUnit(options))
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
  // The original checks without the unit's name, so specifiers stay as they are.
  const { machineID, peers, conflicts, replaces, global } = readRequirements('', options)
  const clash = findClash(peers, conflicts, 'conflict') ?? findClash(peers, replaces, 'replace')
  if (clash !== undefined) return clash
  const pinned = machineID !== undefined
  const rules: readonly (readonly [boolean, string])[] = [
    [pinned && peers.length > 0, 'MachineID cannot be used with Peers'],
    [pinned && conflicts.length > 0, 'MachineID cannot be used with Conflicts'],
    [pinned && global, 'MachineID cannot be used with Global'],
    [pinned && replaces.length > 0, 'MachineID cannot be used with Replaces'],
    [global && peers.length > 0, 'Global cannot be used with Peers'],
    [global && replaces.length > 0, 'Global cannot be used with Replaces'],
    [conflicts.length > 0 && replaces.length > 0, 'Conflicts cannot be used with Replaces'],
  ]
  return rules.find(([broken]) => broken)?.[1]
}

function findClash(
  peers: readonly string[],
  patterns: readonly string[],
  kind: string,
): string | undefined {
  for (const peer of peers) {
    for (const pattern of patterns) {
      if (matchGlob(pattern, peer)) {
        return `unresolvable requirements: peer "${peer}" matches ${kind} "${pattern}"`
      }
    }
  }
  return undefined
}
