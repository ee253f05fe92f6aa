import { readFile } from 'node:fs/promises'
import { createClient, type KeysApi, type KvClient } from '@flotilla/kv-client'
import type { StoreConfig } from './config.ts'

/** What a session needs of a client. */
export type Store = KeysApi & Pick<KvClient, 'close'>

/** A client for the store. Without certificate and key TLS is used without verification, as fleet 1.0 does. */
export async function openStore(config: StoreConfig): Promise<Store> {
  const { endpoints, username, password, requestTimeoutMs } = config
  const [ca, cert, key] = await Promise.all(
    [config.caFile, config.certFile, config.keyFile].map(readOptional),
  )
  return createClient({
    endpoints,
    requestTimeoutMs,
    // A copy of the registry that is ten seconds behind after an outage would make start and stop late.
    backoff: { minMs: 100, maxMs: 1000 },
    tls: { ca, cert, key, rejectUnauthorized: cert !== undefined && key !== undefined },
    ...(username === '' ? {} : { username, password }),
  })
}

async function readOptional(path: string): Promise<Buffer | undefined> {
  return path === '' ? undefined : await readFile(path)
}
