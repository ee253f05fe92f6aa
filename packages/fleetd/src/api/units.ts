import {
  checkOptions,
  checkUnitName,
  isJobState,
  omitEmpty,
  unitFileOf,
  UnreadableUnitError,
  type JobState,
  type Unit,
  type UnitRegistry,
} from '@flotilla/fleet-registry'
import { isTemplateName, parseUnitName, type UnitOption } from '@flotilla/systemd'
import { decodeUnit } from './decode.ts'
import { ApiError, empty, json, type ApiRequest, type ApiResponse } from './http.ts'
import { pageOf, requestedPage } from './paging.ts'

/** GET of the collection: one page of all units by name. */
export async function listUnits(
  request: ApiRequest,
  registry: UnitRegistry,
  limit: number,
): Promise<ApiResponse> {
  const page = requestedPage(request.query, limit)
  const { items, nextPageToken } = pageOf(await registry.units(), page, limit)
  return json(200, omitEmpty({ units: items.map(unitSchema), nextPageToken }))
}

/** GET, PUT and DELETE of one unit. */
export async function unitResource(
  request: ApiRequest,
  registry: UnitRegistry,
  name: string,
): Promise<ApiResponse> {
  switch (request.method) {
    case 'GET': {
      const unit = await registry.unit(name)
      if (unit === undefined) throw new ApiError(404, 'unit does not exist')
      return json(200, unitSchema(unit))
    }
    case 'PUT':
      return await putUnit(request, registry, name)
    case 'DELETE':
      // A unit that cannot be read can be removed all the same.
      if (await registry.destroyUnit(name)) return empty(204)
      throw new ApiError(404, 'unit does not exist')
    default:
      throw new ApiError(405, 'only GET, PUT and DELETE supported against this resource')
  }
}

/** A unit on the wire; global ones have neither current state nor machine. */
function unitSchema(unit: Unit): Record<string, unknown> {
  return omitEmpty({
    name: unit.name,
    options: unit.file.options.map(({ section, name, value }) => ({ section, name, value })),
    desiredState: unit.targetState,
    ...(unit.isGlobal ? {} : { currentState: unit.currentState, machineID: unit.target }),
  })
}

/** The order of the checks is that of fleet api/units.go. */
async function putUnit(
  request: ApiRequest,
  registry: UnitRegistry,
  name: string,
): Promise<ApiResponse> {
  checkContentType(request.contentTypes)
  const body = decodeUnit(await request.body())
  if (body.name !== '' && body.name !== name) {
    const [inURL, inBody] = [JSON.stringify(name), JSON.stringify(body.name)]
    throw new ApiError(400, `name in URL ${inURL} differs from unit name in request body ${inBody}`)
  }
  const nameProblem = checkUnitName(name)
  if (nameProblem !== undefined) throw new ApiError(400, nameProblem)
  const existing = await readUnit(registry, name)
  if (existing === undefined) return await createUnit(registry, { ...body, name })
  const isNew = body.options.length > 0 && unitFileOf(body.options).hash !== existing.hash
  if (isNew) return await replaceUnit(registry, { ...body, name })
  return await changeState(registry, { ...body, name })
}

function checkContentType(values: readonly string[]): void {
  const [type] = values
  if (type === undefined || values.length > 1) {
    throw new ApiError(415, `expected 1 Content-Type, got ${values.length}`)
  }
  if (type.split(';')[0]?.trim().toLowerCase() !== 'application/json') {
    throw new ApiError(415, 'only acceptable Content-Type is application/json')
  }
}

interface UnitBody {
  readonly name: string
  readonly options: readonly UnitOption[]
  readonly desiredState: string
}

/** Hash of a stored unit; one that cannot be read has no hash and can be repaired by any PUT. */
async function readUnit(
  registry: UnitRegistry,
  name: string,
): Promise<{ readonly hash: string } | undefined> {
  try {
    return (await registry.unit(name))?.file
  } catch (error) {
    if (error instanceof UnreadableUnitError) return { hash: '' }
    throw error
  }
}

async function createUnit(registry: UnitRegistry, body: UnitBody): Promise<ApiResponse> {
  if (body.options.length === 0) {
    throw new ApiError(409, 'unit does not exist and options field empty')
  }
  const problem = checkOptions(body.options)
  if (problem !== undefined) throw new ApiError(400, problem)
  // fleet 1.0 answers an unknown state of a new unit with a bare 500, and stores nothing.
  const state = body.desiredState === '' ? 'inactive' : body.desiredState
  if (!isJobState(state)) throw new ApiError(500)
  await registry.putUnit(body.name, body.options, state)
  return empty(201)
}

/** The unit stays where it is scheduled; its state becomes the given one or inactive. */
async function replaceUnit(registry: UnitRegistry, body: UnitBody): Promise<ApiResponse> {
  const state = body.desiredState === '' ? 'inactive' : checkedState(body.desiredState)
  await registry.putUnit(body.name, body.options, state)
  return empty(201)
}

async function changeState(registry: UnitRegistry, body: UnitBody): Promise<ApiResponse> {
  if (body.desiredState === '') {
    throw new ApiError(409, 'must provide DesiredState to update existing unit')
  }
  const name = parseUnitName(body.name)
  if (name !== undefined && isTemplateName(name) && body.desiredState !== 'inactive') {
    throw new ApiError(400, `cannot activate template ${JSON.stringify(body.name)}`)
  }
  await registry.setTargetState(body.name, checkedState(body.desiredState))
  return empty(204)
}

/** fleet 1.0 stores any text here, which makes the unit unreadable. */
function checkedState(state: string): JobState {
  if (isJobState(state)) return state
  throw new ApiError(400, `invalid desiredState ${JSON.stringify(state)}`)
}
