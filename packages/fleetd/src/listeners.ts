import { once } from 'node:events'
import { mkdir, rm } from 'node:fs/promises'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import type { ListenFd } from '@flotilla/daemon'
import { ConfigError } from './config.ts'

/** Something to listen on: a socket that systemd opened, a TCP address or a unix socket. */
export type Listener =
  | { readonly type: 'fd'; readonly fd: number }
  | { readonly type: 'tcp'; readonly host: string; readonly port: number }
  | { readonly type: 'unix'; readonly path: string }

/** Reads `listen=`. Throws ConfigError. */
export function parseListeners(urls: readonly string[], fds: readonly ListenFd[]): Listener[] {
  const passed = fds.map(({ fd }): Listener => ({ type: 'fd', fd }))
  return [...passed, ...urls.map(parseListener)]
}

function parseListener(text: string): Listener {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'unix:' && url.host === '' && url.pathname !== '') {
    return { type: 'unix', path: decodeURIComponent(url.pathname) }
  }
  if (url?.protocol === 'http:' && url.hostname !== '') {
    const host = url.hostname.replaceAll(/^\[|\]$/g, '')
    return { type: 'tcp', host, port: url.port === '' ? 80 : Number(url.port) }
  }
  throw new ConfigError(
    `listen: ${JSON.stringify(text)} is neither http://host:port nor unix:///path`,
  )
}

/** Makes a server listen; gives the URL under which it answers (with the real port). */
export async function listen(server: Server, listener: Listener): Promise<string> {
  switch (listener.type) {
    case 'fd':
      server.listen({ fd: listener.fd })
      break
    case 'tcp':
      server.listen(listener.port, listener.host)
      break
    case 'unix':
      await removeDeadSocket(listener.path)
      await mkdir(dirname(listener.path), { recursive: true })
      server.listen(listener.path)
      break
  }
  // `once` rejects when the server emits an error first, for instance because the port is taken.
  await once(server, 'listening')
  return addressURL(server, listener)
}

function addressURL(server: Server, listener: Listener): string {
  const address = server.address()
  // Node does not know the path of a unix socket that was passed to it.
  if (address === null) return listener.type === 'fd' ? `fd:${listener.fd}` : ''
  if (typeof address === 'string') return `unix://${address}`
  const host = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return `http://${host}:${address.port}`
}

/** A socket file that nobody answers on is left over from a killed fleetd; a live one stays and the bind fails. */
async function removeDeadSocket(path: string): Promise<void> {
  const socket = connect(path)
  const isAlive = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  })
  socket.destroy()
  if (!isAlive) await rm(path, { force: true })
}

/** Of the URLs listened on, the one other machines can use: a wildcard address is replaced by the public IP. */
export function announcedURL(urls: readonly string[], publicIP: string): string {
  const url = urls.find((it) => it.startsWith('http:'))
  if (url === undefined) return ''
  const { hostname, port } = new URL(url)
  if (hostname !== '0.0.0.0' && hostname !== '[::]') return url
  return publicIP === '' ? '' : `http://${publicIP}:${port}`
}
