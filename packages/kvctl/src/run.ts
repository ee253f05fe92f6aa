import { parseOptions } from './args/options.ts'
import type { Options } from './args/options.ts'
import { GLOBAL_OPTIONS, HELP } from './args/specs.ts'
import { COMMANDS } from './commands.ts'
import type { Command, Group } from './commands.ts'
import { EXIT, ExitError } from './context.ts'
import type { Io } from './context.ts'
import { commandHelp, groupHelp, programHelp } from './help.ts'

const PROGRAM = 'kvctl'
/** The version of the command line this one answers like; scripts compare it. */
const ETCDCTL_VERSION = '2.3.8'

/**
 * Reads the words as codegangsta/cli does and runs the command. Wrong usage prints
 * `Incorrect Usage.` and the help on stdout and exits 0, as in the original.
 */
export async function runCommandLine(argv: readonly string[], io: Io): Promise<number> {
  const parsed = parseOptions(GLOBAL_OPTIONS, argv)
  const help = programText()
  if (parsed.type === 'wrong') return say(io, `Incorrect Usage.\n\n${help}`)
  if (parsed.type === 'twice') return say(io, `${parsed.message}\n${help}`)
  const { options: global, rest } = parsed
  if (global.bool('help')) return say(io, help)
  if (global.bool('version')) return say(io, `etcdctl version ${ETCDCTL_VERSION}\n`)
  const [word, ...args] = rest
  if (word === undefined) return say(io, help)
  if (isHelp(word)) return say(io, args[0] === undefined ? help : topic(COMMANDS, args[0], PROGRAM))
  const found = COMMANDS.find(({ name }) => name === word)
  if (found === undefined) return say(io, topic(COMMANDS, word, PROGRAM))
  if ('commands' in found) return runGroup(found, { args, global, io })
  return runCommand(found, `${PROGRAM} ${word}`, { args, global, io })
}

interface Call {
  readonly args: readonly string[]
  readonly global: Options
  readonly io: Io
}

async function runGroup(group: Group, call: Call): Promise<number> {
  const path = `${PROGRAM} ${group.name}`
  const help = groupHelp(path, group.usage, group.commands)
  const parsed = parseOptions([HELP], call.args)
  if (parsed.type === 'wrong') return say(call.io, `Incorrect Usage.\n\n${help}`)
  if (parsed.type === 'twice') return say(call.io, `${parsed.message}\n\n${help}`)
  const [word, ...args] = parsed.rest
  if (parsed.options.bool('help') || word === undefined) return say(call.io, help)
  if (isHelp(word)) {
    return say(call.io, args[0] === undefined ? help : topic(group.commands, args[0], path))
  }
  const found = group.commands.find(({ name }) => name === word)
  if (found === undefined) return say(call.io, topic(group.commands, word, path))
  return runCommand(found, `${path} ${word}`, { ...call, args })
}

async function runCommand(command: Command, path: string, call: Call): Promise<number> {
  const { args, global, io } = call
  const specs = [...command.options, HELP]
  const help = commandHelp(path, { ...command, options: specs })
  const parsed = command.parse(specs, args)
  if (parsed.type === 'wrong') return say(io, `Incorrect Usage.\n\n${help}`)
  if (parsed.type === 'twice') return say(io, `${parsed.message}\n\n${help}`)
  if (parsed.options.bool('help')) return say(io, help)
  const run = await command.load()
  try {
    return await run({ io, global, options: parsed.options, args: parsed.rest })
  } catch (error) {
    if (!(error instanceof ExitError)) throw error
    io.stderr(error.message)
    return error.exitCode
  }
}

function isHelp(word: string): boolean {
  return word === 'help' || word === 'h'
}

function say(io: Io, text: string): number {
  io.stdout(text)
  return EXIT.success
}

function programText(): string {
  return programHelp(PROGRAM, ETCDCTL_VERSION, COMMANDS, GLOBAL_OPTIONS)
}

function topic(commands: readonly (Command | Group)[], word: string, path: string): string {
  const found = commands.find(({ name }) => name === word)
  if (found === undefined) return `No help topic for '${word}'\n`
  const own = `${path} ${word}`
  if ('commands' in found) return groupHelp(own, found.usage, found.commands)
  return commandHelp(own, { ...found, options: [...found.options, HELP] })
}
