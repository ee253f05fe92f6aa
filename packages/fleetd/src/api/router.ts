import type { UnitRegistry } from '@flotilla/fleet-registry'
import { DISCOVERY } from './discovery.ts'
import { extensionResource, type Extension } from './extension.ts'
import { ApiError, failure, json, type ApiRequest, type ApiResponse } from './http.ts'
import { machinesResource } from './machines.ts'
import { itemPath } from './paths.ts'
import { getState, listStates } from './states.ts'
import { listUnits, unitResource } from './units.ts'

/** What the API is about. */
export interface ApiOptions {
  readonly registry: UnitRegistry
  /** Items of a page. */
  readonly tokenLimit: number
  /** False while the store cannot be reached: everything is answered with 503. */
  readonly isReady: () => boolean
  readonly metrics: () => string
  /** Status and journal of units; not part of the original's API. */
  readonly extension: Extension
  /** Told about failures that the client only sees as 500. */
  readonly onError: (error: unknown) => void
}

/** Both prefixes of the API; the old one is an alias. */
const PREFIXES = ['/fleet/v1', '/v1-alpha'] as const

const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** Answers one request (fleet api/). Never rejects. */
export async function handle(request: ApiRequest, options: ApiOptions): Promise<ApiResponse> {
  if (!options.isReady()) {
    return failure(503, 'fleet server unable to communicate with etcd')
  }
  try {
    return await route(request, options)
  } catch (error) {
    if (error instanceof ApiError) return failure(error.code, error.message)
    options.onError(error)
    return failure(500)
  }
}

async function route(request: ApiRequest, options: ApiOptions): Promise<ApiResponse> {
  const { path } = request
  if (path === '/') throw new ApiError(405)
  if (path === '/metrics') {
    return { status: 200, contentType: METRICS_TYPE, body: options.metrics() }
  }
  const prefix = PREFIXES.find((it) => path === it || path.startsWith(`${it}/`))
  if (prefix === undefined) return await extensionResource(request, options.extension)
  if (path === prefix) throw new ApiError(405)
  return await routeResource(request, path.slice(prefix.length), options)
}

async function routeResource(
  request: ApiRequest,
  resource: string,
  { registry, tokenLimit }: ApiOptions,
): Promise<ApiResponse> {
  const unit = itemPath('/units', resource)
  if (unit !== undefined) return await unitResource(request, registry, unit)
  const state = itemPath('/state', resource)
  if (state !== undefined) {
    onlyGet(request)
    return await getState(registry, state)
  }
  switch (resource) {
    case '/units':
      onlyGet(request)
      return await listUnits(request, registry, tokenLimit)
    case '/state':
      onlyGet(request)
      return await listStates(request, registry, tokenLimit)
    case '/machines':
      return await machinesResource(request, registry, tokenLimit)
    case '/discovery':
      if (request.method === 'GET') return json(200, DISCOVERY)
      throw new ApiError(400, 'only HTTP GET supported against this resource')
    default:
      throw new ApiError(404)
  }
}

function onlyGet(request: ApiRequest): void {
  if (request.method !== 'GET') {
    throw new ApiError(405, 'only GET supported against this resource')
  }
}
