/** A change to the code under test that makes it wrong, as text to be found once and replaced. */
export interface Mutant {
  readonly id: string
  readonly what: string
  readonly patches: readonly Patch[]
  /** It takes more seeds than a run before a merge has. */
  readonly isRare: boolean
}

export interface Patch {
  /** Compiled file below src/. */
  readonly file: string
  readonly find: string
  readonly replace: string
}

/** Found only after thousands of seeds; tests by table find them at once. */
const RARE: ReadonlySet<string> = new Set(['M37'])

function mutant(
  id: string,
  what: string,
  ...patches: readonly (readonly [string, string, string])[]
): Mutant {
  return {
    id,
    what,
    patches: patches.map(([file, find, replace]) => ({ file, find, replace })),
    isRare: RARE.has(id),
  }
}

/** The list of correctness.md 2.6. A place outside of src/ stands in for a driver that is wrong. */
export const mutants: readonly Mutant[] = [
  mutant('M01', 'a vote leaves before it is on the disk', [
    'raft/state.js',
    'const waits = DURABLE_FIRST.has(body.type) || this.#termBatch > this.persistedSeq;',
    "const waits = body.type !== 'voteResp' && (DURABLE_FIRST.has(body.type) || this.#termBatch > this.persistedSeq);",
  ]),
  mutant('M02', 'an append is acknowledged before it is on the disk', [
    'raft/state.js',
    "    'appResp',\n",
    '',
  ]),
  mutant('M03', 'the leader counts its own entries before they are on the disk', [
    'raft/replication.js',
    'state.uncommittedBytes += sizeOf(entry);',
    'state.uncommittedBytes += sizeOf(entry); const own = state.progress.get(state.id); if (own !== undefined) own.match = entry.index;',
  ]),
  mutant('M04', 'entries of earlier terms are committed by counting', [
    'raft/replication.js',
    'if (log.term(reached) !== state.term)',
    'if (reached === 0)',
  ]),
  mutant('M05', 'a leader does not step down on a later term', [
    'raft/core.js',
    'if (message.term > state.term) {',
    "if (message.term > state.term && state.role !== 'leader') {",
  ]),
  mutant('M06', 'a vote is kept across terms', [
    'raft/state.js',
    '        this.#vote = NONE;\n',
    '',
  ]),
  mutant('M07', 'a vote is given to a candidate whose log is behind', [
    'raft/election.js',
    'mayVote && isUpToDate(state, message)',
    'mayVote',
  ]),
  mutant('M08', 'logs are compared by their last index alone', [
    'raft/election.js',
    'if (lastTerm !== log.lastTerm)',
    'if (false)',
  ]),
  mutant('M09', 'entries that match are cut off as well', [
    'raft/log.js',
    'if (this.matches(entry.index, entry.term)) {',
    'if (entry.index <= this.#commit) {',
  ]),
  mutant('M10', 'a follower commits what the message did not prove', [
    'raft/replication.js',
    'log.commitTo(Math.min(commit, proven))',
    'log.commitTo(Math.min(commit, log.last))',
  ]),
  mutant('M11', 'a heartbeat commits beyond what the member has', [
    'raft/replication.js',
    'const commit = Math.min(progress.match, state.log.commit);',
    'const commit = state.log.commit;',
  ]),
  mutant('M12', 'a quorum is one too few', [
    'raft/progress.js',
    'Math.floor(voters.length / 2) + 1',
    'Math.max(1, Math.floor(voters.length / 2))',
  ]),
  mutant('M13', 'the configuration changes before the first commit of the term', [
    'raft/election.js',
    'state.pendingConfIndex = state.log.last;',
    'state.pendingConfIndex = 0;',
  ]),
  mutant('M14', 'somebody campaigns with a change of the configuration unapplied', [
    'raft/state.js',
    ' && !this.hasUnappliedConf',
    '',
  ]),
  mutant('M15', 'a removed member still counts', [
    'raft/core.js',
    'const voters = without(state.conf.voters);',
    "const voters = change.type === 'remove' ? [...state.conf.voters] : without(state.conf.voters);",
  ]),
  mutant('M16', 'a new leader answers reads before its first commit', [
    'raft/reads.js',
    'if (!knowsCommit(state))\n        return false;',
    '',
  ]),
  mutant('M17', 'reads are confirmed without hearing from anybody', [
    'raft/reads.js',
    'const isConfirmed = ({ round }) => round > 0 &&',
    'const isConfirmed = ({ round }) => round > 0 ||',
  ]),
  mutant(
    'M18',
    'a read that is tried again keeps its number',
    [
      'raft/reads.js',
      'state.readBatch += 1;',
      'if (state.again !== true) state.readBatch += 1; state.again = false;',
    ],
    [
      'raft/reads.js',
      'state.openReads.unshift(...state.sentReads.ids);',
      'state.openReads.unshift(...state.sentReads.ids); state.again = true;',
    ],
  ),
  mutant(
    'M19',
    'a batch speaks for entries that were overwritten since',
    [
      'raft/log.js',
      '        const taken = this.#entries.slice(this.#unwritten',
      '        (this.lasts ??= new Map()).set(seq, this.last);\n        const taken = this.#entries.slice(this.#unwritten',
    ],
    [
      'raft/log.js',
      '        this.#durable = Math.max(this.#durable, this.#offset);',
      '        this.#durable = Math.max(this.#durable, this.#offset, Math.min(this.lasts?.get(seq) ?? 0, this.last));',
    ],
  ),
  mutant(
    'M20',
    'a snapshot leaves the old end of the log',
    [
      'raft/log.js',
      '        this.#offset = meta.index;\n        this.#offsetTerm = meta.term;',
      '        const tail = this.#entries.slice(Math.max(0, meta.index - this.#offset));\n        this.#offset = meta.index;\n        this.#offsetTerm = meta.term;',
    ],
    [
      'raft/log.js',
      '        this.#entries = [];\n        this.#batches = [];',
      '        this.#entries = tail;\n        this.#batches = tail.map(() => seq);',
    ],
  ),
  mutant('M21', 'a snapshot comes without its configuration', [
    'raft/core.js',
    '            state.conf = meta.conf;\n',
    '',
  ]),
  mutant('M22', 'entries are applied before they are on the disk', [
    'raft/log.js',
    'return Math.min(this.#commit, this.#durable);',
    'return this.#commit;',
  ]),
  mutant(
    'M23',
    'a forwarded proposal is sent again after a while',
    [
      'raft/proposals.js',
      'state.forwarded.set(proposal.id, state.term);',
      'state.forwarded.set(proposal.id, state.term); (state.again ??= []).push(proposal);',
    ],
    [
      'raft/core.js',
      '        tickReads(state);',
      "        tickReads(state);\n        if (state.lead !== NONE && state.role === 'follower' && state.electionElapsed % 3 === 2) for (const proposal of state.again?.splice(0) ?? []) state.send(state.lead, { type: 'prop', proposal });",
    ],
  ),
  mutant('M24', 'keys expire by the clock of the member', [
    '../test/simulator/member.js',
    'const change = this.machine.apply(entry);',
    "this.machine.store.apply(command({ op: 'sync', time: this.clock.wallMs }));\n        const change = this.machine.apply(entry);",
  ]),
  mutant('M25', 'a TTL counts by the clock of the member that was asked', [
    'raft/proposals.js',
    "proposal.kind === 'request' ? stamp(state, proposal) : proposal",
    'proposal',
  ]),
  mutant('M26', 'a damaged member votes', [
    'raft/election.js',
    'isUpToDate(state, message) && !state.isDamaged;',
    'isUpToDate(state, message);',
  ]),
  mutant(
    'M27',
    'a joiner with an empty log campaigns',
    ['raft/state.js', 'return this.isVoter() && !this.isDamaged', 'return !this.isDamaged'],
    [
      'raft/progress.js',
      'Math.floor(voters.length / 2) + 1',
      '(voters.length === 0 ? 0 : Math.floor(voters.length / 2) + 1)',
    ],
  ),
  mutant('M28', 'a pre-vote changes the term', [
    'raft/core.js',
    "if (message.type === 'vote')\n                becomeFollower",
    'becomeFollower',
  ]),
  mutant('M29', 'a leader does not check its quorum', [
    'raft/core.js',
    '            checkQuorum(state);\n',
    '',
  ]),
  mutant('M30', 'the log is cut above what is applied', [
    'raft/core.js',
    'this.#state.log.compact(index);',
    'this.#state.log.compact(this.#state.log.last);',
  ]),
  mutant('M31', 'what was lost keeps its place in the window', [
    'raft/progress.js',
    '    progress.isSearching = false;\n    progress.inflight = [];',
    '    progress.isSearching = false;',
  ]),
  mutant('M32', 'a learner does not vote, though it may have been promoted', [
    'raft/election.js',
    '&& !state.isDamaged;',
    '&& !state.isDamaged && state.isVoter();',
  ]),
  mutant('M33', 'cluster time is what the leader’s own clock says', [
    'raft/cluster-clock.js',
    'const reached = quorumValue(conf, (id) => id === state.id ? options.clock() : (clocks.get(id) ?? -Infinity) + elapsed);',
    'const reached = options.clock();',
  ]),
  mutant('M34', 'an entry may be earlier than the last sync', [
    'store/store.js',
    'given.time < this.#stats.syncTime ?',
    'given.time < 0 ?',
  ]),
  mutant('M35', 'the word of a damaged member counts for a commit', [
    'raft/replication.js',
    'other === undefined || other.isDamaged ? 0 : other.match',
    'other === undefined ? 0 : other.match',
  ]),
  mutant('M36', 'a heartbeat commits what an earlier life has acknowledged', [
    'raft/replication.js',
    'if (life === state.options.incarnation)',
    'if (life >= 0)',
  ]),
  mutant('M37', 'a damaged member takes for committed what its log has there', [
    'raft/state.js',
    'const commit = hard.isDamaged ? applied : this.claimed;',
    'const commit = Math.max(applied, Math.min(this.claimed, log.index + log.entries.length));',
  ]),
]
