import { readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'

/** The machine's ID, `/etc/machine-id`. Throws when the file is missing or empty. */
export async function readMachineID(path = '/etc/machine-id'): Promise<string> {
  const id = (await readFile(path, 'utf8')).trim()
  if (id === '') throw new Error(`${path} is empty`)
  return id
}

/** First global IPv4 address of the interface with the first default route; empty when there is none. */
export async function detectPublicIP(): Promise<string> {
  let routes = ''
  try {
    routes = await readFile('/proc/net/route', 'utf8')
  } catch {
    return ''
  }
  const name = defaultInterface(routes)
  const addresses = name === undefined ? [] : (networkInterfaces()[name] ?? [])
  return addresses.find((it) => it.family === 'IPv4' && isGlobal(it.address))?.address ?? ''
}

/** Name of the interface with the first default route in the kernel's table (`/proc/net/route`). */
export function defaultInterface(routes: string): string | undefined {
  const rows = routes
    .split('\n')
    .slice(1)
    .map((line) => line.split('\t'))
  return rows.find(
    ([, destination, , , , , , mask]) => destination === '00000000' && mask === '00000000',
  )?.[0]
}

function isGlobal(address: string): boolean {
  return !address.startsWith('127.') && !address.startsWith('169.254.')
}
