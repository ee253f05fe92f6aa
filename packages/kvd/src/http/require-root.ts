import type { Gate, Verdict } from './context.ts'
import { BUSY_TEXT } from './passwords.ts'
import { JSON_TYPE, type RawRequest, type Responder } from './message.ts'

/**
 * Serves a request that only users with the role `root` may make; others are answered 401.
 * @param gate undefined while auth is off: everybody may
 */
export function requireRoot(
  gate: Gate | undefined,
  { request, responder }: { readonly request: RawRequest; readonly responder: Responder },
  serve: () => void,
): void {
  const decide = (verdict: Verdict): void => {
    if (verdict === 'allowed') serve()
    else if (verdict === 'refused')
      responder.reply(401, JSON_TYPE, '{"message":"Insufficient credentials"}')
    else responder.reply(503, JSON_TYPE, JSON.stringify({ message: BUSY_TEXT }))
  }
  const verdict = gate?.mayAdminister(request) ?? 'allowed'
  if (typeof verdict === 'string') decide(verdict)
  else void verdict.then(decide)
}
