/** The settings that hold commands, in the order in which systemd runs them. */
export const PHASES = [
  'ExecCondition',
  'ExecStartPre',
  'ExecStart',
  'ExecStartPost',
  'ExecStop',
  'ExecStopPost',
] as const
export type Phase = (typeof PHASES)[number]
