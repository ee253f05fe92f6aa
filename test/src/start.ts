// `npm start`: a cluster to try things with. See README.md beside this folder.
import { parseArgs } from 'node:util'
import { enter } from './launch/exec.ts'
import { runLocal } from './launch/local.ts'
import { runMachines } from './launch/machines.ts'

const USAGE = `usage: npm start -- [--machines N]
       npm start -- exec mN [COMMAND ...]

Without options: one kvd and three fleetd as processes of yours, no root and no systemd needed.
--machines N   N booted machines with real systemd, in namespaces of their own (1 to 9; needs root)
exec mN        runs a command, or a shell, in a machine of a running \`--machines\` cluster
`
const MACHINES_MAX = 9

async function main(argv: readonly string[]): Promise<number> {
  if (argv[0] === 'exec') return enter(argv.slice(1))
  const parsed = parse(argv)
  if (typeof parsed === 'string') {
    process.stderr.write(`flotilla: ${parsed}\n${USAGE}`)
    return 2
  }
  if (parsed.help) {
    process.stdout.write(USAGE)
    return 0
  }
  return parsed.machines === undefined ? runLocal(process.env) : runMachines(parsed.machines)
}

function parse(argv: readonly string[]): string | { help: boolean; machines: number | undefined } {
  try {
    const { values } = parseArgs({
      args: [...argv],
      options: { help: { type: 'boolean', short: 'h' }, machines: { type: 'string' } },
    })
    const { help = false, machines } = values
    if (machines === undefined) return { help, machines }
    const count = Number(machines)
    const fits = Number.isInteger(count) && count >= 1 && count <= MACHINES_MAX
    return fits ? { help, machines: count } : `--machines takes 1 to ${MACHINES_MAX}`
  } catch (error) {
    if (error instanceof TypeError) return error.message
    throw error
  }
}

// Not exitCode: a start-up that was interrupted may still be waiting for something.
process.exit(await main(process.argv.slice(2)))
