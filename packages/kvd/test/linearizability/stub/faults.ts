/** What a stub server may do wrong; each breaks one promise (correctness.md 4.5). */
export const FAULTS = [
  'stale read',
  'frozen ex-leader',
  'lost write',
  'writes lost at restart',
  'failure reported though applied',
  'comparison not atomic',
  'dirty read',
  'proposal applied twice',
  'created twice',
  'deleted key returns',
  'index reused',
  'index going back',
  'wrong prevNode',
  'stale X-Etcd-Index',
] as const

export type Fault = (typeof FAULTS)[number]
