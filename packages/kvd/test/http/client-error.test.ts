import { PassThrough } from 'node:stream'
import t from 'tap'
import { endUnread, refuseUnread } from '../../src/http/client-error.ts'

function errorOf(code: string): Error {
  return Object.assign(new Error('unread'), { code })
}

const CASES: readonly (readonly [code: string, status: string, ends: boolean])[] = [
  ['ERR_HTTP_REQUEST_TIMEOUT', '408 Request Timeout', false],
  ['HPE_HEADER_OVERFLOW', '431 Request Header Fields Too Large', true],
  ['HPE_INVALID_HEADER_TOKEN', '400 Bad Request', true],
]

for (const [code, status, ends] of CASES)
  t.test(`what cannot be read: ${code}`, async (tt) => {
    const quiet = new PassThrough()
    const parts: string[] = []
    quiet.on('data', (part: Buffer) => parts.push(part.toString()))
    refuseUnread(quiet, errorOf(code))
    tt.same(parts, [`HTTP/1.1 ${status}\r\nConnection: close\r\n\r\n`])
    tt.equal(quiet.destroyed, true)
    const busy = new PassThrough()
    endUnread(busy, errorOf(code))
    tt.equal(busy.readableLength, 0, 'nothing that could be read as an answer')
    tt.equal(busy.destroyed, ends)
  })
