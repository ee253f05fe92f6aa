import { Agent, request, type ClientRequest, type RequestOptions } from 'node:http'
import { Agent as SecureAgent, request as requestSecure } from 'node:https'
import { hostOf, serverName } from './tls-config.ts'
import type { TlsIdentity } from './tls-identity.ts'

const KEPT = { keepAlive: true, maxSockets: Infinity }

/** Kept-alive connections to servers with and without TLS. After a reload no new request takes an old one. */
export class DialAgents {
  readonly #tls: TlsIdentity
  readonly #plain = new Agent(KEPT)
  #secure = new SecureAgent(KEPT)
  readonly #retired = new Set<SecureAgent>()
  #generation: number

  constructor(tls: TlsIdentity) {
    this.#tls = tls
    this.#generation = tls.generation
  }

  /** A request to a URL's host; TLS checks that host's name, whatever the Host header says. */
  request(url: URL, options: RequestOptions): ClientRequest {
    const host = hostOf(url)
    if (url.protocol !== 'https:') return request({ ...options, host, agent: this.#plain })
    if (this.#generation !== this.#tls.generation) this.#renew()
    return requestSecure({
      ...options,
      ...this.#tls.dialOptions(),
      host,
      servername: serverName(url),
      agent: this.#secure,
    })
  }

  #renew(): void {
    const old = this.#secure
    this.#generation = this.#tls.generation
    this.#secure = new SecureAgent(KEPT)
    // What is under way ends as it would; nothing is kept behind it.
    old.maxFreeSockets = 0
    for (const sockets of Object.values(old.freeSockets))
      for (const socket of sockets ?? []) socket.destroy()
    for (const agent of this.#retired)
      if (Object.keys(agent.sockets).length === 0) this.#retired.delete(agent)
    this.#retired.add(old)
  }

  close(): void {
    for (const agent of [this.#plain, this.#secure, ...this.#retired]) agent.destroy()
  }
}
