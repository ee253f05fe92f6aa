import { omitEmpty, type NamedUnitState, type UnitRegistry } from '@flotilla/fleet-registry'
import { ApiError, json, type ApiRequest, type ApiResponse } from './http.ts'
import { pageOf, requestedPage } from './paging.ts'

/** GET of the collection, filtered by `machineID` and `unitName`. */
export async function listStates(
  request: ApiRequest,
  registry: UnitRegistry,
  limit: number,
): Promise<ApiResponse> {
  const page = requestedPage(request.query, limit)
  const machineID = request.query.get('machineID') ?? ''
  const unitName = request.query.get('unitName') ?? ''
  const states = unitName === '' ? await registry.unitStates() : await registry.statesOf(unitName)
  const wanted = states.filter((state) => machineID === '' || state.machineID === machineID)
  const { items, nextPageToken } = pageOf(wanted, page, limit)
  return json(200, omitEmpty({ states: items.map(stateSchema), nextPageToken }))
}

/** State of one unit, of a global one that on the first machine. */
export async function getState(registry: UnitRegistry, name: string): Promise<ApiResponse> {
  const [state] = await registry.statesOf(name)
  if (state === undefined) throw new ApiError(404, 'unit state does not exist')
  return json(200, stateSchema(state))
}

function stateSchema(state: NamedUnitState): Record<string, unknown> {
  return omitEmpty({
    name: state.name,
    hash: state.unitHash,
    machineID: state.machineID,
    systemdLoadState: state.loadState,
    systemdActiveState: state.activeState,
    systemdSubState: state.subState,
  })
}
