import t from 'tap'
import { readInvocation, type Config } from '../src/config.ts'
import { FLAGS } from '../src/flags.ts'
import { configOf, refusalOf } from './helpers/configs.ts'
import { usage, versionText } from '../src/usage.ts'

t.test('without flags kvd is what etcd is without flags', async (tt) => {
  const config = configOf([])
  tt.match(config, {
    name: 'default',
    dataDir: 'default.etcd',
    storageDir: 'default.etcd/member',
    snapshotCount: 10_000,
    heartbeatMs: 100,
    electionMs: 1000,
    peerURLs: ['http://localhost:2380', 'http://localhost:7001'],
    clientURLs: ['http://localhost:2379', 'http://localhost:4001'],
    clusterToken: 'etcd-cluster',
    corsOrigins: [],
    eventHistory: 1000,
    isDebug: false,
    given: [],
    warnings: [],
  })
  tt.same(config.listenClientURLs.map(String), ['http://localhost:2379/', 'http://localhost:4001/'])
  tt.same(config.listenPeerURLs.map(String), ['http://localhost:2380/', 'http://localhost:7001/'])
  tt.ok(Object.isFrozen(config))
})

t.test('flags, variables, and which of them wins', async (tt) => {
  const env = {
    ETCD_NAME: 'by-etcd',
    KVD_NAME: 'by-kvd',
    ETCD_DATA_DIR: '/data',
    ETCD_SNAPSHOT_COUNT: '7',
    KVD_CORS: 'http://a, http://b',
    ETCD_HEARTBEAT_INTERVAL: '',
    ETCD_MYSTERY: 'x',
    PATH: '/bin',
  }
  const config = configOf(['-snapshot-count', '9', '--event-history=5'], env)
  tt.match(config, {
    name: 'by-kvd',
    dataDir: '/data',
    storageDir: '/data/member',
    snapshotCount: 9,
    corsOrigins: ['http://a', 'http://b'],
    eventHistory: 5,
    heartbeatMs: 100,
    warnings: [
      'unrecognized environment variable ETCD_MYSTERY',
      'recognized environment variable ETCD_SNAPSHOT_COUNT, but unused: shadowed by corresponding flag',
    ],
  })
  tt.same(
    config.given.map(({ name, source }) => `${name} ${source}`),
    [
      'name environment',
      'data-dir environment',
      'snapshot-count flag',
      'cors environment',
      'event-history flag',
    ],
  )
  tt.match(configOf(['--wal-dir', '/wal']), { dataDir: 'default.etcd', storageDir: '/wal' })
  tt.equal(configOf(['--name', 'x']).dataDir, 'x.etcd')
})

t.test('what makes the log talkative', async (tt) => {
  const cases: [argv: string[], isDebug: boolean][] = [
    [['--debug'], true],
    [['--debug=false'], false],
    [['--log-package-levels', 'etcdmain=CRITICAL,etcdserver=DEBUG'], true],
    [['--log-package-levels', 'raft=trace'], true],
    [['--log-package-levels', 'raft=INFO'], false],
  ]
  for (const [argv, isDebug] of cases) tt.equal(configOf(argv).isDebug, isDebug, argv.join(' '))
})

t.test('URLs', async (tt) => {
  const advertise = ['--advertise-client-urls', 'http://h:1,http://[::1]:80']
  const config = configOf([...advertise, '--listen-client-urls', 'http://0.0.0.0:1,http://[::]:2'])
  tt.same(config.clientURLs, ['http://h:1', 'http://[::1]:80'], 'the port is shown, also 80')
  tt.same(
    config.listenClientURLs.map(({ host }) => host),
    ['0.0.0.0:1', '[::]:2'],
  )
  const old = configOf([
    '-addr',
    '10.0.0.1:4001',
    '-bind-addr',
    '0.0.0.0:4001',
    '-peer-addr=h:7001',
  ])
  tt.same(old.clientURLs, ['http://10.0.0.1:4001'], 'the flags of 0.4')
  tt.same(old.listenClientURLs.map(String), ['http://0.0.0.0:4001/'])
  tt.same(old.peerURLs, ['http://h:7001'])
  tt.same(old.listenPeerURLs.map(String), ['http://h:7001/'])
  const peer = configOf(['-peer-addr=h:1', '-peer-bind-addr=0.0.0.0:2'])
  tt.same(peer.listenPeerURLs.map(String), ['http://0.0.0.0:2/'])
  tt.same(
    configOf(['-addr', 'h:1', ...advertise]).clientURLs,
    ['http://h:1', 'http://[::1]:80'],
    'the new flag counts where both are given',
  )
})

t.test('a cluster of several members', async (tt) => {
  const three = 'a=http://h:1,b=http://i:1,c=http://j:1,b=http://i:2'
  const flags = ['--name', 'b', '--initial-advertise-peer-urls', 'http://i:1,http://i:2']
  const config = configOf([...flags, '--initial-cluster', three])
  tt.same(
    [...config.initialCluster],
    [
      ['a', ['http://h:1']],
      ['b', ['http://i:1', 'http://i:2']],
      ['c', ['http://j:1']],
    ],
  )
  tt.same(config.clusterPeerURLs, ['http://h:1', 'http://i:1', 'http://i:2', 'http://j:1'])
  const alone = configOf(flags)
  tt.same(
    [...alone.initialCluster],
    [['b', ['http://i:1', 'http://i:2']]],
    'unless it is said, a member is alone',
  )
})

t.test('how a member comes to its cluster, and lets others in', async (tt) => {
  type Fields = 'clusterState' | 'forcesNewCluster' | 'isReconfigStrict' | 'addsVoters'
  const usual: Pick<Config, Fields> = {
    clusterState: 'new',
    forcesNewCluster: false,
    isReconfigStrict: false,
    addsVoters: false,
  }
  const cases: [argv: string[], env: Record<string, string>, changed: Partial<typeof usual>][] = [
    [[], {}, {}],
    [['--initial-cluster-state', 'existing'], {}, { clusterState: 'existing' }],
    [['--initial-cluster-state=new'], { ETCD_INITIAL_CLUSTER_STATE: 'existing' }, {}],
    [[], { ETCD_INITIAL_CLUSTER_STATE: 'existing' }, { clusterState: 'existing' }],
    [['--force-new-cluster'], {}, { forcesNewCluster: true }],
    [['--force-new-cluster=false'], { ETCD_FORCE_NEW_CLUSTER: 'true' }, {}],
    [['-strict-reconfig-check'], {}, { isReconfigStrict: true }],
    [[], { KVD_STRICT_RECONFIG_CHECK: 'true' }, { isReconfigStrict: true }],
    [['--add-members-as-voters'], {}, { addsVoters: true }],
    [[], { KVD_ADD_MEMBERS_AS_VOTERS: '1' }, { addsVoters: true }],
  ]
  for (const [argv, env, changed] of cases)
    tt.match(
      configOf(argv, env),
      { ...usual, ...changed },
      `${argv.join(' ')} ${JSON.stringify(env)}`,
    )
})

t.test('an initial cluster is names and URLs, several of one name', async (tt) => {
  const flags = ['--name', 'a', '--initial-advertise-peer-urls', 'http://h:1,http://h:2']
  const both = new Map([['a', ['http://h:2', 'http://h:1']]])
  for (const cluster of ['a=http://h:2,a=http://h:1', ' a=http://h:2 , a=http://h:1,'])
    tt.match(configOf([...flags, '--initial-cluster', cluster]), { initialCluster: both }, cluster)
  // A member that has data may have moved: whether it is among them is asked when it begins.
  tt.equal(refusalOf([...flags, '--initial-cluster', 'b=http://h:1']), 'accepted')
  tt.equal(
    refusalOf([...flags, '--initial-cluster', 'http://h:1']),
    '2+ invalid value "http://h:1" for flag -initial-cluster: must be NAME=URL',
  )
})

t.test('mistakes, in the words and with the statuses of the original', async (tt) => {
  const cases: [argv: string[], refusal: string][] = [
    [['--nope'], '2+ flag provided but not defined: -nope'],
    [['--snapshot-count', 'many'], '2+ invalid value "many" for flag -snapshot-count: parse error'],
    [['--debug=maybe'], '2+ invalid boolean value "maybe" for -debug: parse error'],
    [['--name'], '2+ flag needs an argument: -name'],
    [['foo'], `1 error verifying flags, 'foo' is not a valid flag. See 'etcd --help'.`],
    [
      ['--debug', 'true'],
      `1 error verifying flags, 'true' is not a valid flag. See 'etcd --help'.`,
    ],
    [
      ['--listen-client-urls', 'http://h:1'],
      "1 error verifying flags, -advertise-client-urls is required when -listen-client-urls is set explicitly. See 'etcd --help'.",
    ],
    [
      ['--heartbeat-interval', '500'],
      '1 -election-timeout[1000ms] should be at least as 5 times as -heartbeat-interval[500ms]',
    ],
    [
      ['--election-timeout', '60000'],
      '1 -election-timeout[60000ms] is too long, and should be set less than 50000ms',
    ],
    [['--event-history', '0'], '1 flag -event-history: at least 1 event must be kept'],
    [['--snapshot-count=0'], '1 flag -snapshot-count: must be at least 1'],
    [['--proxy', 'maybe'], '2+ invalid value "maybe" for flag -proxy: invalid value'],
    [
      ['--strict-reconfig-check=maybe'],
      '2+ invalid boolean value "maybe" for -strict-reconfig-check: parse error',
    ],
    [
      ['--force-new-cluster=maybe'],
      '2+ invalid boolean value "maybe" for -force-new-cluster: parse error',
    ],
    [
      ['--initial-cluster-state', 'old'],
      '2+ invalid value "old" for flag -initial-cluster-state: invalid value',
    ],
    [['--peers', 'x'], '2 flag "-peers" is no longer supported.'],
    [['-peers-file=x'], '2 flag "-peers-file" is no longer supported.'],
    [['--dump', 'all'], '2+ invalid value "all" for flag -dump: must be image or log'],
  ]
  for (const [argv, refusal] of cases) tt.equal(refusalOf(argv), refusal, argv.join(' '))
  tt.equal(
    refusalOf([], { ETCD_SNAPSHOT_COUNT: 'many' }),
    '2+ invalid value "many" for ETCD_SNAPSHOT_COUNT: parse error',
  )
  tt.equal(
    refusalOf([], { KVD_ENABLE_PPROF: 'true' }),
    refusalOf(['--enable-pprof']),
    'a flag that is refused is refused wherever it comes from',
  )
})

t.test('URLs that cannot be listened on', async (tt) => {
  const cases: [url: string, refusal: string][] = [
    ['', '2+ invalid value "" for flag -listen-peer-urls: no valid URLs given'],
    [
      'ftp://h:1',
      '2+ invalid value "ftp://h:1" for flag -listen-peer-urls: URL scheme must be http or https: ftp://h:1',
    ],
    [
      'h:1',
      '2+ invalid value "h:1" for flag -listen-peer-urls: URL scheme must be http or https: h:1',
    ],
    [
      'http://h',
      '2+ invalid value "http://h" for flag -listen-peer-urls: URL address does not have the form "host:port": http://h',
    ],
    [
      'http://h:1/p',
      '2+ invalid value "http://h:1/p" for flag -listen-peer-urls: URL address does not have the form "host:port": http://h:1/p',
    ],
  ]
  for (const [url, refusal] of cases) tt.equal(refusalOf(['--listen-peer-urls', url]), refusal, url)
})

t.test('flags of 0.4 that mean nothing any more are ignored with a warning', async (tt) => {
  const { warnings } = configOf(['-cluster-active-size', '5', '-vv', '-config=/etc/x', '-force'])
  tt.same(warnings, [
    'flag "-cluster-active-size" is no longer supported - ignoring.',
    'flag "-config" is no longer supported - ignoring.',
    'flag "-force" is no longer supported - ignoring.',
    'flag "-vv" is no longer supported - ignoring.',
  ])
})

t.test('what else kvd is asked for', async (tt) => {
  const cases: [argv: string[], type: string][] = [
    [['--version'], 'version'],
    [['--version', '--snapshot-count', '5', 'extra'], 'version'],
    [['--version=false'], 'run'],
    [['--version=0'], 'run'],
    [['-h'], 'help'],
    [['--help', '--nope'], 'help'],
    [['--dump', 'image'], 'dump'],
    [['--dump=log', '--data-dir', '/d'], 'dump'],
  ]
  for (const [argv, type] of cases) tt.equal(readInvocation(argv, {}).type, type, argv.join(' '))
  tt.match(readInvocation(['--dump=log', '--data-dir', '/d'], {}), {
    source: 'log',
    config: { storageDir: '/d/member' },
  })
})

t.test('the help shows every flag that works, and none that does not', async (tt) => {
  const text = usage()
  for (const [name, spec] of Object.entries(FLAGS)) {
    const isShown = new RegExp(`\n  --${name}( '|\n)`).test(text)
    const works = !('unsupported' in spec) && !('hidden' in spec)
    tt.equal(isShown, works, name)
  }
  tt.match(text, "--event-history '1000'\n        events kept")
  tt.match(text, '--data-dir\n', 'an empty default is not shown')
})

t.test('the version has the lines that scripts cut apart', async (tt) => {
  tt.match(
    versionText('0.1.0'),
    /^etcd Version: 2\.3\.8\nGit SHA: kvd 0\.1\.0\nGo Version: none \(Node v\d+\.\d+\.\d+\)\nGo OS\/Arch: \w+\/\w+\n$/,
  )
})

t.test('an existing engine: its URLs, prefix, user and files', async (tt) => {
  tt.equal(configOf([]).existingEngine, undefined)
  const plain = configOf(['--existing-engine', 'http://e1:2379,https://e2']).existingEngine
  tt.same(plain?.endpoints.map(String), ['http://e1:2379/', 'https://e2/'])
  tt.match(plain, { prefix: '/__kvd', user: undefined, isSerializable: false, caFile: undefined })
  const config = configOf(
    [
      ['--existing-engine-prefix', '/a/b/'],
      ['--existing-engine-user', 'u:p:w'],
      ['--existing-engine-serializable-reads'],
      ['--existing-engine-ca-file', 'ca', '--existing-engine-cert-file', 'c'],
      ['--existing-engine-key-file', 'k'],
    ].flat(),
    { KVD_EXISTING_ENGINE: 'http://e1:2379' },
  )
  tt.match(config.existingEngine, {
    prefix: '/a/b',
    user: { name: 'u', password: 'p:w' },
    isSerializable: true,
    caFile: 'ca',
    certFile: 'c',
    keyFile: 'k',
  })
  const user = config.given.find(({ name }) => name === 'existing-engine-user')
  tt.equal(user?.value, 'u:...', 'the log shows no password')
  tt.equal(config.existingEngine?.hasPeerPort, false, "the default is etcd's own")
  const url = 'http://localhost:7002'
  for (const flags of [
    ['--listen-peer-urls', url, '--initial-advertise-peer-urls', url],
    ['--peer-addr', 'localhost:7002'],
  ]) {
    const told = configOf(['--existing-engine', 'http://e1:2379', ...flags])
    tt.equal(told.existingEngine?.hasPeerPort, true, flags.join(' '))
  }
})

t.test(
  'an existing engine that cannot be meant is refused, by the name of the flag',
  async (tt) => {
    const engine = ['--existing-engine', 'http://e1:2379']
    for (const [flags, refusal] of [
      [
        ['--existing-engine', 'e1:2379'],
        /^2\+ invalid value "e1:2379" for flag -existing-engine: /,
      ],
      [['--existing-engine', 'http://e/x'], /must not contain a path/],
      [['--existing-engine', ' '], /^2\+ .*-existing-engine: no valid URLs given/],
      [[...engine, '--existing-engine-prefix', 'x'], /^2\+ .*-existing-engine-prefix: /],
      [[...engine, '--existing-engine-prefix', '/'], /^2\+ .*-existing-engine-prefix: /],
      [
        [...engine, '--existing-engine-user', 'secret'],
        /^2\+ .*"\.\.\." for flag -existing-engine-user: /,
      ],
      [[...engine, '--existing-engine-cert-file', 'c'], /^1 flag -existing-engine-cert-file: /],
      [[...engine, '--proxy', 'on'], /^1 flag -existing-engine: /],
      [
        [...engine, '--listen-peer-urls', 'http://localhost:7002'],
        /^1 flag -existing-engine: -listen-peer-urls needs -initial-advertise-peer-urls, /,
      ],
      [[...engine, '--discovery-service'], /^1 flag -existing-engine: .* out -discovery-service$/],
      [[...engine, '--force-new-cluster'], /^1 flag -existing-engine: .* out -force-new-cluster$/],
    ] as const)
      tt.match(refusalOf(flags), refusal, flags.join(' '))
  },
)
