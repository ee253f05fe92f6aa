import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Bind } from './machine-files.ts'
import { Machine } from './machine.ts'
import { cut, healAll, setUpNetwork } from './network.ts'
import { must } from './process.ts'
import type { Sandbox } from './sandbox.ts'

/** What the cluster consists of. */
export interface ClusterOptions {
  /** How many machines; they are called m1, m2 … and have the addresses 10.98.0.1, 10.98.0.2 … */
  readonly machines: number
  /** Host files shown in every machine, the original etcd for one. */
  readonly binds?: readonly Bind[]
  /** Lays files before the first boot; gets the machine and all of them. */
  readonly prepare?: (machine: Machine, machines: readonly Machine[]) => void | Promise<void>
}

/** Machines on one bridge inside a sandbox. One cluster per sandbox. */
export class Cluster {
  readonly machines: readonly Machine[]

  private constructor(machines: readonly Machine[]) {
    this.machines = machines
  }

  /** Makes and boots the machines, all at once, and waits for all. */
  static async boot(sandbox: Sandbox, options: ClusterOptions): Promise<Cluster> {
    // In memory: the machines' fsyncs cost nothing, and the kernel forgets it with the sandbox.
    await must(['mount', '-t', 'tmpfs', 'tmpfs', sandbox.directory])
    await setUpNetwork()
    const names = Array.from({ length: options.machines }, (_, index) => `m${index + 1}`)
    const create = (name: string, index: number) => {
      const number = index + 1
      const identity = { name, number, machineID: machineIDOf(number) }
      return Machine.create(sandbox, identity, { names, binds: options.binds ?? [] })
    }
    const machines = await Promise.all(names.map(create))
    for (const machine of machines) await options.prepare?.(machine, machines)
    await Promise.all(machines.map((machine) => machine.boot()))
    return new Cluster(machines)
  }

  /** The n-th machine, from 1. */
  machine(number: number): Machine {
    const found = this.machines[number - 1]
    if (found === undefined) throw new RangeError(`there is no machine ${number}`)
    return found
  }

  /** Cuts the network between two groups of machines; `port` leaves all but one TCP port alone. */
  partition(left: readonly Machine[], right: readonly Machine[], port?: number): Promise<void> {
    const names = (machines: readonly Machine[]) => machines.map((machine) => machine.name)
    return cut(names(left), names(right), port)
  }

  /** Undoes every partition. */
  heal(): Promise<void> {
    return healAll()
  }

  /** Writes each machine's console and journal into a directory, for whoever reads a failed test. */
  async saveEvidence(directory: string): Promise<void> {
    mkdirSync(directory, { recursive: true })
    for (const machine of this.machines)
      writeFileSync(join(directory, `${machine.name}.log`), await machine.evidence())
  }

  /** Ends all machines at once. A process that has booted machines does not end while they run. */
  async cutPower(): Promise<void> {
    const on = this.machines.filter((machine) => machine.isRunning)
    await Promise.all(on.map((machine) => machine.powerCut()))
  }

  /** Orderly shutdown of all machines. */
  async powerOff(): Promise<void> {
    const on = this.machines.filter((machine) => machine.isRunning)
    await Promise.all(on.map((machine) => machine.powerOff()))
  }
}

/** The identity of the n-th machine: sorted as they are, and different in the first eight digits, which is what fleet shows. */
export function machineIDOf(number: number): string {
  const rest = createHash('sha256').update(`machine ${number}`).digest('hex')
  return number.toString(16).padStart(2, '0') + rest.slice(0, 30)
}
