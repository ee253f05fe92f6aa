import { readdirSync } from 'node:fs'
import { AuthRules } from './auth/rules.ts'
import { AuthChanges } from './http/auth-changes.ts'
import { AuthGate } from './http/auth-gate.ts'
import { authRoutes } from './http/auth.ts'
import type { HttpContext } from './http/context.ts'
import { discoveryRoutes } from './http/discovery.ts'
import { createFullServer } from './http/full.ts'
import { Metrics } from './http/metrics.ts'
import { Passwords } from './http/passwords.ts'
import { Router } from './http/router.ts'
import { WatchSockets } from './http/watch-socket.ts'
import { ClientListener } from './listener.ts'
import type { MemberParts } from './member.ts'

/** Unread bytes after which a watch is given up; the original gives up after 100 events. */
const WATCH_BYTES_MAX = 4 * 1024 * 1024

/** What a member's clients speak with. */
export interface ClientSide {
  readonly clients: ClientListener
  readonly sockets: WatchSockets
}

/** Makes it, without listening yet. */
export function openClients({
  config,
  logger,
  store,
  replica,
  cluster,
  peers,
  fdLimit,
  tls,
  wallMs,
}: MemberParts): ClientSide {
  const metrics = new Metrics({
    store,
    replica,
    openFiles: countOpenFiles,
    maxFiles: fdLimit,
    messages: peers,
  })
  const auth = openAuth({ store, replica, logger, wallMs })
  const context: HttpContext = {
    store,
    replica,
    cluster,
    nowMs: wallMs,
    gate: () => (auth.rules.isEnabled ? auth.gate : undefined),
    guardWatch: (watch) => auth.gate.guardWatch(watch),
    counters: metrics,
    startedAtMs: wallMs(),
    fdLimit,
    setLogLevel: (level) => logger.setLevel(level),
    metrics: async () => await metrics.render(),
    watchBytesMax: WATCH_BYTES_MAX,
    headCache: { storeIndex: -1, raftIndex: -1, raftTerm: -1, text: '' },
    traffic: peers,
    membership: { isStrict: config.isReconfigStrict, addsVoters: config.addsVoters },
  }
  const routes = new Map([
    ...authRoutes({ context, ...auth }),
    ...(config.servesDiscovery ? discoveryRoutes(context) : []),
  ])
  const router = new Router(context, config.corsOrigins, routes)
  const route = router.route.bind(router)
  const sockets = new WatchSockets(context)
  const full = createFullServer({ route, upgrade: sockets.upgrade.bind(sockets) })
  return {
    clients: new ClientListener({ full, route, logger, fdLimit, tls: tls.clients }),
    sockets,
  }
}

/** Users, roles and who may do what; running watches end when their rights do. */
function openAuth({
  store,
  replica,
  logger,
  wallMs: nowMs,
}: Pick<MemberParts, 'store' | 'replica' | 'logger' | 'wallMs'>): {
  rules: AuthRules
  gate: AuthGate
  changes: AuthChanges
} {
  const rules = new AuthRules({
    peek: (key) => store.peek('auth', key),
    peekNames: (key) => store.peekNames('auth', key),
  })
  const passwords = new Passwords((user) =>
    logger.warn('auth: wrong password or unknown user', { user }),
  )
  const gate = new AuthGate({ rules, passwords, logger })
  store.onAuthChange(() => gate.changed())
  const changes = new AuthChanges({ store, replica, rules, passwords, logger, nowMs })
  return { rules, gate, changes }
}

function countOpenFiles(): number {
  return readdirSync('/proc/self/fd').length
}
