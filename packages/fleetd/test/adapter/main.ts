/** Answers the pure vectors of the fleet conformance data: one JSON request a line on stdin, one answer a line on stdout. */
import { createInterface } from 'node:readline'
import { functions } from './functions.ts'

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(answer(line))}\n`)
}

function answer(line: string): unknown {
  const request: unknown = JSON.parse(line)
  if (typeof request !== 'object' || request === null) return { error: 'no request' }
  const { fn, input } = { fn: '', input: undefined, ...request }
  const call = functions.get(fn)
  if (call === undefined) return { error: `unknown function ${fn}` }
  try {
    return { output: call(input) }
  } catch (error) {
    return { error: String(error) }
  }
}
