import { lookup, Resolver } from 'node:dns/promises'
import type { NameService } from './srv.ts'

/**
 * The name service of this machine.
 * @param servers addresses of DNS servers; those of the system when not given
 */
export function systemNames(servers?: readonly string[]): NameService {
  const resolver = new Resolver()
  if (servers !== undefined) resolver.setServers(servers)
  return {
    services: async (name) => {
      const records = await resolver.resolveSrv(name)
      return records.map((record) => ({ host: record.name, port: record.port }))
    },
    address: async (host) => {
      // By the system's rules, /etc/hosts among them, as the original does.
      const found = await lookup(host, { all: true })
      const address = (found.find(({ family }) => family === 4) ?? found[0])?.address
      if (address === undefined) throw new Error('no address')
      return address
    },
  }
}
