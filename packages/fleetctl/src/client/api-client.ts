import { readRequirements, type JobState } from '@flotilla/fleet-registry'
import type { UnitOption } from '@flotilla/systemd'
import { readText, textOf, Transport, type Call, type Endpoint } from './http-transport.ts'
import {
  ClientError,
  type Answer,
  type Client,
  type Machine,
  type Question,
  type Unit,
  type UnitState,
} from './types.ts'
import { listField, mapField, objectOf, textField, type Fields } from './wire.ts'

const EXIT_CODE_HEADER = 'flotilla-exit-code'

/** Pages of one list; a server that never ends its list is not followed for ever. */
const PAGES_MAX = 0xffff

/** A client of a fleetd's HTTP API v1, ours or the original's. */
export function createApiClient(endpoint: Endpoint): Client {
  const transport = new Transport(endpoint)
  const call = async (request: Call): Promise<unknown> => await exchange(transport, request)
  const list = async (resource: string, member: string): Promise<Fields[]> =>
    await readPages(call, resource, member)
  const unitPath = (name: string): string => `/fleet/v1/units/${escapeName(name)}?alt=json`
  return {
    machines: async () => (await list('machines', 'machines')).map(toMachine),
    units: async () => (await list('units', 'units')).map(toUnit),
    unit: async (name) => {
      const found = await ifFound(call({ method: 'GET', path: unitPath(name) }))
      return found === undefined ? undefined : toUnit(objectOf(found))
    },
    states: async () => (await list('state', 'states')).map(toState),
    statesOf: async (name) =>
      (await list(`state?unitName=${encodeURIComponent(name)}`, 'states')).map(toState),
    putUnit: async (name, options, desiredState) => {
      const body = { name, options: options.map(toOption), desiredState }
      await call({ method: 'PUT', path: unitPath(name), body })
    },
    setTargetState: async (name: string, desiredState: JobState) => {
      await call({ method: 'PUT', path: unitPath(name), body: { name, desiredState } })
    },
    destroyUnit: async (name) => {
      await call({ method: 'DELETE', path: unitPath(name) })
    },
    ask: async (question) => await askExtension(transport, question),
    close: () => transport.close(),
  }
}

async function exchange(transport: Transport, request: Call): Promise<unknown> {
  const answer = await transport.send(request)
  const text = await readText(answer)
  const status = answer.statusCode ?? 0
  if (status >= 400) throw apiError(status, text)
  return text === '' ? undefined : parseJSON(text)
}

/** The texts of Go's googleapi package, which scripts see. */
function apiError(status: number, text: string): ClientError {
  const message = textField(objectOf(objectOf(parseJSON(text))['error']), 'message')
  const described =
    message === ''
      ? `googleapi: got HTTP response code ${status} with body: ${text}`
      : `googleapi: Error ${status}: ${message}`
  return new ClientError(described, status)
}

function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function ifFound(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof ClientError && error.status === 404) return undefined
    throw error
  }
}

async function readPages(
  call: (request: Call) => Promise<unknown>,
  resource: string,
  member: string,
): Promise<Fields[]> {
  const items: Fields[] = []
  const mark = resource.includes('?') ? '&' : '?'
  let token = ''
  for (let page = 0; page < PAGES_MAX; page++) {
    const next = token === '' ? '' : `&nextPageToken=${encodeURIComponent(token)}`
    const path = `/fleet/v1/${resource}${mark}alt=json${next}`
    const body = objectOf(await call({ method: 'GET', path }))
    items.push(...listField(body, member).map(objectOf))
    token = textField(body, 'nextPageToken')
    if (token === '') return items
  }
  throw new ClientError('list of pages does not end')
}

async function askExtension(transport: Transport, question: Question): Promise<Answer | undefined> {
  const { kind, name, machineID, query } = question
  const parameters = new URLSearchParams({ ...query, machineID })
  const path = `/flotilla/v1/units/${escapeName(name)}/${kind}?${parameters.toString()}`
  const answer = await transport.send({ method: 'GET', path })
  const exitCode = answer.headers[EXIT_CODE_HEADER]
  if (typeof exitCode === 'string') return { exitCode: Number(exitCode), text: textOf(answer) }
  const text = await readText(answer)
  const status = answer.statusCode ?? 0
  // An original fleetd knows no such path and says so without a message.
  const { message } = apiError(status, text)
  if (status === 404 && !message.startsWith('googleapi: Error')) return undefined
  throw new ClientError(message, status)
}

/** Unit names keep their `@` and `:` in a path, as the original's client writes them. */
function escapeName(name: string): string {
  return encodeURIComponent(name).replaceAll('%40', '@').replaceAll('%3A', ':')
}

function toOption({ section, name, value }: UnitOption): UnitOption {
  return { section, name, value }
}

function toUnit(fields: Fields): Unit {
  const name = textField(fields, 'name')
  const options = listField(fields, 'options').map((option): UnitOption => {
    const parts = objectOf(option)
    return {
      section: textField(parts, 'section'),
      name: textField(parts, 'name'),
      value: textField(parts, 'value'),
    }
  })
  return {
    name,
    options,
    desiredState: textField(fields, 'desiredState'),
    currentState: textField(fields, 'currentState'),
    machineID: textField(fields, 'machineID'),
    isGlobal: readRequirements(name, options).global,
  }
}

function toState(fields: Fields): UnitState {
  return {
    name: textField(fields, 'name'),
    hash: textField(fields, 'hash'),
    machineID: textField(fields, 'machineID'),
    load: textField(fields, 'systemdLoadState'),
    active: textField(fields, 'systemdActiveState'),
    sub: textField(fields, 'systemdSubState'),
  }
}

function toMachine(fields: Fields): Machine {
  return {
    id: textField(fields, 'id'),
    ip: textField(fields, 'primaryIP'),
    metadata: mapField(fields, 'metadata'),
  }
}
