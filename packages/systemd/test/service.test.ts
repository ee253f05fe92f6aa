import t from 'tap'
import { parseConfigFile } from '../src/service/config-file.ts'
import { parseCommandLine } from '../src/service/command-line.ts'
import {
  expandVariables,
  parseEnvironment,
  parseEnvironmentFile,
} from '../src/service/environment.ts'
import { parseService, type Service } from '../src/service/service.ts'
import { expandSpecifiers, specifiersOf } from '../src/service/specifiers.ts'
import { splitWords } from '../src/service/words.ts'
import { CONTEXT } from './helpers/context.ts'
import { readRecorded } from './helpers/recorded.ts'

const recorded = readRecorded()
const REC = 'rec@a-b\\x2dc.service'

function parse(text: string, name = 'a.service'): Service {
  return parseService(name, text, CONTEXT)
}

const ENVIRONMENT = parse(`[Service]\nEnvironment=${recorded.environment}\n`).environment

t.test('command lines split, unquote and expand as systemd does', (tt) => {
  const specifiers = specifiersOf(REC, CONTEXT)
  for (const { line, argv } of recorded.arguments) {
    const { commands, isFatal } = parseCommandLine(`show-args ${line}`, specifiers)
    const [, ...words] = commands[0]?.argv ?? []
    tt.same(isFatal ? [] : expandVariables(words, ENVIRONMENT), argv, line)
  }
  tt.end()
})

t.test('prefixes do what systemd says', (tt) => {
  for (const { line, argv, loadState } of recorded.prefixes) {
    const service = parse(`[Service]\nType=oneshot\nExecStart=${line}\n`, REC)
    tt.equal(service.problem === undefined ? 'loaded' : 'bad-setting', loadState, line)
    const [command] = service.commands.ExecStart
    if (argv === null || command === undefined) continue
    const [, ...words] = command.argv
    tt.same(command.expandsVariables ? expandVariables(words, ENVIRONMENT) : words, argv, line)
  }
  tt.match(parse('[Service]\nExecStart=-@+/bin/x name y\n').commands.ExecStart, [
    {
      path: '/bin/x',
      argv: ['name', 'y'],
      ignoresFailure: true,
      isPrivileged: true,
      expandsVariables: true,
    },
  ])
  tt.end()
})

t.test('Environment= and EnvironmentFile= read as systemd reads them', (tt) => {
  for (const { text, variables } of recorded.settings) {
    const { environment } = parse(`[Service]\n${text}\n`, REC)
    tt.same(Object.fromEntries(environment), variables, text)
  }
  for (const { text, variables } of recorded.files) {
    tt.same(Object.fromEntries(parseEnvironmentFile(text)), variables, text)
  }
  tt.same(parseEnvironmentFile('A="\\\nb\\x"'), [['A', 'b\\x']])
  tt.same(parseEnvironment('A="x', new Map()).entries, [])
  tt.same(parseEnvironment('A="x', new Map()).remarks, ['Invalid syntax, ignoring: A="x'])
  tt.end()
})

t.test('words of a variable may be quoted carelessly', (tt) => {
  tt.same(splitWords('a "b c'), ['a', 'b c'])
  tt.same(splitWords("a\\ b 'c\\'"), ['a b', "c'"])
  tt.same(splitWords('a\\'), ['a'])
  tt.same(splitWords('  '), [])
  tt.end()
})

t.test('a unit file is read with the rules of systemd, not those of fleet', (tt) => {
  const { assignments, remarks } = parseConfigFile(
    [
      '\ufeffoutside=1',
      '[Unit]',
      'Description=a \\',
      '  b \\',
      '# comment',
      '  c',
      'NoEquals',
      '[Bogus]',
      'x=y',
      '[X-Fleet]',
      'Global=true',
      '[Broken',
      '[Service]',
      '; comment',
      '  Type = oneshot  ',
      'A=even\\\\',
      'B=end\\',
    ].join('\r\n'),
  )
  tt.same(
    assignments.map(({ section, name, value, line }) => [section, name, value, line]),
    [
      ['Unit', 'Description', 'a    b    c', 3],
      ['Service', 'Type', 'oneshot', 15],
      ['Service', 'A', 'even\\\\', 16],
      ['Service', 'B', 'end', 17],
    ],
  )
  tt.same(
    remarks.map(({ line, message }) => `${line}: ${message}`),
    [
      '1: Assignment outside of section. Ignoring.',
      "7: Missing '=', ignoring line.",
      "8: Unknown section 'Bogus'. Ignoring.",
      "12: Invalid section header '[Broken'",
    ],
  )
  tt.end()
})

t.test('all settings', (tt) => {
  const service = parse(
    `[Unit]
Description=About %n
Documentation=man:x(1) https://y
Documentation=z:
After=docker.service
StartLimitIntervalSec=1min
StartLimitBurst=7
[Service]
Type=exec
ExecCondition=/bin/c
ExecStartPre=-/bin/a ; /bin/b
ExecStart=/bin/x %i
ExecStartPost=/bin/p
ExecStop=/bin/s
ExecStop=
ExecStop=/bin/t
ExecStopPost=/bin/u
RemainAfterExit=yes
Restart=on-abnormal
RestartSec=1min 500ms
TimeoutSec=5
TimeoutStartSec=0
RuntimeMaxSec=infinity
KillMode=mixed
KillSignal=INT
FinalKillSignal=SIGQUIT
SendSIGKILL=no
SendSIGHUP=on
SuccessExitStatus=42 SIGKILL
SuccessExitStatus=TEMPFAIL
RestartPreventExitStatus=1
RestartForceExitStatus=2
RestartForceExitStatus=
Environment=A=1
EnvironmentFile=/a
EnvironmentFile=
EnvironmentFile=-/etc/%p
PassEnvironment=X Y
UnsetEnvironment=Z
WorkingDirectory=-/tmp
User=core
Group=%p
SyslogIdentifier=me
StandardInput=null
StandardOutput=null
StandardError=inherit
ExecReload=/bin/kill -HUP $MAINPID
[Install]
WantedBy=multi-user.target
`,
    'web@1.service',
  )
  tt.same(service.remarks, [])
  tt.match(service, {
    description: 'About web@1.service',
    documentation: ['man:x(1)', 'https://y', 'z:'],
    hasInstall: true,
    type: 'exec',
    remainAfterExit: true,
    restart: 'on-abnormal',
    restartMs: 60_500,
    timeoutStartMs: Infinity,
    timeoutStopMs: 5000,
    runtimeMaxMs: Infinity,
    killMode: 'mixed',
    killSignal: 2,
    finalKillSignal: 3,
    sendSigkill: false,
    sendSighup: true,
    startLimitIntervalMs: 60_000,
    startLimitBurst: 7,
    environmentFiles: [{ path: '/etc/web', isOptional: true }],
    passEnvironment: ['X', 'Y'],
    unsetEnvironment: ['Z'],
    workingDirectory: { path: '/tmp', isOptional: true },
    user: 'core',
    group: 'web',
    syslogIdentifier: 'me',
    stdout: 'null',
    stderr: 'journal',
    problem: undefined,
  })
  const paths = Object.values(service.commands).map((phase) => phase.map(({ path }) => path).join())
  tt.same(paths, ['/bin/c', '/bin/a,/bin/b', '/bin/x', '/bin/p', '/bin/t', '/bin/u'])
  tt.same([...service.successStatus.codes, ...service.successStatus.signals], [42, 75, 9])
  tt.same(service.restartForceStatus.codes.size, 0)
  tt.end()
})

t.test('defaults depend on the type', (tt) => {
  tt.match(parse('[Service]\nExecStart=/bin/x\n'), {
    type: 'simple',
    timeoutStartMs: 90_000,
    restartMs: 100,
  })
  tt.match(parse('[Service]\nType=oneshot\nExecStart=/bin/x\n'), {
    timeoutStartMs: Infinity,
    timeoutStopMs: 90_000,
  })
  tt.match(parse('[Service]\nType=idle\nExecStart=/bin/x\n'), { type: 'simple' })
  for (const types of ['forking simple', 'notify idle', 'dbus bogus exec']) {
    const text = types.replaceAll(/\S+/g, 'Type=$&').replaceAll(' ', '\n')
    const { problem } = parse(`[Service]\nExecStart=/bin/x\n${text}\n`)
    tt.equal(problem, undefined, `${types}: the last one counts`)
  }
  tt.match(parse('[Service]\nRemainAfterExit=yes\nExecStop=/bin/x\n'), {
    type: 'oneshot',
    problem: undefined,
  })
  tt.equal(parse('[Service]\nWorkingDirectory=/x\nWorkingDirectory=\n').workingDirectory, undefined)
  tt.match(parse('[Service]\nWorkingDirectory=~\nExecStart=/bin/x\n').workingDirectory, {
    path: '/root',
  })
  tt.end()
})

t.test('a bad value is told in the words of systemd, with its line', (tt) => {
  const { remarks, problem } = parse(`[Unit]
StartLimitBurst=many
Requires=x.service
[Service]
Type=bogus
Restart=sometimes
TimeoutStartSec=bogus
RemainAfterExit=perhaps
KillMode=bogus
KillSignal=SIGBOGUS
SuccessExitStatus=BOGUS 3
EnvironmentFile=rel
Environment=9=3
WorkingDirectory=-rel
StandardOutput=file:/x
StandardInput=tty
LimitNOFILE=5
ExecStart=/bin/x \\q
`)
  const at = (line: number, message: string): string =>
    `/run/fleet/units/a.service:${line}: ${message}`
  tt.same(remarks, [
    at(2, 'Failed to parse value, ignoring: many'),
    at(3, "Requires= in section 'Unit' is not supported by the embedded manager, ignoring."),
    at(5, 'Failed to parse service type, ignoring: bogus'),
    at(6, 'Failed to parse service restart specifier, ignoring: sometimes'),
    at(7, 'Failed to parse TimeoutStartSec= parameter, ignoring: bogus'),
    at(8, 'Failed to parse boolean value, ignoring: perhaps'),
    at(9, 'Failed to parse kill mode specification, ignoring: bogus'),
    at(10, 'Failed to parse signal name, ignoring: SIGBOGUS'),
    at(11, 'Failed to parse value, ignoring: BOGUS'),
    at(12, 'EnvironmentFile= path is not absolute, ignoring: rel'),
    at(13, 'Invalid environment assignment, ignoring: 9=3'),
    at(14, 'WorkingDirectory= path is not absolute, ignoring: rel'),
    at(15, "Output to 'file:/x' is not supported by the embedded manager, using the journal."),
    at(16, "Input from 'tty' is not supported by the embedded manager, using null."),
    at(17, "LimitNOFILE= in section 'Service' is not supported by the embedded manager, ignoring."),
    at(18, 'Ignoring unknown escape sequences: "/bin/x \\q"'),
  ])
  tt.equal(problem, undefined)
  tt.end()
})

t.test('units that systemd refuses are refused for its reasons', (tt) => {
  const bad = 'Unit a.service has a bad unit file setting.'
  const fatal = 'Unit configuration has fatal error, unit will not be started.'
  const table: readonly (readonly [string, string])[] = [
    ['Type=simple', 'Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.'],
    [
      'Type=simple\nExecStop=/bin/x',
      'Service has no ExecStart= setting, which is only allowed for Type=oneshot services. Refusing.',
    ],
    [
      'ExecStart=/bin/x\nExecStart=/bin/x',
      'Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services. Refusing.',
    ],
    [
      'Type=oneshot\nRestart=always\nExecStart=/bin/x',
      "Service has Restart= set to either always or on-success, which isn't allowed for Type=oneshot services. Refusing.",
    ],
    [
      'Type=oneshot\nExecStop=/bin/x',
      'Service has no ExecStart= and no SuccessAction= settings and does not have RemainAfterExit=yes set. Refusing.',
    ],
    ['ExecStart=/bin/echo "unbalanced\nFoo=bar', fatal],
    ['WorkingDirectory=rel\nExecStart=/bin/x', fatal],
    ['ExecStart=relative/path', fatal],
  ]
  for (const [body, remark] of table) {
    const { problem, remarks } = parse(`[Service]\n${body}\n`)
    tt.equal(problem, bad, body)
    tt.equal(remarks.at(-1), `a.service: ${remark}`, body)
  }
  for (const type of ['notify', 'notify-reload', 'forking', 'dbus']) {
    const { problem } = parse(`[Service]\nType=${type}\nExecStart=/bin/x\n`)
    tt.match(problem, `Type=${type} is not supported by the embedded unit manager`)
  }
  tt.same(
    parse('[Service]\nExecStartPre=-"/bin/x unbal\nExecStartPre=-/bin/x "unbal\nExecStart=/bin/x\n')
      .commands.ExecStartPre,
    [],
  )
  tt.end()
})

t.test('specifiers', (tt) => {
  const specifiers = specifiersOf('a-b@x\\x2dy-z.service', CONTEXT)
  const table: Readonly<Record<string, string>> = {
    '%n': 'a-b@x\\x2dy-z.service',
    '%N': 'a-b@x\\x2dy-z',
    '%p %P': 'a-b a/b',
    '%i %I': 'x\\x2dy-z x-y/z',
    '%j %J': 'b b',
    '%f': '/x-y/z',
    '%H %l %m %b %v %a': 'sdm sdm 0123456789abcdef0123456789abcdef b00t 6.1 x86-64',
    '%u %U %g %G %h %s': 'root 0 %g 0 /root /bin/sh',
    '%t %S %C %L %E %T %V': '/run /var/lib /var/cache /var/log /etc /tmp /var/tmp',
    '%y %Y': '/run/fleet/units/a-b@x\\x2dy-z.service /run/fleet/units',
    '100%% %? %': '100% %? %',
  }
  for (const [text, expected] of Object.entries(table))
    tt.equal(expandSpecifiers(text, specifiers), expected)
  tt.equal(expandSpecifiers('%f %I', specifiersOf('plain.service', CONTEXT)), '/plain ')
  tt.equal(expandSpecifiers('%I', specifiersOf('a@\\q.service', CONTEXT)), '\\q')
  tt.end()
})
