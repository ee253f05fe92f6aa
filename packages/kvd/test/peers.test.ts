import t, { type Test } from 'tap'
import { memberId } from '../src/cluster.ts'
import type { PeersOptions } from '../src/peers.ts'
import { openServer } from './helpers/loopback.ts'
import { DEAF, freePeerUrl, openPeers, type OpenPeers } from './helpers/peer-ports.ts'

/** Begins to dial, and hears only that the member was removed. */
function attach({ peers }: OpenPeers, removed: () => void, isDamaged = false): void {
  peers.attach({ ...DEAF, removed, isDamaged: () => isDamaged })
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

/** Randomness without any, which is asked for each pause between two tries to dial; `tried` after so many. */
function countTries(enough: number): { random: () => number; tried: Promise<void> } {
  let tries = 0
  let resolveTried: () => void = () => undefined
  const tried = new Promise<void>((resolve) => (resolveTried = resolve))
  const random = (): number => {
    tries += 1
    if (tries === enough) resolveTried()
    return 0
  }
  return { random, tried }
}

t.test('a member that is down is told of once for each address', async (tt) => {
  const [one, two] = [await freePeerUrl(), await freePeerUrl()]
  const { random, tried } = countTries(10)
  const open = await openPair(tt, [one.origin, two.origin], { random })
  attach(open, () => undefined)
  await tried
  tt.same(
    open.log.lines.map((line) => /ECONNREFUSED (.*)$/.exec(line)?.[1] ?? line).toSorted(),
    [one.host, two.host].toSorted(),
  )
})

t.test('a damaged member looks for all that its disk has ever named', async (tt) => {
  const [old, moved, later] = [await freePeerUrl(), await freePeerUrl(), await freePeerUrl()]
  for (const [isDamaged, expected] of [
    [false, [old]],
    [true, [old, moved, later]],
  ] as const) {
    const { random, tried } = countTries(20)
    const b = memberId([old.origin], 'etcd-cluster')
    const first = new Map([
      [b, [moved.origin]],
      ['c0ffee', [later.origin]],
    ])
    const open = await openPair(tt, [old.origin], { random, first })
    attach(open, () => undefined, isDamaged)
    await tried
    const dialled = open.log.lines.map((line) => /ECONNREFUSED (.*)$/.exec(line)?.[1] ?? line)
    const hosts = expected.map(({ host }) => host)
    tt.same(dialled.toSorted(), hosts.toSorted(), `damaged: ${isDamaged}`)
    open.peers.close()
  }
})
