// A process that writes the steps of a plan to a disk and notes on standard output what it issued and
// what was answered. It goes on where its directory stands. Arguments: directory, seed and length of
// the plan, the last step to write, how to end.
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { openDisk } from '../../src/storage/disk.ts'
import { Random } from '../helpers/random.ts'
import { BatchMaker, diskOptions, recoveredState } from './batch-shape.ts'
import { makePlan } from './plan.ts'

const [directory = '', seed = '', length = '', until = '', end = ''] = process.argv.slice(2)
const IN_FLIGHT_MAX = 3

function note(text: string): void {
  writeSync(1, `${text}\n`)
}

/** What the disk thread leaves after an I/O error, so that the next start rebuilds. */
function leaveIoError(): void {
  const fd = openSync(join(directory, 'io-error'), 'w')
  writeSync(fd, 'an error that never was\n', 0)
  closeSync(fd)
}

const plan = makePlan(Number(seed), Number(length))
const disk = await openDisk(diskOptions(directory))
const found = plan.states.lastIndexOf(recoveredState(disk.recovered))
if (found < 0) throw new Error(`not a state of the plan: ${recoveredState(disk.recovered)}`)
const maker = new BatchMaker(plan, disk.recovered)
note(`opened ${found} ${disk.recovered.loaded.incarnation}`)

let answered = found
let awaited: { readonly seq: number; readonly resolve: () => void } = {
  seq: 0,
  resolve: () => undefined,
}
disk.listen({
  persisted: (seq) => {
    note(`answered ${seq}`)
    answered = seq
    if (seq >= awaited.seq) awaited.resolve()
  },
  full: (seq, message) => {
    throw new Error(`no room for ${seq}: ${message}`)
  },
  failed: (error) => {
    throw error
  },
})

async function untilAnswered(seq: number): Promise<void> {
  if (answered >= seq) return
  await new Promise<void>((resolve) => {
    awaited = { seq, resolve }
  })
}

const random = new Random(Number(seed) + found)
for (const step of plan.steps.slice(found, Number(until))) {
  note(`issued ${step.seq}`)
  disk.write(maker.batch(step))
  await untilAnswered(step.seq + 1 - random.int(1, IN_FLIGHT_MAX))
}
await untilAnswered(Number(until))
if (end === 'close') await disk.close()
else {
  if (end === 'io-error') leaveIoError()
  process.kill(process.pid, 'SIGKILL')
}
