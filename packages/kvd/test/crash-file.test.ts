import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createLogger } from '@flotilla/daemon'
import t from 'tap'
import { leaveCrashFile } from '../src/crash-file.ts'
import type { CrashReport } from '../src/replica/crash-report.ts'
import { silent } from './helpers/alone.ts'

function reportOf(number: number): CrashReport {
  return { error: { message: String(number), stack: undefined }, core: {}, steps: [] }
}

t.test('of many reports the first nine and the newest are kept, for their owner', async (tt) => {
  const directory = tt.testdir()
  for (let number = 1; number <= 13; number += 1)
    leaveCrashFile(directory, reportOf(number), silent)
  const kept = readdirSync(directory).map((name) => {
    const report: CrashReport = JSON.parse(readFileSync(join(directory, name), 'utf8'))
    return `${name} ${report.error.message}`
  })
  tt.same(kept.toSorted(), [
    'crash-1.json 1',
    'crash-10.json 13',
    ...['2', '3', '4', '5', '6', '7', '8', '9'].map((n) => `crash-${n}.json ${n}`),
  ])
  tt.equal(statSync(join(directory, 'crash-1.json')).mode & 0o777, 0o600)
})

t.test('a disk that does not take it is named in the log, and that is all', async (tt) => {
  let text = ''
  const sink = {
    write: (line: string): boolean => {
      text += line
      return true
    },
    writableLength: 0,
  }
  const directory = join(tt.testdir(), 'none')
  leaveCrashFile(directory, reportOf(1), createLogger({ sink }))
  tt.match(text, /ERROR raft: what led to this could not be kept directory=.*none reason=.*ENOENT/)
})
