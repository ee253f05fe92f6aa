import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { Cluster, type ClusterOptions } from '../../src/harness/cluster.ts'
import { waitFor } from '../../src/harness/deadline.ts'
import type { Machine } from '../../src/harness/machine.ts'
import type { Result } from '../../src/harness/process.ts'
import type { Sandbox } from '../../src/harness/sandbox.ts'
import { installFlotilla, untilJoined } from '../../src/harness/software.ts'

const MOVE_MS = 60_000

/** Settings of fleetd by machine, on top of those that every machine needs. */
export type Settings = (machine: Machine) => Readonly<Record<string, string>>

/** Machines with our programs, three unless told, joined; they end with the test `t`. */
export async function bootFleet(
  sandbox: Sandbox,
  t: Test,
  settings: Settings,
  machines = 3,
): Promise<Cluster> {
  const prepare = (machine: Machine, all: readonly Machine[]) =>
    installFlotilla(machine, all, settings(machine))
  const cluster = await bootCluster(sandbox, t, { machines, prepare })
  await untilJoined(cluster)
  return cluster
}

/** Machines that end with the test `t`. When one of its tests fails, their journals are saved and named. */
export async function bootCluster(
  sandbox: Sandbox,
  t: Test,
  options: ClusterOptions,
): Promise<Cluster> {
  const cluster = await Cluster.boot(sandbox, options)
  t.teardown(async () => {
    if (!t.passing()) {
      const directory = process.env['FLOTILLA_EVIDENCE'] ?? mkdtempSync(join(tmpdir(), 'evidence-'))
      await cluster.saveEvidence(directory)
      t.comment(`the machines' journals are in ${directory}`)
    }
    await cluster.cutPower()
  })
  return cluster
}

/** Runs `fleetctl WORDS` on a machine, as if typed there. */
export function fleetctl(machine: Machine, words: string): Promise<Result> {
  return machine.run(['fleetctl', ...words.split(' ')], { timeoutMs: MOVE_MS })
}

/** What fleetctl shows for a machine: `00112233.../10.98.0.1`. */
export function label(machine: Machine): string {
  return `${machine.machineID.slice(0, 8)}.../${machine.address}`
}

/** A table without its legend, as rows of cells. */
export function rows(table: string): string[][] {
  const lines = table.split('\n').filter((line) => line !== '')
  return lines.map((line) => line.split(/\t+/).filter((cell) => cell !== ''))
}

/**
 * Where units are active, as `fleetctl list-units` says: name → names of the machines, in their order.
 * Units that are not active are left out.
 */
export async function placement(cluster: Cluster, asked: Machine): Promise<Map<string, string[]>> {
  const fields = 'list-units --no-legend --fields=unit,machine,active'
  const { stdout } = await fleetctl(asked, fields)
  const found = new Map<string, string[]>()
  for (const [unit = '', where, active] of rows(stdout)) {
    const machine = cluster.machines.find((one) => label(one) === where)
    if (active !== 'active' || machine === undefined) continue
    found.set(unit, [...(found.get(unit) ?? []), machine.name].toSorted())
  }
  return found
}

/** Waits until the units whose names match are active exactly where `isRight` wants them. */
export function untilPlaced(
  cluster: Cluster,
  options: {
    readonly asked: Machine
    readonly units: RegExp
    readonly isRight: (placed: ReadonlyMap<string, readonly string[]>) => boolean
  },
): Promise<ReadonlyMap<string, readonly string[]>> {
  const look = async () => {
    const all = await placement(cluster, options.asked)
    const placed = new Map([...all].filter(([unit]) => options.units.test(unit)))
    return options.isRight(placed)
      ? { done: placed }
      : { seen: JSON.stringify(Object.fromEntries(all)) }
  }
  return waitFor(`${options.units} to be in their places`, look, { timeoutMs: MOVE_MS })
}

/** A unit that sleeps for ever, with the given lines in its [X-Fleet] section. */
export function sleeper(...requirements: string[]): string {
  const lines = ['[Unit]', 'Description=Sleeps', '', '[Service]', 'ExecStart=/bin/sleep infinity']
  const fleet = requirements.length > 0 ? ['', '[X-Fleet]', ...requirements] : []
  return `${[...lines, ...fleet].join('\n')}\n`
}
