import { Command as Program, Option } from 'commander'
import {
  COMMANDS,
  GLOBAL_FLAGS,
  variableName,
  type FlagSpec,
  type GlobalOptions,
} from './options.ts'

/** The command that was chosen, with its flags by the original's names. */
export interface Chosen {
  readonly name: string
  readonly args: readonly string[]
  readonly globals: GlobalOptions
  readonly flags: ReadonlyMap<string, string | boolean>
}

/** The command line in commander's terms. It takes what `normalize` gives. */
export function createProgram(
  env: Readonly<Record<string, string | undefined>>,
  choose: (chosen: Chosen) => void,
): Program {
  const program = new Program('fleetctl')
    .description(
      'fleetctl is a command-line interface to fleet, the cluster-wide CoreOS init system.',
    )
    .helpOption('-h, --help', 'Print usage information')
    .helpCommand(false)
    .allowExcessArguments(true)
  program.addOption(new Option('-v, --version', 'Print the version and exit'))
  for (const flag of GLOBAL_FLAGS) program.addOption(toOption(flag, env))
  program.action(() => {
    if (program.opts()['version'] !== true) return
    choose({ name: 'version', args: [], globals: globalsOf(program), flags: new Map() })
  })
  for (const spec of COMMANDS) {
    const command = program
      .command(spec.name, { hidden: spec.hidden === true })
      .description(spec.summary)
      .usage(`[flags] ${spec.args}`)
      .argument('[args...]')
      .helpOption('-h, --help', 'Print usage information')
      .allowExcessArguments(true)
    for (const flag of spec.flags) command.addOption(toOption(flag, {}))
    command.action((args: string[]) => {
      const flags = new Map(spec.flags.map((flag) => [flag.name, valueOf(command, flag)]))
      choose({ name: spec.name, args, globals: globalsOf(program), flags })
    })
  }
  return program
}

function toOption(flag: FlagSpec, env: Readonly<Record<string, string | undefined>>): Option {
  const short = flag.short === undefined ? '' : `-${flag.short}, `
  const value = flag.value === undefined ? '' : ` <${flag.value}>`
  const option = new Option(`${short}--${flag.name}${value}`, flag.usage)
  if (flag.hidden === true) option.hideHelp()
  // The environment stands between flag and default, as in the original.
  const fallback = env[variableName(flag.name)] ?? flag.default
  if (flag.value !== undefined && fallback !== undefined) option.default(fallback)
  return option
}

/** commander turns `--no-x` into a switch `x` that is on unless the flag is given. */
function valueOf(command: Program, flag: FlagSpec): string | boolean {
  const isNegated = flag.name.startsWith('no-')
  const key = (isNegated ? flag.name.slice(3) : flag.name).replaceAll(
    /-(.)/g,
    (_, letter: string) => letter.toUpperCase(),
  )
  const value: unknown = command.opts()[key]
  if (isNegated) return value === false
  return typeof value === 'string' ? value : value === true
}

function globalsOf(program: Program): GlobalOptions {
  const text = (name: string): string => {
    const flag = GLOBAL_FLAGS.find((it) => it.name === name)
    const value = flag === undefined ? '' : valueOf(program, flag)
    return typeof value === 'string' ? value : ''
  }
  return {
    driver: text('driver'),
    endpoint: text('endpoint'),
    etcdKeyPrefix: text('etcd-key-prefix'),
    keyFile: text('key-file'),
    certFile: text('cert-file'),
    caFile: text('ca-file'),
    tunnel: text('tunnel'),
    requestTimeoutSeconds: Number(text('request-timeout')) || 3,
    debug: program.opts()['debug'] === true,
  }
}
