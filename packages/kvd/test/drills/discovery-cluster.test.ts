import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { spawnStore, type StoreProcess } from '../helpers/store-process.ts'

// A whole cluster out of nothing but kvd: one hands out a token, three begin a cluster there, and a
// fourth serves it.

async function start(tt: Test, dir: string, name: string, flags: string[], discovery?: string) {
  const own = { dir: join(dir, name), flags: ['--name', name, ...flags] }
  const store = await spawnStore(discovery === undefined ? own : { ...own, discovery })
  tt.teardown(async () => await store.kill('SIGKILL'))
  return store
}

/** Resolves when the member answers quorum reads; fails with its log when it ends. */
async function serving(store: StoreProcess): Promise<void> {
  const ended = store.exited.then(() => 'ended' as const)
  for (;;) {
    const read = fetch(`${store.url}/v2/keys/?quorum=true`).then(
      async (answer) => (await answer.text()) && answer.ok,
      () => false,
    )
    const state = await Promise.race([read, ended])
    if (state === 'ended') throw new Error(store.log())
    if (state === true) return
    await pause()
  }
}

async function pause(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 20))
}

async function namesAt({ url }: StoreProcess): Promise<string> {
  const answer = await fetch(`${url}/v2/members`)
  const { members }: { members: { name: string }[] } = JSON.parse(await answer.text())
  return members
    .map(({ name }) => name)
    .toSorted()
    .join()
}

t.test(
  'three members begin a cluster at a token of a fourth kvd, a fifth serves it',
  async (tt) => {
    const dir = tt.testdir({})
    const flags = ['--discovery-service', '--initial-cluster-state', 'new']
    const service = await start(tt, dir, 'default', flags)
    await serving(service)
    const url = await (await fetch(`${service.url}/new?size=3`)).text()
    const names = ['a', 'b', 'c']
    const members = await Promise.all(
      names.map(async (name) => await start(tt, dir, name, [], url)),
    )
    await Promise.all(members.map(serving))
    // Each tells its name to the others when it has a leader.
    for (const member of members) while ((await namesAt(member)) !== 'a,b,c') await pause()
    const late = await start(tt, dir, 'late', [], url)
    await serving(late)
    tt.match(late.log(), 'etcdmain: discovery cluster full, falling back to proxy')
    const body = new URLSearchParams({ value: 'through' })
    tt.equal((await fetch(`${late.url}/v2/keys/x`, { method: 'PUT', body })).status, 201)
    const read = await fetch(`${members[0]?.url}/v2/keys/x?quorum=true`)
    tt.match(await read.text(), '"value":"through"')
  },
)

t.test('a member that has lost what it found does not begin a cluster alone', async (tt) => {
  const dir = tt.testdir({})
  const service = await start(tt, dir, 'default', ['--discovery-service'])
  await serving(service)
  const url = await (await fetch(`${service.url}/new?size=1`)).text()
  const member = await start(tt, dir, 'a', [], url)
  await serving(member)
  await member.kill('SIGKILL')
  const storage = join(dir, 'a/member')
  rmSync(storage, { recursive: true })
  mkdirSync(storage)
  const again = await start(tt, dir, 'a', [], url)
  const { code, stderr } = await again.exited
  tt.equal(code, 1)
  tt.match(stderr, `${storage} was begun, and holds no member: remove it`)
})
