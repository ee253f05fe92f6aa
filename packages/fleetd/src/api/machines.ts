import { omitEmpty, type Machine, type UnitRegistry } from '@flotilla/fleet-registry'
import { decodeMetadataPatch } from './decode.ts'
import { ApiError, json, type ApiRequest, type ApiResponse } from './http.ts'
import { pageOf, requestedPage } from './paging.ts'

/** GET and PATCH of the collection of machines. */
export async function machinesResource(
  request: ApiRequest,
  registry: UnitRegistry,
  limit: number,
): Promise<ApiResponse> {
  switch (request.method) {
    case 'GET': {
      const page = requestedPage(request.query, limit)
      const { items, nextPageToken } = pageOf(await registry.machines(), page, limit)
      return json(200, omitEmpty({ machines: items.map(machineSchema), nextPageToken }))
    }
    case 'PATCH': {
      for (const { machineID, key, value } of decodeMetadataPatch(await request.body())) {
        await registry.setMetadata(machineID, key, value)
      }
      // The original sends the content type with this answer, unlike with other 204s.
      return { status: 204, contentType: 'application/json' }
    }
    default:
      throw new ApiError(405, 'only GET and PATCH supported against this resource')
  }
}

function machineSchema(machine: Machine): Record<string, unknown> {
  const keys = [...machine.metadata].toSorted(([a], [b]) => (a < b ? -1 : 1))
  const metadata = Object.fromEntries(keys)
  return omitEmpty({ id: machine.id, primaryIP: machine.publicIP, metadata })
}
