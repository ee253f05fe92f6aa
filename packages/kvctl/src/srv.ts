import { resolveSrv } from 'node:dns/promises'
import type { SrvRecord } from 'node:dns'

type Resolve = (name: string) => Promise<readonly SrvRecord[]>

/** The client URLs that the SRV records of a domain name, https first. Rejects when both look-ups fail. */
export async function lookUpEndpoints(
  domain: string,
  resolve: Resolve = resolveSrv,
): Promise<string[]> {
  const [secure, plain] = await Promise.allSettled([
    lookUp(resolve, `_etcd-client-ssl._tcp.${domain}`, 'https'),
    lookUp(resolve, `_etcd-client._tcp.${domain}`, 'http'),
  ])
  if (secure.status === 'rejected' && plain.status === 'rejected') {
    throw new Error(`dns lookup errors: ${text(secure.reason)} and ${text(plain.reason)}`)
  }
  return [secure, plain].flatMap((one) => (one.status === 'fulfilled' ? one.value : []))
}

async function lookUp(resolve: Resolve, name: string, scheme: string): Promise<string[]> {
  const records = await resolve(name)
  return records
    .toSorted((a, b) => a.priority - b.priority || b.weight - a.weight)
    .map((record) => `${scheme}://${record.name}:${record.port}`)
}

function text(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason)
}
