import type { Test } from 'tap'
import { waitFor } from '../../src/harness/deadline.ts'
import { startKvd } from '../../src/launch/local-processes.ts'
import { choosePorts } from '../../src/launch/ports.ts'

export interface Urls {
  readonly client: string
  readonly peer: string
}

/** Plain URLs on loopback where nobody listens. */
export async function freeUrls(): Promise<Urls> {
  const ports = await choosePorts([0, 0])
  const [client = '', peer = ''] = ports.map((port) => `http://127.0.0.1:${port}`)
  return { client, peer }
}

/** A fresh store that nobody has written to: the vectors count its index from the first entry. */
export async function startFresh(
  t: Test,
  directory: string,
  flags: readonly string[],
  { isFront = false, urls }: { readonly isFront?: boolean; readonly urls?: Urls } = {},
): Promise<Urls> {
  const { client, peer } = urls ?? (await freeUrls())
  const kvd = startKvd(directory, { clients: [client], peer, isFront, flags })
  t.teardown(() => kvd.stop(5000))
  const look = async () => {
    const response = await fetch(`${client}/version`)
    return response.ok ? { done: { client, peer } } : { seen: String(response.status) }
  }
  return Promise.race([
    waitFor('kvd to answer', look),
    kvd.ended.then((how) => {
      throw new Error(`kvd ended (${how}):\n${kvd.lastWords}`)
    }),
  ])
}
