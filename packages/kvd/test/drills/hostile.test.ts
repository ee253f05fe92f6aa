import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { ask } from '../helpers/answers.ts'
import { footprintOf, forgetPeak, openFiles, openFilesMax } from '../helpers/footprint.ts'
import { Random, seedFrom } from '../helpers/random.ts'
import { launch } from '../helpers/store-process.ts'
import { parseAnswers, Wire } from '../helpers/wire.ts'

// What a stranger can send: too much, too slowly, in pieces, in heaps, or nonsense. The store answers
// with an error or hangs up, keeps its memory, and goes on serving everybody else.

const seed = seedFrom('FLOTILLA_HOSTILE_SEED')
const mib = 1 << 20
/** What one misbehaving client may cost at most: a body of the allowed 10 MiB, some copies, garbage. */
const growthMibMax = 128
const formType = 'Content-Type: application/x-www-form-urlencoded'

t.setTimeout(300_000)
const store = await launch({ dir: t.testdir() })
t.teardown(() => store.kill('SIGKILL'))
const { client: port } = store.ports

/** The store still works, for others and with the value that it had. */
async function isServing(tt: Test): Promise<void> {
  const path = '/v2/keys/alive'
  const put = await ask(port, { method: 'PUT', path, form: { value: 'yes' } })
  const get = await ask(port, { method: 'GET', path })
  tt.match(put.body, '"value":"yes"', 'a write is served')
  tt.match(get.body, '"value":"yes"', 'a read is served')
}

/** Runs `attack` and demands that memory did not grow by more than `mibMax`, at any time. */
async function costs(tt: Test, mibMax: number, attack: () => Promise<void>): Promise<void> {
  const knowsPeak = forgetPeak(store.pid)
  const before = footprintOf(store.pid).nowMib
  await attack()
  const { nowMib, peakMib } = footprintOf(store.pid)
  const growth = Math.round((knowsPeak ? peakMib : nowMib) - before)
  tt.ok(growth <= mibMax, `memory grew by ${growth} MiB, at most ${mibMax}`)
}

/** Waits for the store to notice that connections are gone. */
async function untilFilesAtMost(count: number): Promise<void> {
  const deadline = performance.now() + 30_000
  while (openFiles(store.pid) > count) {
    if (performance.now() > deadline) throw new Error(`${openFiles(store.pid)} files are open`)
    await delay(20)
  }
}

t.test('a form of 100 MB is refused with error 210, whatever its framing', async (tt) => {
  const chunk = Buffer.alloc(64 << 10, 'x')
  const piece = Buffer.concat([Buffer.from('10000\r\n'), chunk, Buffer.from('\r\n')])
  const framings = [
    ['Content-Length: 104857600', 'value=', chunk],
    ['Transfer-Encoding: chunked', '6\r\nvalue=\r\n', piece],
    ['Content-Length: 104857600\r\nExpect: 100-continue', 'value=', chunk],
  ] as const
  for (const [framing, start, bytes] of framings)
    await costs(tt, growthMibMax, async () => {
      const wire = await Wire.open(port)
      await wire.send(
        `PUT /v2/keys/big HTTP/1.1\r\nHost: a\r\n${formType}\r\n${framing}\r\n\r\n${start}`,
      )
      await wire.pour(bytes, 100 * mib)
      const [answer] = await wire.answers(1)
      tt.equal(answer?.status, 400, framing)
      tt.match(answer?.body, '"errorCode":210,"message":"Invalid POST form"', framing)
      tt.match(answer?.body, 'http: POST too large', framing)
      wire.cut()
    })
  const get = await ask(port, { method: 'GET', path: '/v2/keys/big' })
  tt.equal(get.status, 404, 'nothing was written')
  await isServing(tt)
})

t.test('100 MB where no body is wanted cost neither memory nor the next client', async (tt) => {
  const requests = [
    'PUT /v2/keys/ignored HTTP/1.1\r\nContent-Type: application/json',
    'GET /v2/keys/alive HTTP/1.1',
    'DELETE /v2/keys/nothing HTTP/1.1',
    'POST /v2/members HTTP/1.1\r\nContent-Type: application/json',
    'PUT /v2/machines HTTP/1.1',
    'POST /nowhere HTTP/1.1',
  ]
  for (const request of requests)
    await costs(tt, growthMibMax, async () => {
      const wire = await Wire.open(port)
      await wire.send(`${request}\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n`)
      await wire.pour(Buffer.alloc(64 << 10, '{'), 100 * mib)
      await wire.until(
        () => wire.isEnded || parseAnswers(wire.text).length > 0,
        'an answer or the end',
      )
      tt.ok(true, `${request}: ${parseAnswers(wire.text)[0]?.status ?? 'hung up'}`)
      wire.cut()
    })
  await isServing(tt)
})

t.test('slow senders hold up nobody and are answered in the end', async (tt) => {
  const body = 'value=slow'
  const head = `PUT /v2/keys/slow HTTP/1.1\r\nHost: a\r\n${formType}\r\nContent-Length: ${body.length}\r\n\r\n`
  const request = head + body
  const senders = await Promise.all(Array.from({ length: 200 }, () => Wire.open(port)))
  // Half of them stop inside the head, the others inside the body.
  const stops = senders.map((_, n) => (n % 2 === 0 ? (n * 7) % head.length : head.length + (n % 9)))
  await Promise.all(senders.map((wire, n) => wire.send(request.slice(0, stops[n]))))
  for (let step = 0; step < 5; step += 1) {
    await Promise.all(
      senders.map((wire, n) => wire.send(request.slice(stops[n], (stops[n] ?? 0) + 1))),
    )
    senders.forEach((_, n) => (stops[n] = Math.min((stops[n] ?? 0) + 1, request.length)))
    await isServing(tt)
  }
  await Promise.all(senders.map((wire, n) => wire.send(request.slice(stops[n]))))
  for (const wire of senders) {
    const [answer] = await wire.answers(1)
    if (answer === undefined || answer.status > 201) tt.fail(`a slow sender got ${wire.text}`)
    wire.cut()
  }
})

const isShort = openFilesMax() < 2000 && `only ${openFilesMax()} files may be open here`
t.test('ten thousand idle connections cost little and go away', { skip: isShort }, async (tt) => {
  const before = openFiles(store.pid)
  const count = Math.min(10_000, openFilesMax() - 1000)
  const wires: Wire[] = []
  await costs(tt, (count * 24) / 1024, async () => {
    while (wires.length < count)
      wires.push(...(await Promise.all(Array.from({ length: 200 }, () => Wire.open(port)))))
  })
  await isServing(tt)
  for (const wire of wires.filter((_, n) => n % 100 === 0)) {
    await wire.send('GET /v2/keys/alive HTTP/1.1\r\nHost: a\r\n\r\n')
    const [answer] = await wire.answers(1)
    if (answer?.status !== 200) tt.fail(`an idle connection got ${wire.text}`)
  }
  tt.comment(`${wires.length} connections, ${Math.round(footprintOf(store.pid).nowMib)} MiB`)
  for (const wire of wires) wire.cut()
  await untilFilesAtMost(before + 10)
  await isServing(tt)
})

t.test('pipelined requests are answered in their order', async (tt) => {
  const requests: string[] = []
  const expected: string[] = []
  for (let n = 0; n < 300; n += 1) {
    const form = `value=v${n}`
    const head = `PUT /v2/keys/pipe HTTP/1.1\r\nHost: a\r\n${formType}\r\n`
    // Every seventh in a framing that no hot path knows.
    requests.push(
      n % 7 === 3
        ? `${head}Transfer-Encoding: chunked\r\n\r\n${form.length.toString(16)}\r\n${form}\r\n0\r\n\r\n`
        : `${head}Content-Length: ${form.length}\r\n\r\n${form}`,
      'GET /v2/keys/pipe HTTP/1.1\r\nHost: a\r\n\r\n',
      'GET /version HTTP/1.1\r\nHost: a\r\n\r\n',
      'GET /v2/keys/none HTTP/1.1\r\nHost: a\r\n\r\n',
    )
    expected.push(`"value":"v${n}"`, `"value":"v${n}"`, 'etcdserver', '"errorCode":100')
  }
  for (const isHalfClosed of [false, true]) {
    const wire = await Wire.open(port)
    await wire.send(requests.join(''))
    if (isHalfClosed) wire.endOurSide()
    const answers = await wire.answers(expected.length)
    const wrong = expected.findIndex((text, n) => !(answers[n]?.body ?? '').includes(text))
    tt.equal(wrong, -1, `answer ${wrong}: ${answers[wrong]?.body}`)
    wire.cut()
  }
})

t.test('what follows a long poll on the same connection waits for it', async (tt) => {
  const wire = await Wire.open(port)
  await wire.send(
    'GET /v2/keys/poll?wait=true HTTP/1.1\r\nHost: a\r\n\r\nGET /version HTTP/1.1\r\nHost: a\r\n\r\n',
  )
  await wire.until(() => wire.text.includes('\r\n\r\n'), 'the head of the long poll')
  await ask(port, { method: 'PUT', path: '/v2/keys/poll', form: { value: 'now' } })
  const [poll, version] = await wire.answers(2)
  tt.match(poll?.body, '"value":"now"')
  tt.match(version?.body, 'etcdserver')
  wire.cut()
})

t.test('a client that never reads its answers is not read from either', async (tt) => {
  const value = 'x'.repeat(256 << 10)
  await ask(port, { method: 'PUT', path: '/v2/keys/large', form: { value } })
  const request = 'GET /v2/keys/large HTTP/1.1\r\nHost: a\r\n\r\n'
  await costs(tt, growthMibMax, async () => {
    const wire = await Wire.open(port)
    wire.stopReading()
    const many = request.repeat(1000)
    let sent = 0
    // The store has stopped reading once nothing more leaves during many turns of its loop.
    for (let quiet = 0; quiet < 50 && sent < 512 * mib;) {
      if (wire.backlog === 0) {
        wire.push(many)
        sent += many.length
        quiet = 0
      } else quiet += 1
      await turn()
    }
    tt.ok(sent < 512 * mib, `the store stopped reading after ${sent >> 10} KiB of requests`)
    await isServing(tt)
    wire.cut()
  })
})

/** One turn of the store's loop, seen from outside. */
async function turn(): Promise<void> {
  await ask(port, { method: 'GET', path: '/version' })
}

t.test(`garbage is refused or hung up on (seed ${seed})`, async (tt) => {
  const random = new Random(seed)
  const alphabets = ['\0\x01\xff\xfe', 'GETPUT /\r\n:', '{}[]":,', '\x16\x03\x01\x02', '\r\n', ' ']
  const fixed = [
    '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03',
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    'GET\r\n\r\n',
    'GET /v2/keys/a b HTTP/1.1\r\n\r\n',
    'GET /v2/keys HTTP/9.9\r\n\r\n',
    'GET /v2/keys HTTP/1.1\r\nNo colon\r\n\r\n',
    'PUT /v2/keys/g HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n',
    'PUT /v2/keys/g HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n',
    'PUT /v2/keys/g HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    'PUT /v2/keys/g HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'PUT /v2/keys/g HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    'PUT /v2/keys/g HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n',
    'GET /v2/keys/%zz HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET /v2/keys/\0 HTTP/1.1\r\nHost: a\r\n\r\n',
  ]
  const made = Array.from({ length: 150 }, () => {
    const alphabet = random.pick(alphabets)
    const length = random.int(1, 4000)
    return Array.from({ length }, () => alphabet[random.int(0, alphabet.length - 1)]).join('')
  })
  for (const garbage of [...fixed, ...made]) {
    const wire = await Wire.open(port)
    await wire.send(garbage)
    wire.endOurSide()
    const answers = await wire.untilEnd()
    const accepted = answers.find((answer) => answer.status < 400)
    if (accepted) tt.fail(`${JSON.stringify(garbage.slice(0, 100))} got ${accepted.status}`)
  }
  const get = await ask(port, { method: 'GET', path: '/v2/keys/g' })
  tt.equal(get.status, 404, 'nothing was written')
  await isServing(tt)
})

t.test('a head without end is refused', async (tt) => {
  const starts = ['GET /v2/keys/', 'GET /v2/keys/a HTTP/1.1\r\nHost: a\r\nX: ', '']
  for (const start of starts)
    await costs(tt, growthMibMax, async () => {
      const wire = await Wire.open(port)
      await wire.send(start)
      const sent = await wire.pour(Buffer.alloc(16 << 10, 'a'), 64 * mib)
      tt.ok(sent < 64 * mib, `hung up after ${sent >> 10} KiB of one line`)
      const answers = await wire.untilEnd()
      tt.ok(
        answers.every((answer) => answer.status >= 400),
        'nothing was accepted',
      )
    })
  await costs(tt, growthMibMax, async () => {
    const wire = await Wire.open(port)
    await wire.send('GET /v2/keys/a HTTP/1.1\r\nHost: a\r\n')
    const sent = await wire.pour(Buffer.from('X-Bomb: 0123456789\r\n'.repeat(1000)), 64 * mib)
    tt.ok(sent < 64 * mib, `hung up after ${sent >> 10} KiB of headers`)
    const answers = await wire.untilEnd()
    tt.ok(
      answers.every((answer) => answer.status >= 400),
      'nothing was accepted',
    )
  })
  await isServing(tt)
})

t.test('a client that has ended its side is answered all the same', async (tt) => {
  const form = 'value=half'
  const requests = [
    'GET /v2/keys/alive HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET /v2/keys/alive?quorum=true HTTP/1.1\r\nHost: a\r\n\r\n',
    'GET /version HTTP/1.1\r\nHost: a\r\n\r\n',
    `PUT /v2/keys/half HTTP/1.1\r\nHost: a\r\n${formType}\r\nContent-Length: ${form.length}\r\n\r\n${form}`,
  ]
  for (const request of requests) {
    const wire = await Wire.open(port)
    await wire.send(request)
    wire.endOurSide()
    const [answer] = await wire.untilEnd()
    tt.ok(answer !== undefined && answer.status <= 201, `${request.split('\r\n')[0]}: answered`)
  }
})

t.test('half a request, then the end: nothing is written, nothing stays open', async (tt) => {
  const before = openFiles(store.pid)
  const request = `PUT /v2/keys/torn HTTP/1.1\r\nHost: a\r\n${formType}\r\nContent-Length: 10\r\n\r\nvalue=torn`
  for (let end = 1; end < request.length; end += 3) {
    const wire = await Wire.open(port)
    await wire.send(request.slice(0, end))
    wire.endOurSide()
    const answers = await wire.untilEnd()
    if (answers.some((answer) => answer.status < 400)) tt.fail(`accepted ${request.slice(0, end)}`)
  }
  const get = await ask(port, { method: 'GET', path: '/v2/keys/torn' })
  tt.equal(get.status, 404)
  await untilFilesAtMost(before)
})

t.test('watchers whose client has gone are forgotten', async (tt) => {
  const watchers = async (): Promise<number> => {
    const stats = await ask(port, { method: 'GET', path: '/v2/stats/store' })
    return Number(/"watchers":(\d+)/.exec(stats.body)?.[1])
  }
  const before = await watchers()
  const request = 'GET /v2/keys/gone?wait=true HTTP/1.1\r\nHost: a\r\n\r\n'
  const more = 'GET /version HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(20_000)
  const goodbyes: ((wire: Wire) => void)[] = [
    (wire) => wire.cut(),
    (wire) => wire.endOurSide(),
    (wire) => {
      // So much ahead that the store has stopped reading: it must notice the end all the same.
      wire.push(more)
      setImmediate(() => wire.cut())
    },
  ]
  for (const goodbye of goodbyes) {
    const wires = await Promise.all(Array.from({ length: 20 }, () => Wire.open(port)))
    for (const wire of wires) {
      await wire.send(request)
      await wire.until(() => wire.text.includes('\r\n\r\n'), 'the head of the long poll')
    }
    tt.equal(await watchers(), before + 20, 'all are watching')
    wires.forEach(goodbye)
    const deadline = performance.now() + 10_000
    while ((await watchers()) > before && performance.now() < deadline) await delay(10)
    tt.equal(await watchers(), before, 'all are forgotten')
    wires.forEach((wire) => wire.cut())
  }
})

t.test('requests may be split at any byte', async (tt) => {
  const form = 'value=%C3%BC+split'
  const head = `/v2/keys/split HTTP/1.1\r\nHost: a\r\n`
  const requests = [
    `GET /v2/keys/alive?recursive=false HTTP/1.1\r\nHost: a\r\n\r\n`,
    `PUT ${head}${formType}\r\nContent-Length: ${form.length}\r\n\r\n${form}`,
    `PUT ${head}${formType}\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nvalue=%C\r\na;x=y\r\n3%BC+split\r\n0\r\n\r\n`,
    `GET /version HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab`,
  ]
  await ask(port, { method: 'PUT', path: '/v2/keys/split' })
  for (const request of requests) {
    const wanted = request.startsWith('PUT')
      ? '"value":"ü split"'
      : /alive/.test(request)
        ? 'yes'
        : 'etcdserver'
    for (let at = 1; at < request.length; at += 1) {
      const wire = await Wire.open(port)
      await wire.send(request.slice(0, at))
      await turn()
      await wire.send(request.slice(at))
      const [answer] = await wire.answers(1)
      const text = Buffer.from(answer?.body ?? '', 'latin1').toString()
      if (answer?.status !== 200 || !text.includes(wanted))
        tt.fail(`split at ${at}: ${JSON.stringify(request)} got ${JSON.stringify(wire.text)}`)
      wire.cut()
    }
  }
  await isServing(tt)
})
