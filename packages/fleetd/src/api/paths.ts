import { isKeyElement } from '@flotilla/fleet-registry'

/** The name in a path that points at an item of the collection `base`; `undefined` for any other path. */
export function itemPath(base: string, path: string): string | undefined {
  if (!path.startsWith(`${base}/`)) return undefined
  const item = path.slice(base.length + 1)
  return isKeyElement(item) ? item : undefined
}

const METADATA_PATH = /^\/([^/]+)\/metadata\/([A-Za-z0-9_.-]+)$/

/** Machine and key of a JSON-patch path `/<machine>/metadata/<key>`; `undefined` when it has not that form. */
export function metadataPath(path: string): { machineID: string; key: string } | undefined {
  const match = METADATA_PATH.exec(path)
  const [, machineID, key] = match ?? []
  if (machineID === undefined || key === undefined) return undefined
  return isKeyElement(machineID) && isKeyElement(key) ? { machineID, key } : undefined
}
