import type { Entry, Message } from '../../src/raft/types.ts'

/** `index/term`, and what it is. */
export function textOfEntry({ index, term, kind, id }: Entry): string {
  return `${index}/${term}${kind === 'noop' ? '' : ` ${id}`}`
}

/** A message as a line. */
export function textOfMessage(message: Message): string {
  const { from, to, type, term } = message
  const detail = detailOf(message)
  return `${from} -> ${to} ${type} (${term})${detail === '' ? '' : ` ${detail}`}`
}

function detailOf(message: Message): string {
  switch (message.type) {
    case 'preVote':
    case 'vote':
      return `last ${message.lastIndex}/${message.lastTerm}${message.isTransfer ? ', transfer' : ''}`
    case 'preVoteResp':
    case 'voteResp':
      return message.isGranted ? 'yes' : 'no'
    case 'app': {
      const entries = message.entries.map((entry) => textOfEntry(entry)).join(', ')
      const after = `after ${message.prevIndex}/${message.prevTerm}`
      return `${after} [${entries}], commit ${message.commit}`
    }
    case 'appResp':
      return `up to ${message.index}${message.isDamaged ? ', damaged' : ''}`
    case 'appReject':
      return `not after ${message.index}, perhaps ${message.hintIndex}/${message.hintTerm}`
    case 'hb':
      return `commit ${message.commit}, round ${message.readBatch}`
    case 'hbResp':
      return `round ${message.readBatch}${message.isDamaged ? ', damaged' : ''}`
    case 'readIdx':
      return ''
    case 'readIdxResp':
      return `at ${message.index}`
    case 'prop':
      return message.proposal.id
    case 'propResp': {
      const { result } = message
      return `${message.id} ${result.type === 'dropped' ? 'dropped' : `at ${result.index}/${result.term}`}`
    }
    case 'snapOffer':
      return `${message.meta.index}/${message.meta.term}, voters ${message.meta.conf.voters.join(' ')}`
    case 'snapResp':
      return `${message.isOk ? 'has' : 'failed, has'} ${message.index}`
    case 'lost':
      return `life ${message.life}`
    case 'whole':
      return `life ${message.life}, up to ${message.index}/${message.lastTerm}`
    case 'timeoutNow':
      return ''
  }
}
