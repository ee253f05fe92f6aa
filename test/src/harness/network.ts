import { mkdirSync } from 'node:fs'
import { must } from './process.ts'

const BRIDGE = 'br0'
const TABLE = 'flotilla'
/** Where the sandbox itself sits on the machines' network. */
export const HOST_ADDRESS = '10.98.0.254'

/** The address of the n-th machine, from 1. */
export function addressOf(number: number): string {
  if (!Number.isInteger(number) || number < 1 || number > 200)
    throw new RangeError(`machine ${number}`)
  return `10.98.0.${number}`
}

/** The bridge that nspawn puts machines on. */
export function bridgeName(): string {
  return BRIDGE
}

/** The host's end of a machine's link; names are cut at 15 characters, so machines' names are short. */
function linkOf(machine: string): string {
  return `vb-${machine}`
}

/** Makes the sandbox's network and the tmpfs that nspawn insists on where /run is on a disk. */
export async function setUpNetwork(): Promise<void> {
  const propagate = '/run/systemd/nspawn'
  mkdirSync(propagate, { recursive: true })
  await must(['mount', '-t', 'tmpfs', 'tmpfs', propagate])
  await must(['ip', 'link', 'set', 'lo', 'up'])
  await must(['ip', 'link', 'add', BRIDGE, 'type', 'bridge'])
  await must(['ip', 'address', 'add', `${HOST_ADDRESS}/24`, 'dev', BRIDGE])
  await must(['ip', 'link', 'set', BRIDGE, 'up'])
}

/** Takes a machine's cable out, or puts it back. */
export async function setLink(machine: string, state: 'up' | 'down'): Promise<void> {
  await must(['ip', 'link', 'set', linkOf(machine), state])
}

/**
 * Drops all IP packets between the two sides, both ways; `port` narrows it to one TCP port.
 * ARP is left alone, or hosts would stay "unreachable" for a second after a heal.
 */
export async function cut(
  left: readonly string[],
  right: readonly string[],
  port?: number,
): Promise<void> {
  const set = (names: readonly string[]) =>
    `{ ${names.map((name) => `"${linkOf(name)}"`).join(', ')} }`
  const match = port === undefined ? 'ether type ip' : `ether type ip tcp dport ${port}`
  const rule = (from: readonly string[], to: readonly string[]) =>
    `add rule bridge ${TABLE} fw iifname ${set(from)} oifname ${set(to)} ${match} drop`
  const lines = [
    `add table bridge ${TABLE}`,
    `add chain bridge ${TABLE} fw { type filter hook forward priority 0; }`,
    rule(left, right),
    rule(right, left),
  ]
  await must(['nft', '-f', '-'], { input: `${lines.join('\n')}\n` })
}

/** Takes every cut away; without any it does nothing. */
export async function healAll(): Promise<void> {
  const lines = [`add table bridge ${TABLE}`, `delete table bridge ${TABLE}`]
  await must(['nft', '-f', '-'], { input: `${lines.join('\n')}\n` })
}
