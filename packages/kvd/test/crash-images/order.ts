import { FileModel } from './file-model.ts'
import { NOTHING_SAID, Progress } from './images.ts'
import type { Plan } from './plan.ts'
import type { Recording } from './recording.ts'

const WAL = 'kvd.db-wal'
const MARK = 'hwm'

/**
 * Looks for promises in a recording that came before their sync: an answer without a sync of the
 * write-ahead log for each step since the start, or of the mark for each vote among them; a mark while
 * the log is not synced. Undefined: none.
 */
export function orderProblem({ files, calls }: Recording, plan: Plan): string | undefined {
  const model = new FileModel(files)
  const progress = new Progress(NOTHING_SAID)
  const syncs = { [WAL]: 0, [MARK]: 0 }
  let opened = 0
  for (const [at, call] of calls.entries()) {
    const { signature } = model
    if (call.type === 'write' && call.file === MARK && signature.includes(`write ${WAL}`))
      return `call ${at}: the mark is written before the log is synced`
    for (const file of [WAL, MARK] as const)
      if (call.type === 'sync' && call.file === file && signature.includes(`write ${file}`))
        syncs[file] += 1
    model.apply(call)
    progress.hear(call)
    if (call.type !== 'note') continue
    const { answered, issued } = progress.said
    if (call.text.startsWith('opened ')) {
      opened = issued
      syncs[WAL] = 0
      syncs[MARK] = 0
    }
    if (!call.text.startsWith('answered ')) continue
    const steps = plan.steps.slice(opened, answered)
    const votes = steps.filter(({ vote }) => vote !== undefined)
    if (steps.length > syncs[WAL] || votes.length > syncs[MARK])
      return (
        `call ${at}: ${steps.length} steps with ${votes.length} votes are answered, ` +
        `after ${syncs[WAL]} syncs of the log and ${syncs[MARK]} of the mark`
      )
  }
  return undefined
}
