import { readFile } from 'node:fs/promises'
import {
  awaitTermination,
  createLogger,
  FlagError,
  isJournal,
  keepWatchdog,
  notify,
  OptionError,
  parseGoFlags,
  takeListenFds,
  type FlagTable,
  type Logger,
  type Options,
} from '@flotilla/daemon'
import { FLEET_VERSION } from '@flotilla/fleet-registry'
import { ConfigError, readConfig, RETIRED_KEYS, type Config } from './config.ts'
import { readMachineID } from './identity.ts'
import { errorText } from './loop.ts'
import { FleetServer } from './server.ts'
import { openUnitManager } from './unit-manager.ts'

const FLAGS = {
  config: { type: 'string', default: '', usage: 'Path to config file.' },
  version: { type: 'bool', default: false, usage: 'Print the version and exit' },
} as const satisfies FlagTable

const USAGE = `Usage of fleetd:
  -config string
    \tPath to config file.
  -version
    \tPrint the version and exit
`

const DEFAULT_CONFIG_FILE = '/etc/fleet/fleet.conf'

/** fleetd: parses the command line, runs until a signal, gives the exit code. */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const command = parseCommand(argv)
  if (typeof command === 'number') return command
  const log = createLogger({ sink: process.stderr, journal: isJournal(env) })
  try {
    const loaded = await loadConfig(command.configFile, env)
    logOptions(log, loaded.options)
    return await run(loaded, { env, log, configFile: command.configFile })
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof OptionError)) throw error
    log.error(`configuration: ${error.message}`)
    return 1
  }
}

/** The configuration file that was asked for, or an exit code when there is nothing to run. */
function parseCommand(argv: readonly string[]): { readonly configFile: string } | number {
  try {
    const { values, rest } = parseGoFlags(FLAGS, argv)
    if (values.get('version') === 'true' || rest[0] === 'version') {
      process.stdout.write(`fleetd version ${FLEET_VERSION}\n`)
      return 0
    }
    if (rest.length > 0) {
      const hint = 'takes no arguments. Did you mean to invoke fleetctl instead?'
      process.stderr.write(`fleetd ${hint}\n${USAGE}`)
      return 1
    }
    return { configFile: values.get('config') ?? '' }
  } catch (error) {
    if (!(error instanceof FlagError)) throw error
    const isHelp = error.code === 'FLAG_HELP'
    process.stderr.write(isHelp ? USAGE : `${error.message}\n${USAGE}`)
    return isHelp ? 0 : 2
  }
}

interface LoadedConfig {
  readonly config: Config
  readonly options: Options
}

async function loadConfig(configFile: string, env: NodeJS.ProcessEnv): Promise<LoadedConfig> {
  const name = configFile === '' ? DEFAULT_CONFIG_FILE : configFile
  try {
    return readConfig(env, { name, text: await readFile(name, 'utf8') })
  } catch (error) {
    const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    if (isMissing && configFile === '') return readConfig(env)
    if (error instanceof ConfigError || error instanceof OptionError) throw error
    throw new ConfigError(`unable to use provided config file: ${errorText(error)}`)
  }
}

function logOptions(log: Logger, options: Options): void {
  log.info('fleetd: starting', { version: FLEET_VERSION, pid: process.pid })
  for (const { name, value, source } of options.given()) {
    log.info(`option: ${name}`, { value: name.includes('password') ? '***' : value, source })
  }
  for (const key of RETIRED_KEYS) {
    if (options.isSet(key)) log.error(`Config option ${key} is no longer supported - ignoring`)
  }
  if (options.bool('enable_grpc')) log.warn('enable_grpc has no effect: the store is used')
}

interface Context {
  readonly env: NodeJS.ProcessEnv
  readonly log: Logger
  readonly configFile: string
}

async function run(loaded: LoadedConfig, context: Context): Promise<number> {
  const { env, log } = context
  const { config } = loaded
  log.setLevel(config.verbosity > 0 ? 'debug' : 'info')
  const machineID = config.machineID === '' ? await readMachineID() : config.machineID
  const listenFds = takeListenFds(env, process.pid)
  const manager = await openUnitManager(config, machineID)
  const server = new FleetServer(config, { machineID, manager, log, listenFds })
  const ending = new AbortController()
  const termination = awaitTermination(process, () => process.exit(1))
  const removeHandlers = handleSignals(server, context)
  await server.listen()
  await notify(env, ['READY=1'])
  keepWatchdog(env, process.pid, ending.signal)
  const started = server.start()
  const signal = await Promise.race([
    termination.received,
    started.then(() => termination.received),
  ])
  log.info('fleetd: stopping', { signal })
  await notify(env, ['STOPPING=1'])
  await server.stop()
  await started
  ending.abort()
  removeHandlers()
  termination.close()
  log.info('fleetd: stopped')
  return 0
}

/** SIGUSR1 prints the state, SIGHUP reads the configuration again. Gives the function that takes the handlers off. */
function handleSignals(server: FleetServer, { env, log, configFile }: Context): () => void {
  const onDump = (): void => {
    process.stdout.write(`${server.dump()}\n`)
  }
  let reloading: Promise<void> = Promise.resolve()
  const onReload = (): void => {
    log.info(`Reloading configuration from ${configFile === '' ? DEFAULT_CONFIG_FILE : configFile}`)
    reloading = reloading
      .then(async () => server.reload((await loadConfig(configFile, env)).config))
      .catch((error: unknown) => log.error('reload failed', { error: errorText(error) }))
  }
  process.on('SIGUSR1', onDump)
  process.on('SIGHUP', onReload)
  return () => {
    process.off('SIGUSR1', onDump)
    process.off('SIGHUP', onReload)
  }
}
