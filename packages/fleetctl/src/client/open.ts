import { readFile } from 'node:fs/promises'
import type { GlobalOptions } from '../options.ts'
import type { Endpoint, TlsFiles } from './http-transport.ts'
import { ClientError, type Client } from './types.ts'

/** Opens the client that the global options ask for. Rejects with ClientError (`Unable to initialize client: …`). */
export async function openClient(
  options: GlobalOptions,
  warn: (message: string) => void,
): Promise<Client> {
  const driver = options.driver.toLowerCase()
  if (options.tunnel !== '') {
    throw new ClientError('--tunnel is not supported by this release')
  }
  if (driver === 'api') {
    const { createApiClient } = await import('./api-client.ts')
    return createApiClient(await apiEndpoint(options, warn))
  }
  if (driver === 'etcd') {
    const { createStoreClient } = await import('./store-client.ts')
    const { ca, cert, key } = await tlsFiles(options)
    const settings = {
      endpoints: options.endpoint.split(',').map((url) => url.trim()),
      requestTimeoutMs: options.requestTimeoutSeconds * 1000,
      tls: { ca, cert, key, rejectUnauthorized: cert !== undefined && key !== undefined },
    }
    return createStoreClient(settings, options.etcdKeyPrefix)
  }
  throw new ClientError(`unrecognized driver ${JSON.stringify(options.driver)}`)
}

async function apiEndpoint(
  options: GlobalOptions,
  warn: (message: string) => void,
): Promise<Endpoint> {
  const [first = '', ...others] = options.endpoint.split(',').map((url) => url.trim())
  if (others.length > 0) {
    warn(`multiple endpoints provided but only the first (${first}) is used`)
  }
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(first)?.[1]?.toLowerCase()
  if (scheme === undefined) throw new ClientError('URL scheme undefined')
  if (scheme === 'unix' || scheme === 'file') return socketEndpoint(first, scheme)
  if ((scheme !== 'http' && scheme !== 'https') || !URL.canParse(first)) {
    throw new ClientError(`unable to use endpoint ${JSON.stringify(first)}`)
  }
  const url = new URL(first)
  return scheme === 'https'
    ? { type: 'url', url, tls: await tlsFiles(options) }
    : { type: 'url', url }
}

function socketEndpoint(text: string, scheme: string): Endpoint {
  const rest = text.slice(scheme.length + 1)
  const [, host = '', path = ''] = /^\/\/([^/]*)(.*)$/.exec(rest) ?? ['', '', rest]
  if (host !== '') {
    throw new ClientError(
      `unable to connect to host ${JSON.stringify(host)} with scheme ${JSON.stringify(scheme)}`,
    )
  }
  return { type: 'socket', path }
}

async function tlsFiles(options: GlobalOptions): Promise<TlsFiles> {
  const [ca, cert, key] = await Promise.all(
    [options.caFile, options.certFile, options.keyFile].map(readOptional),
  )
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  }
}

async function readOptional(path: string): Promise<Buffer | undefined> {
  if (path === '') return undefined
  try {
    return await readFile(path)
  } catch (error) {
    throw new ClientError(`open ${path}: ${error instanceof Error ? error.message : String(error)}`)
  }
}
