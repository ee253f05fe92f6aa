import * as registry from '@flotilla/fleet-registry'
import { isTemplateName, parseUnitName } from '@flotilla/systemd'
import { AgentState } from '../../src/agent/agent-state.ts'
import {
  planTasks,
  TASK_ORDER,
  type AgentTask,
  type CurrentUnit,
} from '../../src/agent/reconcile.ts'
import { metadataPath, itemPath } from '../../src/api/paths.ts'
import { parseMetadata, parseStringList } from '../../src/config-values.ts'
import { ClusterState } from '../../src/engine/cluster-state.ts'
import { reconcile } from '../../src/engine/reconcile.ts'
import { goSort } from './go-sort.ts'

// fleetctl is a program of its own and no dependency of fleetd; its two pure modules are loaded by their file.
const fleetctl = new URL('../../../../fleetctl/dist/', import.meta.url)
const table = exported(await import(new URL('table.js', fleetctl).href))
const knownHosts = exported(await import(new URL('known-hosts.js', fleetctl).href))

function exported(module: unknown): (name: string) => (...inputs: unknown[]) => unknown {
  return (name) => {
    const member = memberOf(module, name)
    if (typeof member !== 'function') throw new Error(`no function ${name}`)
    return (...inputs) => Reflect.apply(member, undefined, inputs)
  }
}

function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return Object.entries(value).find(([key]) => key === name)?.[1]
}

const text = (value: unknown, name: string): string => {
  const found = memberOf(value, name)
  return typeof found === 'string' ? found : ''
}
const list = (value: unknown, name: string): unknown[] => {
  const found: unknown = memberOf(value, name)
  return Array.isArray(found) ? found : []
}
const entries = (value: unknown): [string, unknown][] =>
  typeof value === 'object' && value !== null ? Object.entries(value) : []
const textMap = (value: unknown): Map<string, string> =>
  new Map(entries(value).map(([key, member]) => [key, String(member)]))
const object = (map: ReadonlyMap<string, unknown>): unknown => Object.fromEntries(map)

function machine(input: unknown): { id: string; metadata: Map<string, string> } {
  return { id: text(input, 'id'), metadata: textMap(memberOf(input, 'metadata')) }
}

function job(input: unknown): registry.Job {
  const file = registry.parseUnitFile(text(input, 'Raw'))
  const name = text(input, 'Name')
  const state = text(input, 'State')
  return {
    name,
    file,
    requirements: registry.readRequirements(name, file.options),
    targetState: registry.isJobState(state) ? state : 'inactive',
    target: text(input, 'Machine'),
  }
}

function agentState(input: unknown): AgentState {
  const agent = new AgentState(machine(memberOf(input, 'machine')))
  for (const unit of list(input, 'units')) agent.add(job(unit))
  return agent
}

function engineTasks(input: unknown): unknown {
  const cluster = new ClusterState(
    list(input, 'units').map(job),
    list(input, 'machines').map(machine),
  )
  return reconcile(cluster, () => true)
}

function agentTasks(input: unknown): unknown {
  const current = entries(memberOf(input, 'current')).map(([name, unit]): [string, CurrentUnit] => {
    const state = text(unit, 'State')
    return [
      name,
      { state: registry.isJobState(state) ? state : 'inactive', hash: text(unit, 'Hash') },
    ]
  })
  const tasks = planTasks(list(input, 'units').map(job), new Map(current))
  const rank = (task: AgentTask): number => TASK_ORDER.indexOf(task.type)
  // Ours keeps the order of names within a kind; the recorded order of more than twelve tasks is that of Go's sort.
  const sorted = goSort(tasks, (a, b) => rank(a) < rank(b))
  return sorted.map((task) => [task.type, task.unit, task.reason])
}

function parseUnit(input: unknown): unknown {
  try {
    const file = registry.parseUnitFile(text(input, 'raw'))
    return {
      options: file.options,
      serialized: file.text,
      hash: file.hash,
      description: registry.unitDescription(file.options),
    }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

function unitName(input: unknown): unknown {
  const name = parseUnitName(text(input, 'name'))
  if (name === undefined) return null
  return { ...name, isTemplate: isTemplateName(name), isInstance: name.instance !== '' }
}

function requirements(input: unknown): unknown {
  const { options } = registry.parseUnitFile(text(input, 'raw'))
  const found = registry.readRequirements(text(input, 'name'), options)
  return {
    ...found,
    metadata: object(found.metadata),
    hasMachineID: found.machineID !== undefined,
    machineID: found.machineID ?? '',
    unknown: registry.unknownRequirements(options).length > 0,
  }
}

function ableToRun(input: unknown): unknown {
  const ability = agentState(input).ableToRun(job(memberOf(input, 'job')))
  return { reason: '', ...ability, action: `job_action_${ability.action}` }
}

function machineObject(input: unknown): unknown {
  const from = memberOf(input, 'machine')
  const [metadata, capabilities] = [memberOf(from, 'metadata'), memberOf(from, 'capabilities')]
  return registry.encodeMachine({
    id: text(from, 'id'),
    publicIP: text(from, 'ip'),
    version: text(from, 'version'),
    ...(metadata === undefined ? {} : { metadata: textMap(metadata) }),
    ...(capabilities === undefined
      ? {}
      : { capabilities: new Map(entries(capabilities).map(([key, on]) => [key, on === true])) }),
  })
}

function stateObject(input: unknown): unknown {
  const state = memberOf(input, 'state')
  return registry.encodeUnitState({
    loadState: text(state, 'load'),
    activeState: text(state, 'active'),
    subState: text(state, 'sub'),
    machineID: text(state, 'machine'),
    unitHash: text(state, 'hash'),
  })
}

/** The functions by the names of the vectors. */
export const functions: ReadonlyMap<string, (input: unknown) => unknown> = new Map([
  ['parseUnit', parseUnit],
  [
    'fleetValues',
    (input) => object(registry.fleetValues(registry.parseUnitFile(text(input, 'raw')).options)),
  ],
  ['unitName', unitName],
  ['mangle', (input) => registry.mangleUnitName(text(input, 'name'))],
  ['recognizedType', (input) => registry.isRecognizedUnitType(text(input, 'name'))],
  ['validateName', (input) => registry.checkUnitName(text(input, 'name')) ?? null],
  [
    'validateOptions',
    (input) => registry.checkOptions(registry.parseUnitFile(text(input, 'raw')).options) ?? null,
  ],
  ['requirements', requirements],
  ['glob', (input) => registry.matchGlob(text(input, 'pattern'), text(input, 'target'))],
  [
    'hasMetadata',
    (input) => {
      const wanted = entries(memberOf(input, 'required')).map(([key]): [string, string[]] => [
        key,
        list(memberOf(input, 'required'), key).map(String),
      ])
      return registry.hasMetadata(machine(memberOf(input, 'machine')).metadata, new Map(wanted))
    },
  ],
  [
    'machineMatches',
    (input) =>
      registry.matchesMachineID(machine(memberOf(input, 'machine')).id, text(input, 'value')),
  ],
  ['ableToRun', ableToRun],
  [
    'replaced',
    (input) => {
      const unit = agentState(input).replaced(job(memberOf(input, 'job')))
      return { found: unit !== undefined, unit: unit ?? '' }
    },
  ],
  ['engineTasks', engineTasks],
  ['agentTasks', agentTasks],
  [
    'jobState',
    (input) =>
      registry.currentState({
        heartbeat: text(input, 'heartbeat'),
        target: text(input, 'target'),
        hasState: memberOf(input, 'hasState') === true,
      }),
  ],
  [
    'mergeMetadata',
    (input) =>
      object(registry.mergeMetadata(textMap(memberOf(input, 'a')), textMap(memberOf(input, 'b')))),
  ],
  [
    'jobObject',
    (input) =>
      registry.encodeJobObject({
        name: text(input, 'name'),
        unitHash: registry.parseUnitFile(text(input, 'raw')).hash,
      }),
  ],
  [
    'unitObject',
    (input) => registry.encodeUnitObject(registry.parseUnitFile(text(input, 'raw')).text),
  ],
  ['stateObject', stateObject],
  ['machineObject', machineObject],
  [
    'encodeToken',
    (input) =>
      registry.encodePageToken({
        limit: Number(memberOf(input, 'limit')),
        page: Number(memberOf(input, 'page')),
      }),
  ],
  ['decodeToken', (input) => registry.decodePageToken(text(input, 'token')) ?? { error: true }],
  [
    'itemPath',
    (input) => {
      const item = itemPath(text(input, 'base'), text(input, 'path'))
      return { item: item ?? '', ok: item !== undefined }
    },
  ],
  [
    'metadataPath',
    (input) => {
      const found = metadataPath(text(input, 'path'))
      return found === undefined ? null : [text(input, 'path'), found.machineID, found.key]
    },
  ],
  ['configMetadata', (input) => object(parseMetadata(text(input, 'value')))],
  ['stringList', (input) => parseStringList(text(input, 'value'))],
  ['table', (input) => table('formatTable')(list(input, 'rows'))],
  [
    'knownHostMatch',
    (input) => knownHosts('matchesHost')(text(input, 'pattern'), text(input, 'host')),
  ],
  ['knownHostAddr', (input) => knownHosts('hostField')(text(input, 'addr')) ?? { error: true }],
])
