import { Random } from '../../helpers/random.ts'
import { Agenda } from '../../simulator/agenda.ts'
import { Recorder, type Ending, type Entry } from '../history.ts'
import { finalReads, Workload } from '../workload.ts'
import type { Fault } from './faults.ts'
import { StubServer } from './server.ts'

const CLIENTS = 8
const MEMBERS = 3
const TIMEOUT_MS = 100
const DELAY_MS_MAX = 8

/**
 * Lets clients loose on a stub server for so many virtual seconds; the same seed gives the same
 * history. Requests and answers get lost on the way and the server restarts, which is no fault.
 */
export function runStub(seed: number, seconds: number, fault?: Fault, localShare = 0): Entry[] {
  const random = new Random(seed)
  const agenda = new Agenda()
  const recorder = new Recorder(() => agenda.now)
  const server = new StubServer(agenda, random.fork(), fault)
  const workload = new Workload({ random: random.fork(), prefix: '/lin', keys: 4, localShare })
  const endMs = seconds * 1000
  const network = random.fork()
  const delay = (): number => network.int(0, DELAY_MS_MAX)

  const runClient = (p: number): void => {
    if (agenda.now >= endMs) return
    const request = workload.next(p)
    const member = network.int(0, MEMBERS - 1)
    const op = recorder.invoke(p, `member${member}`, request)
    let isOver = false
    const end = (ending: Ending): void => {
      if (isOver) return
      isOver = true
      recorder.complete(op, ending)
      workload.ended(request, ending)
      agenda.after(delay(), () => runClient(p))
    }
    if (network.chance(0.02)) {
      agenda.after(delay(), () => end({ e: 'fail', why: 'refused' }))
      return
    }
    agenda.after(TIMEOUT_MS, () => end({ e: 'info', why: 'timeout' }))
    if (network.chance(0.01)) return
    // A request on the way may be carried out long after its client has given up.
    agenda.after(network.chance(0.01) ? 3 * TIMEOUT_MS : delay(), () =>
      server.handle(member, request, (r) => {
        if (!network.chance(0.01)) agenda.after(delay(), () => end({ e: 'ok', r }))
      }),
    )
  }
  for (let p = 0; p < CLIENTS; p += 1) runClient(p)
  for (let at = 200; at < endMs; at += network.int(200, 800))
    agenda.after(at, () => server.restart())
  while (agenda.step());
  for (const request of finalReads(recorder.entries)) {
    const op = recorder.invoke(CLIENTS, 'member0', request)
    server.handle(0, request, (r) => recorder.complete(op, { e: 'ok', r }))
  }
  return recorder.entries
}
