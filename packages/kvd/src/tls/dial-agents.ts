import { Agent, request, type ClientRequest, type RequestOptions } from 'node:http'
import { Agent as SecureAgent, request as requestSecure } from 'node:https'
import { hostOf, serverName } from './tls-config.ts'
import type { TlsIdentity } from './tls-identity.ts'

/** A silent connection to a host that is gone ends after this and ten seconds: the kernel asks ten times. */
const PROBE_AFTER_MS = 15_000
const KEPT = { keepAlive: true, keepAliveMsecs: PROBE_AFTER_MS, maxSockets: Infinity }

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
    // By itself Node has the kernel ask on plain connections, and on those that were used before.
    return this.#make(url, options).once('socket', (socket) =>
      socket.setKeepAlive(true, PROBE_AFTER_MS),
    )
  }

  #make(url: URL, options: RequestOptions): ClientRequest {
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
    dropIdle(old, () => true)
    for (const agent of this.#retired)
      if (Object.keys(agent.sockets).length === 0) this.#retired.delete(agent)
    this.#retired.add(old)
  }

  /** Keeps no connection to a host that is gone: the next request finds out at once whether it is back. */
  forget(url: URL): void {
    const host = hostOf(url)
    // Names of Agent#getName begin with host and port.
    for (const agent of [this.#plain, this.#secure])
      dropIdle(agent, (name) => name.startsWith(`${host}:`))
  }

  close(): void {
    for (const agent of [this.#plain, this.#secure, ...this.#retired]) agent.destroy()
  }
}

function dropIdle(agent: Agent, isMeant: (name: string) => boolean): void {
  for (const [name, sockets] of Object.entries(agent.freeSockets))
    if (isMeant(name)) for (const socket of sockets ?? []) socket.destroy()
}
