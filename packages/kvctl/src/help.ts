import type { OptionSpec } from './args/options.ts'

/** What a help text says about a command. */
export interface CommandHelp {
  readonly name: string
  readonly usage: string
  readonly args: string
  readonly description?: string | undefined
  readonly options: readonly OptionSpec[]
}

export interface CommandLine {
  readonly name: string
  readonly usage: string
}

const HELP_COMMAND: CommandLine = {
  name: 'help, h',
  usage: 'list the commands, or show the help of one',
}

/** The help of the program (sections and order of codegangsta/cli). */
export function programHelp(
  program: string,
  version: string,
  commands: readonly CommandLine[],
  options: readonly OptionSpec[],
): string {
  return [
    section('NAME', [`${program} - command line of the key-value store (etcd v2 API)`]),
    section('USAGE', [`${program} [global options] command [command options] [arguments...]`]),
    section('VERSION', [version]),
    section('COMMANDS', table(commandRows(commands))),
    section('GLOBAL OPTIONS', table(options.map(optionRow))),
  ].join('')
}

/** The help of `member`, `user`, `role`, `auth`. */
export function groupHelp(path: string, usage: string, commands: readonly CommandLine[]): string {
  return [
    section('NAME', [`${path} - ${usage}`]),
    section('USAGE', [`${path} command [command options] [arguments...]`]),
    section('COMMANDS', table(commandRows(commands))),
    section('OPTIONS', table([['--help, -h', 'show this help']])),
  ].join('')
}

/** The help of one command. */
export function commandHelp(path: string, command: CommandHelp): string {
  const { usage, args, description, options } = command
  const words = [path, ...(options.length > 0 ? ['[command options]'] : []), args]
  return [
    section('NAME', [`${path} - ${usage}`]),
    section('USAGE', [words.join(' ').trimEnd()]),
    ...(description === undefined ? [] : [section('DESCRIPTION', description.split('\n'))]),
    ...(options.length === 0 ? [] : [section('OPTIONS', table(options.map(optionRow)))]),
  ].join('')
}

function section(title: string, lines: readonly string[]): string {
  const body = lines.map((line) => (line === '' ? '' : `   ${line}`))
  return `${title}:\n${body.join('\n')}\n\n`
}

function commandRows(commands: readonly CommandLine[]): [string, string][] {
  return [...commands, HELP_COMMAND].map(({ name, usage }) => [name, usage])
}

function optionRow({ names, kind, fallback, help }: OptionSpec): [string, string] {
  const dashed = names.map((name) => (name.length === 1 ? `-${name}` : `--${name}`)).join(', ')
  if (kind === 'bool') return [dashed, help]
  if (kind === 'list') return [`${dashed} [${dashed} option ${dashed} option]`, help]
  return [fallback ? `${dashed} "${fallback}"` : dashed, help]
}

/** Two columns, the second at the next multiple of eight, filled with tabs as Go's tabwriter does. */
function table(rows: readonly (readonly [string, string])[]): string[] {
  const indent = 3
  const widest = Math.max(...rows.map(([left]) => left.length + indent))
  const column = Math.floor(widest / 8) * 8 + 8
  return rows.map(([left, right]) => {
    const tabs = Math.ceil((column - left.length - indent) / 8)
    return `${left}${'\t'.repeat(tabs)}${right}`
  })
}
