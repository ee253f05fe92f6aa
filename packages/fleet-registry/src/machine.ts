/** A machine of the cluster as its record in the registry describes it. */
export interface Machine {
  readonly id: string
  readonly publicIP: string
  readonly metadata: ReadonlyMap<string, string>
  readonly capabilities: ReadonlyMap<string, boolean>
  readonly version: string
}

/** Characters of a machine ID in listings and in a short `MachineID=`. */
export const SHORT_ID_LENGTH = 8

/** Whether `wanted` names the machine: its whole ID or exactly the first eight characters. */
export function matchesMachineID(id: string, wanted: string): boolean {
  return wanted === id || (id.length > SHORT_ID_LENGTH && wanted === id.slice(0, SHORT_ID_LENGTH))
}

/** Whether a machine's metadata has, for every required key, one of the wanted values. */
export function hasMetadata(
  metadata: ReadonlyMap<string, string>,
  required: ReadonlyMap<string, readonly string[]>,
): boolean {
  for (const [key, values] of required) {
    const value = metadata.get(key)
    if (value === undefined || !values.includes(value)) return false
  }
  return true
}

/** Static metadata overlaid with keys set through the API; an empty value removes its key. */
export function mergeMetadata(
  own: ReadonlyMap<string, string>,
  overlay: ReadonlyMap<string, string>,
): Map<string, string> {
  const merged = new Map(own)
  for (const [key, value] of overlay) {
    if (value === '') merged.delete(key)
    else merged.set(key, value)
  }
  return merged
}
