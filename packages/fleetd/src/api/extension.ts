import type { JournalOptions, UnitStatus } from '@flotilla/systemd'
import { ApiError, type ApiRequest, type ApiResponse } from './http.ts'

/** Where a unit runs, and how to ask the machine's fleetd. */
export interface UnitPlace {
  readonly machineID: string
  readonly isLocal: boolean
  /** Base URL of that machine's fleetd, `undefined` when it has announced none. */
  readonly apiURL: string | undefined
}

/** Status and journal of the units of the whole cluster. */
export interface Extension {
  /** `undefined`: no such unit. A unit that is on no machine has an empty machine ID. */
  place(name: string, machineID: string): UnitPlace | undefined
  status(name: string): Promise<UnitStatus>
  journal(name: string, options: JournalOptions): AsyncIterable<string>
  /** Passes the request on to another fleetd; rejects with ApiError when that cannot be reached. */
  forward(url: string, signal: AbortSignal): Promise<ApiResponse>
}

/** Carries systemctl's exit code; its presence tells a client that this answer is the extension's. */
export const EXIT_CODE_HEADER = 'Flotilla-Exit-Code'

/** Query parameter of a request that comes from another fleetd. */
const FORWARDED = 'forwarded'

const RESOURCE = /^\/flotilla\/v1\/units\/([^/]+)\/(status|journal)$/
const TEXT = 'text/plain; charset=utf-8'

/**
 * `GET /flotilla/v1/units/NAME/status` and `/journal?lines=&follow=&output=`: answered by the fleetd of the unit's
 * machine; any other one passes the request on. `machineID=` chooses the machine of a global unit.
 */
export async function extensionResource(
  request: ApiRequest,
  extension: Extension,
): Promise<ApiResponse> {
  const [, name, kind] = RESOURCE.exec(request.path) ?? []
  if (name === undefined) throw new ApiError(404)
  if (request.method !== 'GET') {
    throw new ApiError(405, 'only GET supported against this resource')
  }
  const place = extension.place(name, request.query.get('machineID') ?? '')
  if (place === undefined) throw new ApiError(404, 'unit does not exist')
  if (place.machineID === '') throw new ApiError(409, 'unit is not scheduled')
  if (!place.isLocal) {
    if (place.apiURL === undefined) {
      throw new ApiError(501, `fleetd of machine ${place.machineID} cannot be asked`)
    }
    // Whoever asks took this fleetd for that of the machine: passing on what was passed on would go round in a ring.
    if (request.query.has(FORWARDED)) {
      throw new ApiError(502, `the address of machine ${place.machineID} is another machine's`)
    }
    const query = new URLSearchParams(request.query)
    query.set('machineID', place.machineID)
    query.set(FORWARDED, 'true')
    const url = `${place.apiURL}/flotilla/v1/units/${encodeURIComponent(name)}/${kind}?${query.toString()}`
    return await extension.forward(url, request.signal)
  }
  return kind === 'status' ? await statusOf(name, extension) : journalOf(request, name, extension)
}

async function statusOf(name: string, extension: Extension): Promise<ApiResponse> {
  const { text, exitCode } = await extension.status(name)
  const headers = { [EXIT_CODE_HEADER]: String(exitCode) }
  return { status: 200, contentType: TEXT, headers, body: text }
}

function journalOf(request: ApiRequest, name: string, extension: Extension): ApiResponse {
  const lines = Number(request.query.get('lines') ?? '10')
  if (!Number.isSafeInteger(lines) || lines < 0) throw new ApiError(400, 'lines must be a number')
  const stream = extension.journal(name, {
    lines,
    follow: request.query.get('follow') === 'true',
    output: request.query.get('output') ?? 'short',
    signal: request.signal,
  })
  return {
    status: 200,
    contentType: TEXT,
    headers: { [EXIT_CODE_HEADER]: '0' },
    stream: withNewlines(stream),
  }
}

async function* withNewlines(lines: AsyncIterable<string>): AsyncIterable<string> {
  for await (const line of lines) yield `${line}\n`
}
