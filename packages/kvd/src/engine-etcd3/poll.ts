import { endsWithin } from '@flotilla/daemon'
import type { BodyStream, Responder } from '../http/message.ts'
import { refusal, type Refusal } from '../store/errors.ts'
import type { StoreEvent } from '../store/event.ts'
import { EtcdError } from './etcd-error.ts'
import type { LivePoll } from './follower.ts'
import { successHead, type Front } from './front.ts'
import { firstEvent, oldestIndexIfGone } from './history.ts'
import { indexOf } from './nodes.ts'

export interface WantedWatch {
  readonly key: string
  readonly recursive: boolean
  readonly stream: boolean
  /** First index wanted; 0 for "from now on". */
  readonly waitIndex: number
}

/** How long a watch waits for the front to hear of the writes that it has answered itself. */
const CATCH_UP_MS_MAX = 5_000

/**
 * Serves a v2 long poll (kvd.md 6): live, out of what this front remembers, or, while it has not
 * heard of as many events as the history has, out of etcd's own. Returns a refusal, or undefined
 * when the answer was begun.
 * @throws EtcdError
 */
export async function servePoll(
  front: Front,
  wanted: WantedWatch,
  responder: Responder,
): Promise<Refusal | undefined> {
  const { etcd, layout, follower, lastWritten } = front
  const { key, recursive, stream, waitIndex } = wanted
  if (waitIndex > 0) await endsWithin(follower.reached(lastWritten), CATCH_UP_MS_MAX)
  const now = indexOf(Math.max(etcd.revision, follower.position))
  const isPast = waitIndex > 0 && waitIndex <= now
  const isForgotten = isPast && waitIndex < follower.recent.first
  const oldest =
    (isPast ? follower.recent.oldestIfCleared(waitIndex) : undefined) ??
    (isForgotten ? await oldestIndexIfGone(etcd, layout, waitIndex) : undefined)
  if (oldest !== undefined)
    return refusal(401, `the requested history has been cleared [${oldest}/${waitIndex}]`, now)
  if (isForgotten) {
    void search(front, { ...wanted, now }, open(front, responder))
    return undefined
  }
  const past = isPast ? follower.recent.scan(key, recursive, waitIndex) : undefined
  const body = open(front, responder)
  if (past === undefined)
    follow(front, { ...wanted, since: isPast ? waitIndex : Math.max(waitIndex, now + 1) }, body)
  else tell(body, past, stream)
  return undefined
}

function open(front: Front, responder: Responder): BodyStream {
  const { etcd, follower } = front
  const revision = Math.max(etcd.revision, follower.position)
  const header = etcd.header ?? { clusterId: '0', memberId: '0', raftTerm: 0, revision }
  return responder.stream(200, successHead(front, { ...header, revision }))
}

/** As in the original, a stream that begins in the past tells one event and then stays silent. */
function tell(body: BodyStream, event: StoreEvent, isStream: boolean): void {
  if (isStream) body.write(`${event.json}\n`)
  else body.end(`${event.json}\n`)
}

async function search(
  { etcd, layout }: Front,
  wanted: WantedWatch & { readonly now: number },
  body: BodyStream,
): Promise<void> {
  const gone = new AbortController()
  body.onClose(() => gone.abort())
  const { waitIndex: from } = wanted
  try {
    const event = await firstEvent(etcd, layout, { ...wanted, from }, gone.signal)
    if (event === undefined) body.end()
    else tell(body, event, wanted.stream)
  } catch (error) {
    // The watch went with its member: the client comes again.
    if (!(error instanceof EtcdError)) throw error
    body.end()
  }
}

function follow(
  { follower, watchBytesMax }: Front,
  { key, recursive, stream, since }: WantedWatch & { readonly since: number },
  body: BodyStream,
): void {
  const poll: LivePoll = {
    key,
    recursive,
    since,
    mode: stream ? 'stream' : 'once',
    deliver: (event) => {
      if (!stream) body.end(`${event.json}\n`)
      else if (body.write(`${event.json}\n`) > watchBytesMax) body.end()
    },
    end: () => body.end(),
    lost: () => body.end(),
  }
  follower.add(poll)
  body.onClose(() => follower.remove(poll))
}
