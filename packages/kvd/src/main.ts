import { readFileSync } from 'node:fs'
import {
  awaitTermination,
  createLogger,
  isJournal,
  keepWatchdog,
  notify,
  type Logger,
} from '@flotilla/daemon'
import { ConfigError, readInvocation, type Config } from './config.ts'
import { DataDirError, prepareDataDir, roleOf } from './data-dir.ts'
import { dumpStore } from './dump.ts'
import { ListenError } from './listener.ts'
import { BootstrapError } from './membership/birth.ts'
import { LimitError, startServer, type RunningServer } from './server.ts'
import { DiskError } from './storage/disk.ts'
import { TlsError } from './tls/tls-error.ts'
import { openTlsSides } from './tls/tls-sides.ts'
import { usage, versionText } from './usage.ts'

/** An I/O error or damage of the disk (sysexits EX_IOERR). */
const EXIT_IO = 74

interface Running extends RunningServer {
  /** Reads the certificates again. */
  readonly reload: () => Promise<void>
}

/** Runs kvd until a signal. Resolves to the exit status. */
export async function main(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const logger = createLogger({ sink: process.stderr, journal: isJournal(env) })
  try {
    const invocation = readInvocation(argv, env)
    switch (invocation.type) {
      case 'version':
        process.stdout.write(versionText(ownVersion()))
        return 0
      case 'help':
        process.stdout.write(usage())
        return 0
      case 'dump':
        await dumpStore(invocation.config.storageDir, invocation.source, (line) =>
          process.stdout.write(line),
        )
        return 0
      case 'run':
        return await run(invocation.config, env, logger)
    }
  } catch (error) {
    return report(error, logger)
  }
}

async function run(config: Config, env: NodeJS.ProcessEnv, logger: Logger): Promise<number> {
  if (config.isDebug) logger.setLevel('debug')
  for (const warning of config.warnings) logger.warn(`flags: ${warning}`)
  logger.info('etcdmain: starting kvd', { version: ownVersion(), node: process.version })
  for (const { name, value, source } of config.given)
    logger.info('etcdmain: option', { name, value, source })
  const termination = awaitTermination(process, () => process.exit(1))
  const server = await start(config, logger)
  const hangUp = (): void => void server.reload()
  process.on('SIGHUP', hangUp)
  const stopping = new AbortController()
  keepWatchdog(env, process.pid, stopping.signal)
  const notifyProblem = await notify(env, ['READY=1'])
  if (notifyProblem !== undefined) logger.warn('etcdmain: systemd was not told', { notifyProblem })
  const end = await Promise.race([termination.received, server.ended])
  stopping.abort()
  if (end instanceof DiskError) return report(end, logger)
  if (end === 'removed') {
    await server.close()
    termination.close()
    return 0
  }
  const what = end === 'SIGTERM' ? 'terminated' : 'interrupt'
  logger.info(`etcdmain: received ${what} signal, shutting down...`)
  await notify(env, ['STOPPING=1'])
  const failure = await Promise.race([server.close(), server.ended])
  termination.close()
  process.off('SIGHUP', hangUp)
  return failure instanceof DiskError ? report(failure, logger) : 0
}

/** As a member or as a proxy: a data directory stays what it was, whatever the flags say. */
async function start(config: Config, logger: Logger): Promise<Running> {
  const role = roleOf(config.dataDir)
  const isProxy = role === 'none' ? config.proxy.mode !== 'off' : role === 'proxy'
  if (role !== 'none' && isProxy !== (config.proxy.mode !== 'off'))
    logger.info(
      `etcdmain: the server is already initialized as ${role} before, starting as etcd ${role}...`,
    )
  if (isProxy) {
    const tls = await openTlsSides(config, logger)
    // A member needs none of it, nor what it brings along.
    const { startProxy } = await import('./proxy/proxy.ts')
    const proxy = await startProxy(config, logger, tls)
    const ended = new Promise<never>(() => undefined)
    return { ended, close: async () => await proxy.close(), reload: tls.reload }
  }
  const { unknown } = prepareDataDir(config.dataDir, config.storageDir)
  for (const entry of unknown)
    logger.warn(
      `etcdmain: found invalid file/dir ${entry} under data dir ${config.dataDir} (Ignore this if you are upgrading etcd)`,
    )
  const tls = await openTlsSides(config, logger)
  return { ...(await startServer(config, logger, tls)), reload: tls.reload }
}

/** Says what went wrong and picks the exit status; a bug keeps its stack. */
function report(error: unknown, logger: Logger): number {
  if (error instanceof ConfigError) {
    process.stderr.write(`${error.message}\n${error.showsUsage ? usage() : ''}`)
    return error.exitCode
  }
  if (error instanceof DiskError) {
    logger.error(`storage: ${error.message}`, { code: error.code })
    // The disk thread may hang in the system call that failed; nothing more can be saved.
    setImmediate(() => process.exit(error.code === 'IO' ? EXIT_IO : 1))
    return error.code === 'IO' ? EXIT_IO : 1
  }
  if (
    error instanceof DataDirError ||
    error instanceof ListenError ||
    error instanceof BootstrapError ||
    error instanceof TlsError ||
    error instanceof LimitError
  ) {
    logger.error(`etcdmain: ${error.message}`)
    return 1
  }
  throw error
}

function ownVersion(): string {
  const manifest: { version: string } = JSON.parse(
    readFileSync(new URL(import.meta.resolve('@flotilla/kvd/package.json')), 'utf8'),
  )
  return manifest.version
}
