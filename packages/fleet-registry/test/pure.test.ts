import { test } from 'tap'
import {
  checkOptions,
  checkUnitName,
  currentState,
  decodeJobObject,
  decodeLease,
  decodeMachine,
  decodePageToken,
  decodeUnitObject,
  decodeUnitState,
  encodeGoJSON,
  encodeJobObject,
  encodeLease,
  encodeMachine,
  encodePageToken,
  encodeUnitObject,
  encodeUnitState,
  fleetValues,
  hasMetadata,
  isRecognizedUnitType,
  mangleUnitName,
  matchesMachineID,
  matchGlob,
  mergeMetadata,
  omitEmpty,
  parseUnitFile,
  readRequirements,
  registryKeys,
  unitDescription,
  unitFileOf,
  unknownRequirements,
} from '../src/index.ts'

const HELLO = '[Unit]\nDescription=Hello World\n\n[Service]\nExecStart=/bin/sleep infinity\n'
const HELLO_HASH = 'c4a04037d05b49d67a4f821078726a6ab0aa19a1'

test('a unit hash is the SHA-1 of the serialised options, whatever the layout was', (t) => {
  t.equal(parseUnitFile(HELLO).hash, HELLO_HASH)
  const untidy = `# c\n[Unit]\n  Description = Hello World\n[Service]\n;c\nExecStart=/bin/sleep infinity`
  t.equal(parseUnitFile(untidy).hash, HELLO_HASH)
  t.equal(unitDescription(parseUnitFile(HELLO).options), 'Hello World')
  t.equal(unitDescription([]), '')
  t.equal(unitFileOf([]).text, '')
  t.end()
})

test('an argument is a unit name after its directory is dropped and a type added', (t) => {
  const cases = [
    ['foo', 'foo.service'],
    ['a/b/c', 'c.service'],
    ['x.target', 'x.target.service'],
    ['y.mount', 'y.mount'],
    ['/', '/.service'],
  ] as const
  for (const [argument, name] of cases) t.equal(mangleUnitName(argument), name)
  t.notOk(isRecognizedUnitType('README'))
  t.end()
})

test('the API refuses names in the order of the original', (t) => {
  t.equal(checkUnitName('a.service'), undefined)
  t.equal(checkUnitName(`${'x'.repeat(248)}.service`), undefined, '256 bytes are allowed')
  t.equal(checkUnitName(`${'x'.repeat(249)}.service`), 'unit name exceeds maximum length (256)')
  t.equal(checkUnitName('../../etc/x.service'), `invalid character '/' in unit name`)
  t.equal(checkUnitName('@x.service'), 'unit name cannot start in "@"')
  t.end()
})

test('a glob matches like path.Match of Go', (t) => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['web@*.service', 'web@1.service', true],
    ['*', 'a/b', false],
    ['a*b*c', 'axxbyybzzc', true],
    ['a*b*c', 'axxbyyb', false],
    ['[a-c]x', 'bx', true],
    ['[^a-c]x', 'bx', false],
    ['[\\]]', ']', true],
    ['[a', 'a', false],
    ['a\\', 'a', false],
    ['[a-', 'a', false],
    ['**', '', true],
  ]
  for (const [pattern, name, wanted] of cases) {
    t.equal(matchGlob(pattern, name), wanted, `${pattern} ~ ${name}`)
  }
  t.equal(matchGlob(`${'a*'.repeat(50)}b`, 'a'.repeat(5000)), false, 'ends in reasonable time')
  t.end()
})

test('requirements come from [X-Fleet] with specifiers replaced', (t) => {
  const { options } = parseUnitFile(
    '[X-Fleet]\nConflicts=%p@*.service other\nMachineMetadata="a=1" "a=2"\nMachineMetadata=slot=%i\nGlobal=no\nGlobal=ON\nOdd=1\n',
  )
  const found = readRequirements('web@7.service', options)
  t.same(found.conflicts, ['web@*.service', 'other'])
  t.same(
    [...found.metadata],
    [
      ['a', ['1', '2']],
      ['slot', ['7']],
    ],
  )
  t.equal(found.global, true, 'the last value counts')
  t.equal(found.machineID, undefined)
  t.same(unknownRequirements(options), ['Odd'])
  t.same([...fleetValues(options).keys()], ['Conflicts', 'MachineMetadata', 'Global', 'Odd'])
  const dollar = parseUnitFile('[X-Fleet]\nMachineOf=%p.service\n').options
  t.same(readRequirements('$&@1.service', dollar).peers, ['$&.service'], 'no replacement patterns')
  t.end()
})

test('contradicting requirements are refused with the first broken rule', (t) => {
  const check = (text: string): string | undefined =>
    checkOptions(parseUnitFile(`[X-Fleet]\n${text}`).options)
  t.equal(check('MachineMetadata=a=b\n'), undefined)
  t.equal(check('MachineID=x\nGlobal=true\n'), 'MachineID cannot be used with Global')
  t.equal(
    check('MachineOf=a.service\nReplaces=a*\nGlobal=1\n'),
    'unresolvable requirements: peer "a.service" matches replace "a*"',
  )
  const unserialisable = [{ section: 'A\nB', name: 'C', value: 'x]y' }]
  t.equal(checkOptions(unserialisable), undefined, 'odd but stable sections pass')
  const broken = [{ section: 'A', name: 'B\nC', value: '' }]
  t.equal(checkOptions(broken), 'unexpected newline encountered while parsing option name')
  t.end()
})

test('values of the registry survive a round trip and have the bytes of the original', (t) => {
  const job = { name: 'hello.service', unitHash: HELLO_HASH }
  t.match(encodeJobObject(job), /^\{"Name":"hello.service","UnitHash":\[196,160,64,/)
  t.same(decodeJobObject(encodeJobObject(job)), job)
  t.equal(decodeJobObject('{"Name":"x","UnitHash":[1]}'), undefined)
  t.equal(decodeJobObject('nonsense'), undefined)
  t.equal(encodeUnitObject('a<b'), '{"Raw":"a\\u003cb"}')
  t.equal(decodeUnitObject('{"Raw":"a<b"}'), 'a<b', 'unescaped is read as well')
  t.equal(decodeUnitObject('[]'), undefined)
  const state = {
    loadState: 'loaded',
    activeState: 'active',
    subState: 'running',
    machineID: 'M',
    unitHash: HELLO_HASH,
  }
  t.same(decodeUnitState(encodeUnitState(state)), state)
  t.equal(encodeUnitState({ ...state, unitHash: '' }), '', 'without hash nothing is written')
  t.equal(decodeUnitState('x'), undefined)
  const machine = {
    id: 'M',
    publicIP: '10.0.0.1',
    metadata: new Map([
      ['b', '2'],
      ['a', '1'],
    ]),
    capabilities: new Map([['GRPC', false]]),
    version: 'v1.0.0',
  }
  t.match(encodeMachine(machine), '"Metadata":{"a":"1","b":"2"}', 'sorted')
  t.same(decodeMachine(encodeMachine(machine))?.metadata.get('b'), '2')
  t.equal(decodeMachine('{"ID":""}'), undefined)
  t.same(decodeLease(encodeLease({ machineID: 'M', version: 1 })), { machineID: 'M', version: 1 })
  t.same(decodeLease('M'), { machineID: 'M', version: 0 }, 'before engine versions')
  t.equal(encodeGoJSON('\u2028&'), '"\\u2028\\u0026"')
  t.end()
})

test('machines are matched by ID and metadata', (t) => {
  const id = '0123456789abcdef'
  t.ok(matchesMachineID(id, '01234567'))
  t.notOk(matchesMachineID(id, '0123456'))
  t.notOk(matchesMachineID('01234567', ''))
  const metadata = new Map([['disk', 'ssd']])
  t.ok(hasMetadata(metadata, new Map([['disk', ['hdd', 'ssd']]])))
  t.notOk(hasMetadata(metadata, new Map([['zone', ['a']]])))
  t.same(
    [
      ...mergeMetadata(
        metadata,
        new Map([
          ['disk', ''],
          ['zone', 'b'],
        ]),
      ),
    ],
    [['zone', 'b']],
  )
  t.end()
})

test('the current state follows from target, heartbeat and reported state', (t) => {
  const facts = { heartbeat: 'M', target: 'M', hasState: true }
  t.equal(currentState(facts), 'launched')
  t.equal(currentState({ ...facts, heartbeat: '' }), 'loaded')
  t.equal(currentState({ ...facts, hasState: false }), 'inactive')
  t.equal(currentState({ ...facts, target: '' }), 'inactive')
  t.end()
})

test('page tokens hold two numbers of 16 bits', (t) => {
  t.equal(encodePageToken({ limit: 100, page: 2 }), 'ZAACAA==')
  t.same(decodePageToken('_____w=='), { limit: 65535, page: 65535 })
  for (const bad of ['', 'ZAA', 'ZAA=', '////+w==', 'Z']) t.equal(decodePageToken(bad), undefined)
  t.end()
})

test('keys lie below the prefix, however it is written', (t) => {
  for (const prefix of ['/_coreos.com/fleet/', '_coreos.com/fleet', '/_coreos.com/fleet']) {
    t.equal(registryKeys(prefix).target('a.service'), '/_coreos.com/fleet/job/a.service/target')
  }
  t.equal(registryKeys('/').machines, '/machines')
  t.end()
})

test('empty members are left out of bodies', (t) => {
  t.same(omitEmpty({ a: '', b: [], c: {}, d: undefined, e: 0, f: 'x' }), { e: 0, f: 'x' })
  t.end()
})
