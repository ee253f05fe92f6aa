import { FLEET_VERSION } from './version.ts'
import { normalize, UsageError } from './arguments.ts'
import type { Client } from './client/types.ts'
import { errorText, logTime, type Command, type Context, type Flags } from './context.ts'
import { createProgram, type Chosen } from './program.ts'

/** fleetctl: one command, its exit code. */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', endWithReader)
  let chosen: Chosen | undefined
  const program = createProgram(env, (choice) => {
    chosen = choice
  })
  try {
    program.parse(normalize(argv), { from: 'user' })
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`Error: ${error.message}\n${program.helpInformation()}`)
    return 1
  }
  if (chosen === undefined) {
    process.stdout.write(program.helpInformation())
    return 0
  }
  return await run(chosen, env)
}

/** A reader that has seen enough (`fleetctl list-units | head`) ends the command as it would end any other. */
function endWithReader(error: NodeJS.ErrnoException): never {
  process.exit(error.code === 'EPIPE' ? 141 : 1)
}

/** Commands by name; only the one that is asked for is loaded. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  cat: async () => (await import('./commands/cat.ts')).cat,
  destroy: async () => (await import('./commands/destroy.ts')).destroy,
  'fd-forward': async () => (await import('./commands/fd-forward.ts')).fdForward,
  journal: async () => (await import('./commands/journal.ts')).journal,
  'list-machines': async () => (await import('./commands/list-machines.ts')).listMachines,
  'list-unit-files': async () => (await import('./commands/list-unit-files.ts')).listUnitFiles,
  'list-units': async () => (await import('./commands/list-units.ts')).listUnits,
  load: async () => (await import('./commands/load.ts')).load,
  restart: async () => (await import('./commands/restart.ts')).restart,
  ssh: async () => (await import('./commands/ssh.ts')).ssh,
  start: async () => (await import('./commands/start.ts')).start,
  status: async () => (await import('./commands/status.ts')).status,
  stop: async () => (await import('./commands/stop.ts')).stop,
  submit: async () => (await import('./commands/submit.ts')).submit,
  unload: async () => (await import('./commands/unload.ts')).unload,
  verify: async () => await Promise.resolve(verify),
  version: async () => await Promise.resolve(version),
}

async function run(chosen: Chosen, env: NodeJS.ProcessEnv): Promise<number> {
  const command = await COMMANDS[chosen.name]?.()
  if (command === undefined) throw new Error(`command ${chosen.name} has no implementation`)
  let client: Promise<Client> | undefined
  const log: Context['log'] = (level, message) => {
    process.stderr.write(`${logTime(new Date())} ${level} fleetctl: ${message}\n`)
  }
  const context: Context = {
    options: chosen.globals,
    env,
    client: async () => {
      client ??= open(chosen, log)
      return await client
    },
    print: (line) => void process.stdout.write(`${line}\n`),
    write: (text) => void process.stdout.write(text),
    tell: (line) => void process.stderr.write(`${line}\n`),
    log,
  }
  try {
    return await command(context, flagsOf(chosen), chosen.args)
  } catch (error) {
    // Commands word the failures they expect; this is the one they all share.
    if (!(error instanceof OpenError)) throw error
    context.tell(`Unable to initialize client: ${error.message}`)
    return 1
  } finally {
    // A client that could not be opened has nothing to close; its error is on its way already.
    client?.then((opened) => opened.close()).catch(() => undefined)
  }
}

/** The client cannot be made from the options given. */
class OpenError extends Error {
  override readonly name = 'OpenError'
}

async function open(chosen: Chosen, log: Context['log']): Promise<Client> {
  const { openClient } = await import('./client/open.ts')
  let client: Client
  try {
    client = await openClient(chosen.globals, (message) => log('WARN', message))
  } catch (error) {
    throw new OpenError(errorText(error))
  }
  if (chosen.globals.driver.toLowerCase() === 'etcd') {
    const { checkVersion } = await import('./version-check.ts')
    await checkVersion(client, log)
  }
  return client
}

function flagsOf(chosen: Chosen): Flags {
  return {
    text: (name) => {
      const value = chosen.flags.get(name)
      return typeof value === 'string' ? value : ''
    },
    isOn: (name) => chosen.flags.get(name) === true,
  }
}

const version: Command = async (context) => {
  context.print(`fleetctl version ${FLEET_VERSION}`)
  return await Promise.resolve(0)
}

const verify: Command = async (context) => {
  context.tell('Command "verify" is deprecated, DEPRECATED - No longer works')
  context.tell('WARNING: The signed/verified units feature is DEPRECATED and cannot be used.')
  return await Promise.resolve(2)
}
