import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'

/**
 * ID of the machine this command runs on, if its units are systemd's: what a fleetd here is configured with, else
 * `/etc/machine-id`. Undefined when a fleetd here runs its units itself, because systemctl knows nothing of them.
 */
export async function localMachineID(
  env: Readonly<Record<string, string | undefined>>,
): Promise<string | undefined> {
  const file = await readOptional('/etc/fleet/fleet.conf')
  const setting = (key: string): string => {
    const line = new RegExp(`^\\s*${key}\\s*=\\s*["']?([^"'\\n]*)`, 'm').exec(file)
    return (env[`FLEET_${key.toUpperCase()}`] ?? line?.[1] ?? '').trim()
  }
  if (setting('unit_manager') === 'embedded') return undefined
  const configured = setting('machine_id')
  const id = configured === '' ? (await readOptional('/etc/machine-id')).trim() : configured
  return id === '' ? undefined : id
}

async function readOptional(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return ''
  }
}

/** Runs a program on this terminal; gives its exit code. Rejects when it cannot be run. */
export async function runHere(program: string, args: readonly string[]): Promise<number> {
  return await new Promise((resolve, reject) => {
    const child = spawn(program, [...args], { stdio: 'inherit' })
    child.once('error', reject)
    child.once('exit', (code) => resolve(code ?? 1))
  })
}
