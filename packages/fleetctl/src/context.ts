import type { Client, Machine } from './client/types.ts'
import type { GlobalOptions } from './options.ts'

/** What a command has to work with. */
export interface Context {
  readonly options: GlobalOptions
  readonly env: Readonly<Record<string, string | undefined>>
  /** The cluster; opened at the first use. Rejects with ClientError. */
  readonly client: () => Promise<Client>
  /** A result, on stdout; a newline is added. */
  readonly print: (line: string) => void
  /** Text on stdout as it is. */
  readonly write: (text: string) => void
  /** A message for people, on stderr. */
  readonly tell: (line: string) => void
  /** A log line with time and level, on stderr. */
  readonly log: (level: 'INFO' | 'WARN' | 'ERROR', message: string) => void
}

/** Flags of a command: texts, and switches. */
export interface Flags {
  text(name: string): string
  isOn(name: string): boolean
}

/** A command: gives the exit code. */
export type Command = (context: Context, flags: Flags, args: readonly string[]) => Promise<number>

/** Time stamp of a log line, `YYYY/MM/DD HH:MM:SS`, local time. */
export function logTime(now: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const date = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join('/')
  return `${date} ${[now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join(':')}`
}

const SHORT_ID_LENGTH = 8

/** A machine ID as listings show it: eight characters and dots, or whole. */
export function machineLabel(id: string, isFull: boolean): string {
  return isFull ? id : `${id.slice(0, SHORT_ID_LENGTH)}...`
}

/** `11aa22bb.../10.0.0.1`; a machine without address or unknown by now is its ID alone. */
export function machineLegend(
  machines: ReadonlyMap<string, Machine>,
  id: string,
  isFull: boolean,
): string {
  const ip = machines.get(id)?.ip ?? ''
  const label = machineLabel(id, isFull)
  return ip === '' ? label : `${label}/${ip}`
}

/** The cluster's machines by ID. */
export async function machinesByID(client: Client): Promise<Map<string, Machine>> {
  return new Map((await client.machines()).map((machine) => [machine.id, machine]))
}

/** The same for a line about a unit that is where it should be: without an answer its machine is told without address. */
export async function machinesIfTold(client: Client): Promise<Map<string, Machine>> {
  try {
    return await machinesByID(client)
  } catch {
    return new Map()
  }
}

/** The text of an error. */
export function errorText(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
