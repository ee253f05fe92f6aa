import { ClusterError, createClient, KvError } from '@flotilla/kv-client'
import type { HttpTrace, KvClient, TlsOptions } from '@flotilla/kv-client'
import type { Options } from './args/options.ts'
import { EXIT, ExitError } from './context.ts'
import type { Context, Io } from './context.ts'
import { errorText, isConnectionError, keyFailure } from './errors.ts'
import { goQuote } from './format.ts'

/** Does something with a client made from the global options; it is closed afterwards. */
export async function withClient<T>(
  { io, global }: Context,
  use: (client: KvClient) => Promise<T>,
  how: { readonly sync: boolean } = { sync: true },
): Promise<T> {
  const client = await makeClient(io, global)
  try {
    if (how.sync && !global.bool('no-sync')) await syncClient(client, io, global)
    if (global.bool('debug')) io.stderr(`Cluster-Endpoints: ${client.endpoints.join(', ')}\n`)
    return await use(client)
  } finally {
    client.close()
  }
}

/** What a timer of Node can wait, 25 days; a longer one would fire at once. */
const TIMER_MS_MAX = 2 ** 31 - 1

/** The time that all of a command, or the reading of the members, may take. */
export function totalTimeout(global: Options): AbortSignal {
  const ms = Math.max(0, Math.round(global.ms('total-timeout')))
  return AbortSignal.timeout(Math.min(ms, TIMER_MS_MAX))
}

async function makeClient(io: Io, global: Options): Promise<KvClient> {
  try {
    const { username, password } = await credentials(io, global.text('username'))
    return createClient({
      endpoints: await findEndpoints(io.env, global),
      tls: await tlsOptions(io.env, global),
      username,
      password,
      requestTimeoutMs: global.ms('timeout'),
      // As etcd's own command line: a failed write is tried at the next endpoint.
      retryWrites: 'always',
      onRequest: global.bool('debug') ? (trace) => io.stderr(curlLine(trace)) : undefined,
    })
  } catch (error) {
    if (error instanceof ExitError) throw error
    throw new ExitError(EXIT.badArgs, `${errorText(error)}\n`)
  }
}

async function syncClient(client: KvClient, io: Io, global: Options): Promise<void> {
  const debug = global.bool('debug')
  if (debug) {
    io.stderr(`start to sync cluster using endpoints(${client.endpoints.join(',')})\n`)
  }
  try {
    await client.sync({ signal: totalTimeout(global) })
  } catch (error) {
    if (isConnectionError(error) && !isUnpublished(error)) {
      throw keyFailure(error, EXIT.badConnection)
    }
    if (isUnpublished(error)) io.stderr(unpublishedText(client.endpoints))
    // etcd 0.4 knows no /v2/members; its endpoints are used as they are given.
    if (!(error instanceof KvError)) throw keyFailure(error)
  }
  if (debug) io.stderr(`got endpoints(${client.endpoints.join(',')}) after sync\n`)
}

function isUnpublished(error: unknown): boolean {
  return error instanceof ClusterError && error.code === 'NO_ENDPOINTS'
}

function unpublishedText(endpoints: readonly string[]): string {
  return (
    'etcd cluster has no published client endpoints.\n' +
    `Try '--no-sync' if you want to access non-published client endpoints(${endpoints.join(',')}).\n`
  )
}

/** SRV records when a domain is given and has some, else the first list of URLs that is set. */
async function findEndpoints(env: Io['env'], global: Options): Promise<readonly string[]> {
  const domain = global.text('discovery-srv') || env['ETCDCTL_DISCOVERY_SRV'] || ''
  if (domain !== '') {
    const { lookUpEndpoints } = await import('./srv.ts')
    const found = await lookUpEndpoints(domain)
    if (found.length > 0) return found
  }
  return givenEndpoints(env, global).split(',')
}

/** etcd 2.3 etcdctl/command/util.go: the order in which the options and variables count. */
function givenEndpoints(env: Io['env'], global: Options): string {
  return (
    global.text('endpoints') ||
    env['ETCDCTL_ENDPOINTS'] ||
    global.text('endpoint') ||
    env['ETCDCTL_ENDPOINT'] ||
    global.text('peers') ||
    env['ETCDCTL_PEERS'] ||
    'http://127.0.0.1:2379,http://127.0.0.1:4001'
  )
}

/** The files of the options or their variables; {} without any. */
async function tlsOptions(env: Io['env'], global: Options): Promise<TlsOptions> {
  const ca = global.text('ca-file') || env['ETCDCTL_CA_FILE'] || ''
  const cert = global.text('cert-file') || env['ETCDCTL_CERT_FILE'] || ''
  const key = global.text('key-file') || env['ETCDCTL_KEY_FILE'] || ''
  if (ca === '' && cert === '' && key === '') return {}
  const { readTls } = await import('./tls.ts')
  return readTls({ ca, cert, key })
}

async function credentials(
  io: Io,
  username: string,
): Promise<{ username?: string; password?: string }> {
  if (username === '') return {}
  const colon = username.indexOf(':')
  if (colon === -1) return { username, password: await io.readPassword('Password: ') }
  return { username: username.slice(0, colon), password: username.slice(colon + 1) }
}

/** The line of `--debug` for a request. */
export function curlLine({ method, url, body }: HttpTrace): string {
  const data = body === undefined ? '' : ` -d ${goQuote(body)}`
  return `cURL Command: curl -X ${method} ${url}${data}\n`
}
