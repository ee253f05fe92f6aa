/**
 * A manager in a process of its own, to be killed: `node manager-process.js UNITS STATE NAME...` starts the units and
 * prints `NAME SUB` at each change.
 */
import { createEmbeddedManager } from '../../src/embedded/manager.ts'

const [, , unitsDirectory = '', stateDirectory = '', ...names] = process.argv
const manager = await createEmbeddedManager({ unitsDirectory, stateDirectory, machineID: 'm' })
manager.onChange((name) => {
  void manager.states([name]).then((states) => {
    process.stdout.write(`${name} ${states.get(name)?.subState ?? ''}\n`)
    return undefined
  })
})
for (const name of names) await manager.start(name)
