import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { UnitOption } from '@flotilla/systemd'
import type { Test } from 'tap'

/** A unit of the pretended cluster. */
export interface FakeUnit {
  options: readonly UnitOption[]
  desiredState: string
  currentState: string
  machineID: string
  active: string
}

/** A cluster of one machine behind the HTTP API; a unit is where it is wanted as soon as it is asked for. */
export class FakeFleet {
  readonly units = new Map<string, FakeUnit>()
  readonly asked: string[] = []
  /** Units that never get further than inactive. */
  readonly stuck = new Set<string>()
  /** What systemd makes of a started unit. */
  readonly activeStates = new Map<string, string>()
  readonly machineID = '0123456789abcdef0123456789abcdef'
  /** Answered instead of everything. */
  failure: { status: number; body: string } | undefined
  offersStatus = true
  listsMachines = true
  url = ''

  async listen(t: Test): Promise<void> {
    const server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => t.fail(String(error)))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.teardown(() => {
      server.close()
      server.closeAllConnections()
    })
    const address = server.address()
    this.url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`
  }

  add(name: string, unit: Partial<FakeUnit> = {}): FakeUnit {
    const full = {
      options: [{ section: 'Service', name: 'ExecStart', value: '/bin/sleep 9' }],
      desiredState: 'inactive',
      currentState: 'inactive',
      machineID: '',
      active: 'inactive',
      ...unit,
    }
    this.units.set(name, full)
    return full
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://x')
    const [, , , kind = '', name = '', what = ''] = decodeURIComponent(url.pathname).split('/')
    this.asked.push(`${request.method} ${url.pathname}`)
    let body = ''
    for await (const piece of request) body += String(piece)
    if (this.failure !== undefined) {
      response.writeHead(this.failure.status).end(this.failure.body)
      return
    }
    if (kind === 'machines' && !this.listsMachines) {
      send(response, 500, { error: { code: 500, message: '' } })
    } else if (url.pathname.startsWith('/flotilla/')) this.#extension(response, { name, what, url })
    else if (kind === 'machines') send(response, 200, { machines: this.#machines() })
    else if (kind === 'state') send(response, 200, { states: this.#states(url) })
    else if (name === '') this.#page(response, url)
    else this.#unit(response, { method: request.method ?? '', name, body })
  }

  #machines(): unknown[] {
    return [{ id: this.machineID, primaryIP: '10.0.0.1', metadata: { b: '2', a: '1' } }]
  }

  #states(url: URL): unknown[] {
    const wanted = url.searchParams.get('unitName')
    return [...this.units].flatMap(([name, unit]) => {
      if (unit.currentState === 'inactive' || (wanted !== null && wanted !== name)) return []
      const state = {
        systemdLoadState: 'loaded',
        systemdActiveState: unit.active,
        systemdSubState: 'x',
      }
      return [{ name, machineID: unit.machineID, hash: 'abcdef0123456789', ...state }]
    })
  }

  /** One unit a page, so that clients have to follow. */
  #page(response: ServerResponse, url: URL): void {
    const page = Number(url.searchParams.get('nextPageToken') ?? '0')
    const [name] = [...this.units.keys()].slice(page)
    if (name === undefined) send(response, 200, {})
    else send(response, 200, { units: [this.#schema(name)], nextPageToken: String(page + 1) })
  }

  #schema(name: string): unknown {
    const { active: _, ...unit } = this.units.get(name) ?? this.add(name)
    return { name, ...unit }
  }

  #unit(response: ServerResponse, ask: { method: string; name: string; body: string }): void {
    const { method, name, body } = ask
    const unit = this.units.get(name)
    if (method === 'PUT') {
      this.#put(name, JSON.parse(body))
      response.writeHead(unit === undefined ? 201 : 204).end()
    } else if (unit === undefined) {
      send(response, 404, { error: { code: 404, message: 'unit does not exist' } })
    } else if (method === 'DELETE') {
      this.units.delete(name)
      response.writeHead(204).end()
    } else send(response, 200, this.#schema(name))
  }

  #put(name: string, body: { options?: UnitOption[]; desiredState: string }): void {
    const unit = this.units.get(name) ?? this.add(name)
    if (body.options !== undefined) unit.options = body.options
    unit.desiredState = body.desiredState
    if (this.stuck.has(name)) return
    unit.currentState = body.desiredState
    unit.machineID = body.desiredState === 'inactive' ? '' : this.machineID
    const active = this.activeStates.get(name) ?? 'active'
    unit.active = body.desiredState === 'launched' ? active : 'inactive'
  }

  #extension(response: ServerResponse, ask: { name: string; what: string; url: URL }): void {
    if (!this.offersStatus) {
      send(response, 404, { error: { code: 404, message: '' } })
      return
    }
    const lines = ask.url.searchParams.get('lines') ?? ''
    response.writeHead(200, { 'Flotilla-Exit-Code': ask.what === 'status' ? '3' : '0' })
    response.end(`${ask.what} of ${ask.name} ${lines}\n`)
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
}
