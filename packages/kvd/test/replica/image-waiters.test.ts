import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { ImageWaiters } from '../../src/replica/image-waiters.ts'

t.test('a wish for a later image does not keep those who wait for the next one', async (tt) => {
  const waiters = new ImageWaiters()
  const told: string[] = []
  const wait = (): void => {
    void waiters.frozen().then(() => told.push('frozen'))
    void waiters.wanted().then(() => told.push('wanted'))
  }
  const give = async (isWanted: boolean): Promise<string[]> => {
    waiters.given(isWanted)
    await turn()
    return told.splice(0)
  }
  wait()
  tt.same(await give(true), ['frozen'])
  tt.same(await give(true), [])
  tt.same(await give(false), ['wanted'])
  wait()
  tt.same(await give(false), ['frozen', 'wanted'])
  tt.same(await give(false), [], 'each once')
})
