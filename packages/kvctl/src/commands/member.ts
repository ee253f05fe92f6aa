import type { KvClient, Member } from '@flotilla/kv-client'
import { totalTimeout, withClient } from '../client.ts'
import { EXIT, ExitError } from '../context.ts'
import type { Context, Run } from '../context.ts'
import { errorText, plainFailure } from '../errors.ts'
import { checkPeerUrls } from '../urls.ts'

/** Ends the command with a text on stderr and exit 1. */
export function refuse(text: string): ExitError {
  return new ExitError(EXIT.badArgs, `${text}\n`)
}

/** Runs one step of a member, user, role or auth command; a failure is its message alone. */
export async function step<T>(promise: Promise<T>): Promise<T> {
  try {
    return await promise
  } catch (error) {
    throw plainFailure(error)
  }
}

/** A command with a client and the time it may take. */
export function timed(
  use: (context: Context, client: KvClient, signal: AbortSignal) => Promise<void>,
): Run {
  return (context) =>
    withClient(context, async (client) => {
      await use(context, client, totalTimeout(context.global))
      return EXIT.success
    })
}

/** Checks the arguments before anything is connected. */
export function checked(check: (args: readonly string[]) => void, run: Run): Run {
  return async (context) => {
    check(context.args)
    return run(context)
  }
}

export function noArguments(args: readonly string[]): void {
  if (args.length > 0) throw refuse('No arguments accepted')
}

export const memberList: Run = checked(
  noArguments,
  timed(async ({ io }, client, signal) => {
    const members = await step(client.members({ signal }))
    const leader = await leaderOf(client, signal)
    for (const member of members) io.stdout(memberLine(member, leader.id))
  }),
)

async function leaderOf(client: KvClient, signal: AbortSignal): Promise<Member> {
  try {
    return await client.leader({ signal })
  } catch (error) {
    throw refuse(`Failed to get leader:  ${errorText(error)}`)
  }
}

/** One line of `member list`. */
export function memberLine({ id, name, peerURLs, clientURLs }: Member, leaderId: string): string {
  const peers = `peerURLs=${peerURLs.join(',')}`
  if (name === '') return `${id}[unstarted]: ${peers}\n`
  return `${id}: name=${name} ${peers} clientURLs=${clientURLs.join(',')} isLeader=${id === leaderId}\n`
}

export const memberAdd: Run = checked(
  (args) => {
    if (args.length !== 2) throw refuse('Provide a name and a single member peerURL')
  },
  timed(async ({ io, args }, client, signal) => {
    const [name = '', peerUrl = ''] = args
    const [url = ''] = checkPeerUrls([peerUrl])
    const added = await step(client.addMember(url, { signal }))
    io.stdout(`Added member named ${name} with ID ${added.id} to cluster\n`)
    const members = await step(client.members({ signal }))
    const named = members.map((one) => (one.id === added.id ? { ...one, name } : one))
    io.stdout(`\n${configuration(name, named)}`)
  }),
)

/** What the new member's environment must say. */
export function configuration(name: string, members: readonly Member[]): string {
  const cluster = members.flatMap((member) => member.peerURLs.map((url) => `${member.name}=${url}`))
  return [
    `ETCD_NAME=${JSON.stringify(name)}\n`,
    `ETCD_INITIAL_CLUSTER=${JSON.stringify(cluster.join(','))}\n`,
    'ETCD_INITIAL_CLUSTER_STATE="existing"\n',
  ].join('')
}

const DOCS =
  'https://github.com/coreos/etcd/blob/master/Documentation/runtime-configuration.md#remove-a-member'

export const memberRemove: Run = checked(
  (args) => {
    if (args.length !== 1) throw refuse('Provide a single member ID')
  },
  timed(async ({ io, args }, client, signal) => {
    const [id = ''] = args
    for (const member of await knownMembers(client, signal)) {
      if (member.name === id) io.stderr(nameHint(member))
      if (member.id !== id) continue
      await remove(client, id, signal)
      io.stdout(`Removed member ${id} from cluster\n`)
      return
    }
    throw refuse(`Couldn't find a member in the cluster with an ID of ${id}.`)
  }),
)

async function knownMembers(client: KvClient, signal: AbortSignal): Promise<readonly Member[]> {
  try {
    return await client.members({ signal })
  } catch (error) {
    throw refuse(`Error while verifying ID against known members: ${errorText(error)}`)
  }
}

async function remove(client: KvClient, id: string, signal: AbortSignal): Promise<void> {
  try {
    await client.removeMember(id, { signal })
  } catch (error) {
    const text = `Received an error trying to remove member ${id}: ${errorText(error)}`
    throw new ExitError(EXIT.badArgs, text)
  }
}

function nameHint({ name, id }: Member): string {
  return (
    `Found a member named ${name}; if this is correct, please use its ID, eg:\n` +
    `\tetcdctl member remove ${id}\n` +
    `For more details, read the documentation at ${DOCS}\n\n`
  )
}

export const memberUpdate: Run = checked(
  (args) => {
    if (args.length === 2) return
    throw refuse(
      'Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)',
    )
  },
  timed(async ({ io, args }, client, signal) => {
    const [id = '', urls = ''] = args
    await step(client.updateMember(id, checkPeerUrls(urls.split(',')), { signal }))
    io.stdout(`Updated member with ID ${id} in cluster\n`)
  }),
)
