import t from 'tap'
import type { Credentials } from '../../src/auth/basic.ts'
import { Limiter } from '../../src/http/limiter.ts'
import { Passwords } from '../../src/http/passwords.ts'
import { Recent } from '../../src/http/recent.ts'
import { cheap, refuses } from './member.ts'

function newGate<T>(): { readonly opened: Promise<T>; open(value: T): void } {
  let open: (value: T) => void = () => undefined
  const opened = new Promise<T>((resolve) => {
    open = resolve
  })
  return { opened, open: (value) => open(value) }
}

function credentials(name: string, password: string): Credentials {
  return { name, password: Buffer.from(password) }
}

t.test('a limiter runs so many at a time, the others in order, and no more', async (tt) => {
  const limiter = new Limiter(2, 2, () => {
    throw new Error('full')
  })
  const started: number[] = []
  const gates = [0, 1, 2, 3].map(() => newGate<string>())
  const runs = gates.map(({ opened }, at) =>
    limiter.run(async () => {
      started.push(at)
      return await opened
    }),
  )
  tt.same(started, [0, 1])
  await tt.rejects(
    limiter.run(async () => 'never'),
    { message: 'full' },
  )
  gates[1]?.open('b')
  tt.equal(await runs[1], 'b')
  tt.same(started, [0, 1, 2], 'the first that waits is next')
  for (const gate of gates) gate.open('x')
  await Promise.all(runs)
  await tt.rejects(
    limiter.run(async () => {
      throw new Error('job')
    }),
    { message: 'job' },
  )
  const again = [limiter.run(async () => 1), limiter.run(async () => 2)]
  tt.same(await Promise.all(again), [1, 2], 'a job that fails gives its place back')
})

t.test('what was not asked for the longest is forgotten first', async (tt) => {
  const recent = new Recent<number>(2)
  recent.set('a', 1)
  recent.set('b', 2)
  tt.equal(recent.get('a'), 1)
  recent.set('c', 3)
  tt.equal(recent.get('b'), undefined)
  tt.equal(recent.get('a'), 1)
  recent.keep((value) => value === 3)
  tt.equal(recent.get('a'), undefined)
  tt.equal(recent.get('c'), 3)
})

t.test('a password is hashed once, then remembered', async (tt) => {
  const wrong: string[] = []
  const passwords = new Passwords((name) => wrong.push(name), cheap)
  const stored = await passwords.hash('p')
  tt.not(await passwords.hash('p'), stored, 'each hash has a salt of its own')
  tt.equal(passwords.isProven(credentials('u', 'p'), stored), false)
  const first = passwords.check(credentials('u', 'p'), stored)
  tt.equal(passwords.check(credentials('u', 'p'), stored), first, 'two at once share one hash')
  tt.equal(await first, true)
  tt.equal(passwords.check(credentials('u', 'p'), stored), true, 'at once')
  tt.equal(passwords.isProven(credentials('u', 'p'), stored), true)
  tt.type(passwords.check(credentials('u', 'q'), stored), Promise)
  tt.equal(await passwords.check(credentials('u', 'q'), stored), false)
  tt.equal(passwords.check(credentials('u', 'q'), stored), false, 'at once')
  tt.type(passwords.check(credentials('x', 'p'), undefined), Promise)
  tt.equal(await passwords.check(credentials('x', 'p'), undefined), false)
  tt.equal(passwords.check(credentials('x', 'p'), undefined), false)
  tt.same(wrong, ['u', 'x'], 'told once for each hash')
  tt.equal(await passwords.check(credentials('v', 'p'), stored), true, 'users are told apart')
  tt.equal(await passwords.check(credentials('u', 'p'), 'foreign hash'), false)
  tt.equal(await passwords.check(credentials('u', ''), stored), false)
})

t.test('name, password and hash cannot stand in for each other', async (tt) => {
  const passwords = new Passwords(() => undefined, cheap)
  const stored = await passwords.hash('bc')
  tt.equal(await passwords.check(credentials('a', 'bc'), stored), true)
  tt.equal(await passwords.check(credentials('ab', 'c'), stored), false)
  tt.equal(await passwords.check(credentials('', 'abc'), stored), false)
})

t.test('a proof is void with the hash that it was made with', async (tt) => {
  const passwords = new Passwords(() => undefined, cheap)
  const [old, other] = await Promise.all([passwords.hash('p'), passwords.hash('p')])
  await passwords.check(credentials('u', 'p'), old)
  tt.equal(passwords.isProven(credentials('u', 'p'), other), false)
  passwords.forgetChanged(() => old)
  tt.equal(passwords.isProven(credentials('u', 'p'), old), true)
  passwords.forgetChanged(() => other)
  tt.equal(passwords.isProven(credentials('u', 'p'), old), false)
})

t.test('wrong passwords cannot fill the queue without end, known users or not', async (tt) => {
  const passwords = new Passwords(() => undefined, cheap)
  const stored = await passwords.hash('p')
  const checks = Array.from({ length: 66 }, (_, at) =>
    passwords.check(
      credentials(at % 2 === 0 ? 'u' : 'x', `${at}`),
      at % 2 === 0 ? stored : undefined,
    ),
  )
  for (const [name, hash] of [
    ['u', stored],
    ['x', undefined],
  ] as const)
    await refuses(tt, Promise.resolve(passwords.check(credentials(name, 'late'), hash)), 503)
  await refuses(tt, passwords.hash('late'), 503)
  for (const check of checks) tt.equal(await check, false)
  tt.equal(await passwords.check(credentials('u', 'p'), stored), true)
})
