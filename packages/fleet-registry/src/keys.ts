/** Prefix of a fleet registry in the store unless `etcd_key_prefix` says otherwise. */
export const DEFAULT_KEY_PREFIX = '/_coreos.com/fleet/'

/** The keys of one registry (fleet registry/*.go). Every method gives an absolute key of the store. */
export interface Keys {
  /** Absolute, without a trailing slash; empty for the root. */
  readonly prefix: string
  readonly jobs: string
  readonly unitFiles: string
  readonly allStates: string
  readonly machines: string
  readonly lease: string
  readonly engineVersion: string
  /** Directory of our own additions; a fleet of the original does not look at it. */
  readonly extension: string
  unitFile(hash: string): string
  job(name: string): string
  jobObject(name: string): string
  targetState(name: string): string
  target(name: string): string
  jobState(name: string): string
  legacyState(name: string): string
  states(name: string): string
  state(name: string, machineID: string): string
  machine(machineID: string): string
  machineObject(machineID: string): string
  metadata(machineID: string, key: string): string
  /** TTL key with the URL under which the fleetd of a machine answers (extension). */
  apiURL(machineID: string): string
}

/**
 * Whether a name can stand in a key. Clients of the store clean keys: with a slash or dots alone it would be another key,
 * or a directory above, which a removal takes away with everything in it.
 */
export function isKeyElement(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !name.includes('/')
}

/** Keys below a prefix; slashes at its ends do not matter. */
export function registryKeys(prefix: string): Keys {
  const base = prefix.replaceAll(/^\/+|\/+$/g, '')
  const root = base === '' ? '' : `/${base}`
  const job = (name: string, last: string): string => `${root}/job/${name}/${last}`
  return {
    prefix: root,
    jobs: `${root}/job`,
    unitFiles: `${root}/unit`,
    allStates: `${root}/states`,
    machines: `${root}/machines`,
    lease: `${root}/lease/engine-leader`,
    engineVersion: `${root}/engine/version`,
    extension: `${root}/flotilla`,
    unitFile: (hash) => `${root}/unit/${hash}`,
    job: (name) => `${root}/job/${name}`,
    jobObject: (name) => job(name, 'object'),
    targetState: (name) => job(name, 'target-state'),
    target: (name) => job(name, 'target'),
    jobState: (name) => job(name, 'job-state'),
    legacyState: (name) => `${root}/state/${name}`,
    states: (name) => `${root}/states/${name}`,
    state: (name, machineID) => `${root}/states/${name}/${machineID}`,
    machine: (machineID) => `${root}/machines/${machineID}`,
    machineObject: (machineID) => `${root}/machines/${machineID}/object`,
    metadata: (machineID, key) => `${root}/machines/${machineID}/metadata/${key}`,
    apiURL: (machineID) => `${root}/flotilla/api/${machineID}`,
  }
}
