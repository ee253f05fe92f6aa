import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import {
  awaitTermination,
  createLogger,
  isJournal,
  keepWatchdog,
  notify,
  type Logger,
} from '@flotilla/daemon'
import { ConfigError } from './config-error.ts'
import { readInvocation, type Config } from './config.ts'
import { DataDirError } from './data-dir.ts'
import { DiscoveryError } from './discovery/discovery-error.ts'
import { failureLines } from './discovery/failure.ts'
import { dumpStore } from './dump.ts'
import { EngineError } from './engine-etcd3/engine-error.ts'
import { ListenError } from './listener.ts'
import { BootstrapError } from './membership/birth.ts'
import { InvariantError } from './raft/invariant.ts'
import { LimitError } from './server.ts'
import { start, type Running } from './start.ts'
import { DiskError } from './storage/disk.ts'
import { TlsError } from './tls/tls-error.ts'
import { usage, versionText } from './usage.ts'

/** An I/O error or damage of the disk (sysexits EX_IOERR). */
const EXIT_IO = 74

/** Raft contradicts itself (sysexits EX_SOFTWARE): started again, it may do the same (raft.md 3.10). */
const EXIT_INVARIANT = 70

/** Nobody reads what is printed any more, as after SIGPIPE. */
const EXIT_PIPE = 141

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
        process.stdout.once('error', (error: NodeJS.ErrnoException) =>
          process.exit(error.code === 'EPIPE' ? EXIT_PIPE : 1),
        )
        await dumpStore(invocation.config.storageDir, invocation.source, print)
        return 0
      case 'run':
        return await run(invocation.config, env, logger)
    }
  } catch (error) {
    return report(error, logger)
  }
}

/** No faster than somebody reads it. */
async function print(line: string): Promise<void> {
  if (!process.stdout.write(line)) await once(process.stdout, 'drain')
}

async function run(config: Config, env: NodeJS.ProcessEnv, logger: Logger): Promise<number> {
  process.on('uncaughtException', (error) => endAtOnce(error, logger))
  if (config.isDebug) logger.setLevel('debug')
  for (const warning of config.warnings) logger.warn(`flags: ${warning}`)
  logger.info('etcdmain: starting kvd', { version: ownVersion(), node: process.version })
  for (const { name, value, source } of config.given)
    logger.info('etcdmain: option', { name, value, source })
  let running: Running | undefined
  // From now on: by itself the signal would end a wait for the other members.
  const hangUp = (): void => void running?.reload()
  process.on('SIGHUP', hangUp)
  try {
    return await serve(config, env, logger, (server) => {
      running = server
    })
  } finally {
    process.off('SIGHUP', hangUp)
  }
}

async function serve(
  config: Config,
  env: NodeJS.ProcessEnv,
  logger: Logger,
  started: (server: Running) => void,
): Promise<number> {
  const termination = awaitTermination(process, () => process.exit(1))
  const server = await startUnlessStopped(config, logger, termination.received)
  if (server === undefined) return 0
  if (typeof server === 'number') return server
  started(server)
  const stopping = new AbortController()
  keepWatchdog(env, process.pid, stopping.signal)
  const notifyProblem = await notify(env, ['READY=1'])
  if (notifyProblem !== undefined) logger.warn('etcdmain: systemd was not told', { notifyProblem })
  const end = await Promise.race([termination.received, server.ended])
  stopping.abort()
  if (end instanceof DiskError) return report(end, logger)
  if (end instanceof ListenError) {
    await server.close()
    termination.close()
    return report(end, logger)
  }
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
  return failure instanceof DiskError ? report(failure, logger) : 0
}

/**
 * Discovery waits for others, for ever when they do not come: a signal must end it, too.
 * @returns undefined when it did, the exit status when there is no cluster to begin
 */
async function startUnlessStopped(
  config: Config,
  logger: Logger,
  received: Promise<NodeJS.Signals>,
): Promise<Running | number | undefined> {
  const stop = new AbortController()
  const reason = new Error('stopped by a signal')
  void received.then(() => stop.abort(reason))
  try {
    return await start(config, logger, stop.signal)
  } catch (error) {
    if (error === reason) {
      logger.info('etcdmain: stopped while looking for the members of the cluster')
      return undefined
    }
    if (!(error instanceof DiscoveryError)) throw error
    for (const { level, text } of failureLines(error, config)) logger[level](`etcdmain: ${text}`)
    return 1
  }
}

/** A bug: whatever goes on now could do harm. */
function endAtOnce(error: Error, logger: Logger): void {
  const isRaft = error instanceof InvariantError
  if (isRaft) logger.error(`raft: FATAL ${error.message}`)
  process.stderr.write(`${error.stack ?? error.message}\n`)
  process.exit(isRaft ? EXIT_INVARIANT : 1)
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
    error instanceof EngineError ||
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
