import t from 'tap'
import { CheckpointRule } from '../../src/storage/checkpoint-rule.ts'

const MIB = 1024 * 1024

t.test('a checkpoint comes after enough commits and bytes', async (tt) => {
  for (const [bytes, random, commits, why] of [
    [1, 0.5, 2_000, 'small commits add up'],
    [MIB / 16, 0.5, 64, '4 MiB'],
    [MIB / 16, 0, 48, 'another member has other bounds'],
    [MIB / 16, 0.999, 80, 'and a third one'],
    [1, 0, 1_500, 'not at the same commit either'],
    [MIB, 0.5, 8, 'a few commits in any case'],
    [MIB, 0, 6, 'not always as many'],
    [5 * MIB, 0.5, 4, 'unless they are too large'],
    [64 * MIB, 0.5, 1, 'one may be'],
  ] as const) {
    const rule = new CheckpointRule(() => random)
    for (const round of [1, 2]) {
      let count = 0
      for (; !rule.isDue; count += 1) rule.committed(bytes)
      tt.equal(count, commits, `${why}, round ${round}`)
      rule.done()
    }
  }
})
