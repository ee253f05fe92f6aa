import type { Unit } from './client/types.ts'
import type { Context } from './context.ts'
import { localMachineID, runHere } from './local.ts'

/** A question to the machine of a unit, in both forms. */
export interface MachineQuestion {
  readonly kind: 'status' | 'journal'
  /** Program and arguments that answer it on the machine itself. */
  readonly local: readonly string[]
  readonly query: Readonly<Record<string, string>>
}

/** Prints what the unit's machine says: asked here when this is the machine, else through the fleetds' extension. */
export async function askMachine(
  context: Context,
  unit: Unit,
  question: MachineQuestion,
): Promise<number> {
  const { name, machineID } = unit
  const [program = '', ...args] = question.local
  if (machineID !== '' && (await localMachineID(context.env)) === machineID) {
    return await runHere(program, args)
  }
  const client = await context.client()
  const { kind, query } = question
  const answer = await client.ask({ kind, name, machineID, query })
  if (answer === undefined) {
    context.tell(
      `Unable to ask machine ${machineID}: its fleetd does not offer ${kind}, and SSH is not supported by this release.`,
    )
    return 1
  }
  for await (const text of answer.text) context.write(text)
  return answer.exitCode
}
