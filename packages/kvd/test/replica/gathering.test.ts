import t from 'tap'
import { Gathering } from '../../src/replica/gathering.ts'

/** `leaves last/waiting`, `given up`, or `commit held`. */
const CASES: readonly { readonly name: string; readonly steps: readonly string[] }[] = [
  { name: 'nothing has left yet', steps: ['0 free'] },
  { name: 'few at once wait for nobody', steps: ['leaves 95/95', '0 free', '94 free'] },
  { name: 'a crowd waits', steps: ['leaves 96/96', '0 held', '95 held', '96 free', '97 free'] },
  {
    name: 'a crowd of which most were answered just now is one still',
    steps: ['leaves 200/200', '200 free', 'leaves 210/10', '209 held', '210 free'],
  },
  {
    name: 'what is no crowd any more is forgotten as one',
    steps: [
      'leaves 200/200',
      ...Array.from({ length: 8 }, (_, at) => `leaves ${201 + at}/1`),
      '0 free',
    ],
  },
  {
    name: 'nothing new leaves: all is as it was',
    steps: ['leaves 100/100', 'leaves 100/1', '99 held', 'given up', 'leaves 100/100', '99 free'],
  },
  {
    name: 'who was given up waits no more, whoever leaves next does',
    steps: ['leaves 100/100', 'given up', '0 free', 'leaves 101/100', '100 held'],
  },
]

for (const { name, steps } of CASES)
  t.test(name, async (tt) => {
    const gathering = new Gathering()
    for (const step of steps) {
      const [, last, waiting] = /^leaves (\d+)\/(\d+)$/.exec(step) ?? []
      const [, commit, state] = /^(\d+) (held|free)$/.exec(step) ?? []
      if (last !== undefined) gathering.leaves(Number(last), Number(waiting))
      else if (step === 'given up') gathering.giveUp()
      else tt.equal(gathering.holds(Number(commit)), state === 'held', step)
    }
  })
