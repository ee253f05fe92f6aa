import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { testHookWarnings, wallClock } from '../src/test-hooks.ts'
import { configOf, refusalOf } from './helpers/configs.ts'

t.test('without the variables of tests nothing is different', async (tt) => {
  const { testHooks, warnings } = configOf([])
  tt.same(testHooks, { clockOffsetFile: undefined, diskDelayMs: 0 })
  tt.same(warnings, [])
  tt.same(testHookWarnings(testHooks), [])
  tt.equal(wallClock(testHooks.clockOffsetFile), Date.now)
  tt.same(
    configOf([], { KVD_TEST_CLOCK_OFFSET_FILE: '', KVD_TEST_DISK_DELAY_MS: '' }).testHooks,
    testHooks,
  )
})

t.test('with them the start says so, and a delay must be one', async (tt) => {
  const env = { KVD_TEST_CLOCK_OFFSET_FILE: '/tmp/clock', KVD_TEST_DISK_DELAY_MS: '7' }
  const { testHooks, warnings } = configOf([], env)
  tt.same(testHooks, { clockOffsetFile: '/tmp/clock', diskDelayMs: 7 })
  tt.same(warnings, [
    'KVD_TEST_CLOCK_OFFSET_FILE, for tests only: the clock is wrong by what /tmp/clock says',
    'KVD_TEST_DISK_DELAY_MS, for tests only: each batch takes the disk 7 ms longer',
  ])
  for (const delay of ['x', '-1', '1.5', '60001'])
    tt.match(
      refusalOf([], { KVD_TEST_DISK_DELAY_MS: delay }),
      `2 KVD_TEST_DISK_DELAY_MS=${delay}: not a whole number`,
    )
})

t.test('the clock jumps when the file changes, and only by a number', async (tt) => {
  const file = join(tt.testdir(), 'clock')
  const clock = wallClock(file)
  const aheadMs = (): number => Math.round((clock() - Date.now()) / 1000) * 1000
  tt.equal(aheadMs(), 0, 'there is no file')
  const steps = [
    ['3600000\n', 3_600_000],
    ['-5000', -5000],
    ['', -5000],
    ['soon', -5000],
    ['0', 0],
  ] as const
  for (const [text, ms] of steps) {
    writeFileSync(file, text)
    tt.equal(aheadMs(), ms, `${JSON.stringify(text)}: ${ms}`)
  }
})
