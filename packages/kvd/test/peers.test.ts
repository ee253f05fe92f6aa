import t, { type Test } from 'tap'
import type { PeersListener, PeersOptions } from '../src/peers.ts'
import { openServer } from './helpers/loopback.ts'
import { freePeerUrl, openPeers, type OpenPeers } from './helpers/peer-ports.ts'

/** Begins to dial, and hears only that the member was removed. */
function attach({ peers }: OpenPeers, removed: () => void): void {
  const nothing = (): void => undefined
  const rest = {
    receive: nothing,
    unreachable: nothing,
    silent: nothing,
    unsent: nothing,
    install: nothing,
  }
  const listener: PeersListener = { ...rest, removed }
  peers.attach(listener)
}

async function openPair(
  tt: Test,
  other: readonly string[],
  more: Partial<PeersOptions> = {},
): Promise<OpenPeers> {
  const own = (await freePeerUrl()).origin
  return openPeers(
    tt,
    'a',
    new Map([
      ['a', [own]],
      ['b', other],
    ]),
    more,
  )
}

t.test(
  'a member goes when its cluster says so, not when some server has a page no more',
  async (tt) => {
    let text = '<h1>Gone</h1>'
    const url = await openServer(tt, (_request, response) => response.writeHead(410).end(text))
    const open = await openPair(tt, [url])
    let isRemoved = false
    const removed = new Promise<void>((resolve) =>
      attach(open, () => {
        isRemoved = true
        resolve()
      }),
    )
    await open.log.said(/refused this member: <h1>Gone<\/h1> status=410/)
    tt.notOk(isRemoved)
    text = 'removed member\n'
    await removed
    tt.pass('removed')
  },
)

t.test('a member that is down is told of once for each address', async (tt) => {
  const [one, two] = [await freePeerUrl(), await freePeerUrl()]
  let tries = 0
  let enough: () => void = () => undefined
  const tried = new Promise<void>((resolve) => (enough = resolve))
  // Asked for each pause between two tries.
  const random = (): number => {
    tries += 1
    if (tries === 10) enough()
    return 0
  }
  const open = await openPair(tt, [one.origin, two.origin], { random })
  attach(open, () => undefined)
  await tried
  tt.same(
    open.log.lines.map((line) => /ECONNREFUSED (.*)$/.exec(line)?.[1] ?? line).toSorted(),
    [one.host, two.host].toSorted(),
  )
})
