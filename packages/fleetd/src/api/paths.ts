/** The name in a path that points at an item of the collection `base`; `undefined` for any other path. */
export function itemPath(base: string, path: string): string | undefined {
  if (!path.startsWith(`${base}/`)) return undefined
  const item = path.slice(base.length + 1)
  return item === '' || item.includes('/') ? undefined : item
}

const METADATA_PATH = /^\/([^/]+)\/metadata\/([A-Za-z0-9_.-]+)$/

/** Machine and key of a JSON-patch path `/<machine>/metadata/<key>`; `undefined` when it has not that form. */
export function metadataPath(path: string): { machineID: string; key: string } | undefined {
  const match = METADATA_PATH.exec(path)
  const [, machineID, key] = match ?? []
  return machineID === undefined || key === undefined ? undefined : { machineID, key }
}
