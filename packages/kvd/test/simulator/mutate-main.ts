import { tryMutants } from './mutate.ts'
import { mutants } from './mutants.ts'

// node …/simulator/mutate-main.js [BUDGET] [ID...]: which planted faults the simulator finds, and when.

const [budget = '20000', ...ids] = process.argv.slice(2)
const chosen = ids.length === 0 ? mutants : mutants.filter(({ id }) => ids.includes(id))
const detections = await tryMutants(
  Number(budget),
  ({ mutant, seeds, property }) =>
    process.stdout.write(
      `${mutant.id}  ${seeds === undefined ? 'NOT FOUND' : `seed ${seeds}, ${property}`}  ${mutant.what}\n`,
    ),
  chosen,
)
const found = detections.filter(({ seeds }) => seeds !== undefined).length
process.stdout.write(`${found} of ${detections.length} found\n`)
if (found < detections.length) process.exitCode = 1
