import { spawn } from 'node:child_process'
import { runningMachines } from '../harness/cgroup.ts'
import { isRoot } from '../harness/host.ts'
import { enterCommand } from '../harness/enter.ts'

/** Runs of `npm start -- --machines N` are called so. */
export const RUN_KIND = 'start'

/**
 * `npm start -- exec mN COMMAND`: runs a command in a machine of the cluster that is up, with this terminal
 * as its own. Gives its exit status, or 1 with a message when there is no such machine.
 */
export async function enter(argv: readonly string[]): Promise<number> {
  const [name = '', ...command] = argv
  const found = isRoot() ? find(name) : 'entering a machine needs root'
  if (typeof found === 'string') {
    process.stderr.write(`flotilla: ${found}\n`)
    return 1
  }
  const terminal = { TERM: process.env['TERM'] ?? 'dumb' }
  const [nsenter = '', ...args] = enterCommand(found, terminal)
  const what = command.length > 0 ? command : ['bash', '--login']
  const child = spawn(nsenter, [...args, ...what], { stdio: 'inherit' })
  // Ctrl-C is for the command: the terminal sends it to both.
  process.on('SIGINT', () => undefined)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 1))
  })
}

/** The systemd of the named machine, or why there is none to enter. */
function find(name: string): number | string {
  const machines = runningMachines(`flotilla-${RUN_KIND}-`)
  const runs = [...new Set(machines.map((machine) => machine.runName))]
  if (runs.length === 0) return 'no cluster is up: start one with npm start -- --machines 3'
  if (runs.length > 1) return `more than one cluster is up: ${runs.join(', ')}`
  const machine = machines.find((one) => one.machine === name)
  const names = machines.map((one) => one.machine).toSorted()
  return machine?.leader ?? `there is no machine "${name}", only ${names.join(', ')}`
}
