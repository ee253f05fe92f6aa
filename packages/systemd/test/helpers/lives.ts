/** Lives of services, to be played to the machine. The logs are those that systemd 252 wrote for the same units. */
export interface Life {
  readonly name: string
  readonly unit: string
  /** Steps and the sub state after each: `start > running, main 0 > dead`. `stragglers` sets the world. */
  readonly steps: string
  readonly log: readonly string[]
}

const SIMPLE = 'ExecStart=/bin/x'

export const LIVES: readonly Life[] = [
  {
    name: 'a simple service is started at once and stopped by SIGTERM',
    unit: SIMPLE,
    steps: 'start > running, start > running, stop > stop-sigterm, main SIG15 > dead',
    log: ['Started T.', 'Stopping T...', 'a.service: Deactivated successfully.', 'Stopped T.'],
  },
  {
    name: 'all phases in their order; a failure of a command with a dash does not count',
    unit: `ExecCondition=/bin/c\nExecStartPre=-/bin/a\nExecStartPre=/bin/b\n${SIMPLE}\nExecStartPost=/bin/p\nExecStop=/bin/s\nExecStop=/bin/t\nExecStopPost=/bin/u`,
    steps:
      'start > condition, control 0 > start-pre, control 1 > start-pre, control 0 > start-post, control 0 > running, stop > stop, control 0 > stop, control 0 > stop-sigterm, main 0 > stop-post, control 0 > dead',
    log: [
      'Starting T...',
      'Started T.',
      'Stopping T...',
      'a.service: Deactivated successfully.',
      'Stopped T.',
    ],
  },
  {
    name: 'a main process that is killed fails the unit',
    unit: SIMPLE,
    steps: 'start > running, main SIG9 > failed',
    log: [
      'Started T.',
      'a.service: Main process exited, code=killed, status=9/KILL',
      "a.service: Failed with result 'signal'.",
    ],
  },
  {
    name: 'Restart=on-failure, until the start limit',
    unit: `${SIMPLE}\nRestart=on-failure\nRestartSec=300ms\nStartLimitBurst=2`,
    steps:
      'start > running, main 3 > auto-restart, timer > running, main 3 > auto-restart, timer > failed, start > failed, reset-failed > dead, start > running',
    log: [
      'Started T.',
      'a.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED',
      "a.service: Failed with result 'exit-code'.",
      'a.service: Scheduled restart job, restart counter is at 1.',
      'Stopped T.',
      'Started T.',
      'a.service: Main process exited, code=exited, status=3/NOTIMPLEMENTED',
      "a.service: Failed with result 'exit-code'.",
      'a.service: Scheduled restart job, restart counter is at 2.',
      'Stopped T.',
      'a.service: Start request repeated too quickly.',
      "a.service: Failed with result 'exit-code'.",
      'Failed to start T.',
      'a.service: Start request repeated too quickly.',
      "a.service: Failed with result 'exit-code'.",
      'Failed to start T.',
      'Started T.',
    ],
  },
  {
    name: 'Restart=on-success counts a limit of its own as the failure',
    unit: `${SIMPLE}\nRestart=on-success\nStartLimitBurst=1`,
    steps: 'start > running, main 0 > auto-restart, timer > failed',
    log: [
      'Started T.',
      'a.service: Deactivated successfully.',
      'a.service: Scheduled restart job, restart counter is at 1.',
      'Stopped T.',
      'a.service: Start request repeated too quickly.',
      "a.service: Failed with result 'start-limit-hit'.",
      'Failed to start T.',
    ],
  },
  {
    name: 'oneshot: the commands run one after another, and the unit is gone when they are done',
    unit: 'Type=oneshot\nExecStart=/bin/a\nExecStart=/bin/b ; /bin/c',
    steps: 'start > start, main 0 > start, main 0 > start, main 0 > dead',
    log: ['Starting T...', 'a.service: Deactivated successfully.', 'Finished T.'],
  },
  {
    name: 'oneshot with RemainAfterExit= stays active',
    unit: 'Type=oneshot\nExecStart=/bin/a\nRemainAfterExit=yes',
    steps: 'start > start, main 0 > exited, start > exited, stop > dead',
    log: ['Starting T...', 'Finished T.', 'a.service: Deactivated successfully.', 'Stopped T.'],
  },
  {
    name: 'a oneshot service without ExecStart=',
    unit: 'RemainAfterExit=yes\nExecStop=/bin/a',
    steps: 'start > exited, stop > stop, control 0 > dead',
    log: ['Finished T.', 'Stopping T...', 'a.service: Deactivated successfully.', 'Stopped T.'],
  },
  {
    name: 'oneshot: a failure ends the row, ExecStopPost= still runs',
    unit: 'Type=oneshot\nExecStart=/bin/a\nExecStart=/bin/b\nExecStart=/bin/c\nExecStopPost=/bin/u',
    steps: 'start > start, main 0 > start, main 1 > stop-post, control 0 > failed',
    log: [
      'Starting T...',
      'a.service: Main process exited, code=exited, status=1/FAILURE',
      "a.service: Failed with result 'exit-code'.",
      'Failed to start T.',
    ],
  },
  {
    name: 'a failing ExecStartPre= fails the start; it is tried again, until somebody stops it',
    unit: `ExecStartPre=/bin/a\n${SIMPLE}\nRestart=on-failure`,
    steps:
      'start > start-pre, control 1 > auto-restart, start > auto-restart, timer > start-pre, control 1 > auto-restart, stop > dead',
    log: [
      'Starting T...',
      'a.service: Control process exited, code=exited, status=1/FAILURE',
      "a.service: Failed with result 'exit-code'.",
      'Failed to start T.',
      'a.service: Scheduled restart job, restart counter is at 1.',
      'Stopped T.',
      'Starting T...',
      'a.service: Control process exited, code=exited, status=1/FAILURE',
      "a.service: Failed with result 'exit-code'.",
      'Failed to start T.',
      'Stopped T.',
    ],
  },
  {
    name: 'stopped while starting: no Stopping line, as systemd has it',
    unit: `ExecStartPre=/bin/a\n${SIMPLE}`,
    steps: 'start > start-pre, stop > stop-sigterm, stop > stop-sigterm, control SIG15 > failed',
    log: [
      'Starting T...',
      'a.service: Control process exited, code=killed, status=15/TERM',
      "a.service: Failed with result 'signal'.",
      'Stopped T.',
    ],
  },
  {
    name: 'a failing ExecStartPost= fails the start and ends the main process',
    unit: `${SIMPLE}\nExecStartPost=/bin/p`,
    steps: 'start > start-post, control 1 > stop-sigterm, main SIG15 > failed',
    log: [
      'Starting T...',
      'a.service: Control process exited, code=exited, status=1/FAILURE',
      "a.service: Failed with result 'exit-code'.",
      'Failed to start T.',
    ],
  },
  {
    name: 'a main process that ends during ExecStartPost= waits for it',
    unit: `${SIMPLE}\nExecStartPost=/bin/p`,
    steps: 'start > start-post, main 0 > start-post, control 0 > dead',
    log: ['Starting T...', 'a.service: Deactivated successfully.', 'Started T.'],
  },
  {
    name: 'start timeout',
    unit: `TimeoutStartSec=1\nExecStartPre=/bin/a\n${SIMPLE}`,
    steps: 'start > start-pre, timer > stop-sigterm, control SIG15 > failed',
    log: [
      'Starting T...',
      'a.service: start-pre operation timed out. Terminating.',
      'a.service: Control process exited, code=killed, status=15/TERM',
      "a.service: Failed with result 'timeout'.",
      'Failed to start T.',
    ],
  },
  {
    name: 'a process that ignores SIGTERM gets SIGKILL',
    unit: `TimeoutStopSec=1\n${SIMPLE}`,
    steps: 'start > running, stop > stop-sigterm, timer > stop-sigkill, main SIG9 > failed',
    log: [
      'Started T.',
      'Stopping T...',
      "a.service: State 'stop-sigterm' timed out. Killing.",
      'a.service: Main process exited, code=killed, status=9/KILL',
      "a.service: Failed with result 'timeout'.",
      'Stopped T.',
    ],
  },
  {
    name: 'nothing helps',
    unit: `${SIMPLE}\nExecStopPost=/bin/u`,
    steps:
      'start > running, stop > stop-sigterm, timer > stop-sigkill, timer > stop-post, timer > final-sigterm, timer > final-sigkill, timer > failed',
    log: [
      'Started T.',
      'Stopping T...',
      "a.service: State 'stop-sigterm' timed out. Killing.",
      'a.service: Processes still around after SIGKILL. Ignoring.',
      "a.service: State 'stop-post' timed out. Terminating.",
      "a.service: State 'final-sigterm' timed out. Killing.",
      'a.service: Processes still around after final SIGKILL. Entering failed mode.',
      "a.service: Failed with result 'timeout'.",
      'Stopped T.',
    ],
  },
  {
    name: 'SendSIGKILL=no',
    unit: `${SIMPLE}\nSendSIGKILL=no`,
    steps: 'start > running, stop > stop-sigterm, timer > final-sigterm, timer > failed',
    log: [
      'Started T.',
      'Stopping T...',
      "a.service: State 'stop-sigterm' timed out. Skipping SIGKILL.",
      "a.service: State 'final-sigterm' timed out. Skipping SIGKILL. Entering failed mode.",
      "a.service: Failed with result 'timeout'.",
      'Stopped T.',
    ],
  },
  {
    name: 'ExecStop= that takes too long; a start meanwhile waits and goes first',
    unit: `${SIMPLE}\nExecStop=/bin/s`,
    steps:
      'start > running, stop > stop, start > stop, timer > stop-sigterm, control SIG15 > stop-sigterm, main SIG15 > running',
    log: [
      'Started T.',
      'Stopping T...',
      'a.service: Stopping timed out. Terminating.',
      'a.service: Control process exited, code=killed, status=15/TERM',
      "a.service: Failed with result 'timeout'.",
      'Started T.',
    ],
  },
  {
    name: 'children that the main process leaves are ended too',
    unit: SIMPLE,
    steps:
      'start > running, stragglers > running, main 0 > stop-sigterm, gone > final-sigterm, gone > dead',
    log: ['Started T.', 'a.service: Deactivated successfully.'],
  },
  {
    name: 'RuntimeMaxSec=',
    unit: `${SIMPLE}\nRuntimeMaxSec=1`,
    steps: 'start > running, timer > stop-sigterm, main SIG15 > failed',
    log: [
      'Started T.',
      'a.service: Service reached runtime time limit. Stopping.',
      "a.service: Failed with result 'timeout'.",
    ],
  },
  {
    name: 'ExecCondition= skips',
    unit: `ExecCondition=/bin/c\n${SIMPLE}\nRestart=always`,
    steps: 'start > condition, control 1 > dead',
    log: [
      'Starting T...',
      "a.service: Skipped due to 'exec-condition'.",
      'Condition check resulted in T being skipped.',
    ],
  },
  {
    name: 'ExecCondition= fails with 255',
    unit: `ExecCondition=/bin/c\n${SIMPLE}`,
    steps: 'start > condition, control 255 > failed',
    log: [
      'Starting T...',
      'a.service: Control process exited, code=exited, status=255/EXCEPTION',
      "a.service: Failed with result 'exit-code'.",
      'Failed to start T.',
    ],
  },
  {
    name: 'SuccessExitStatus=',
    unit: `${SIMPLE}\nSuccessExitStatus=42`,
    steps: 'start > running, main 42 > dead',
    log: ['Started T.', 'a.service: Deactivated successfully.'],
  },
  {
    name: 'a process whose parent was another manager ends well, as far as one can know',
    unit: `${SIMPLE}\nRestart=on-failure`,
    steps: 'start > running, resume > running, main unknown > dead',
    log: [
      'Started T.',
      'a.service: Main process 101 is gone; only its parent, an earlier manager, could have read its exit status.',
      'a.service: Deactivated successfully.',
    ],
  },
  {
    name: 'a manager that takes over signals again, and waits again',
    unit: `${SIMPLE}\nExecStop=/bin/s\nRestart=always`,
    steps:
      'start > running, stop > stop, resume > stop-sigterm, control SIG15 > stop-sigterm, resume > stop-sigterm, main 0 > failed, start > running, main 0 > stop, control 0 > auto-restart, resume > auto-restart, timer > running',
    log: [
      'Started T.',
      'Stopping T...',
      'a.service: Control process exited, code=killed, status=15/TERM',
      "a.service: Failed with result 'signal'.",
      'Stopped T.',
      'Started T.',
      'a.service: Deactivated successfully.',
      'a.service: Scheduled restart job, restart counter is at 1.',
      'Stopped T.',
      'Started T.',
    ],
  },
  {
    name: 'KillMode=mixed: SIGTERM to the main process, SIGKILL to the rest',
    unit: `${SIMPLE}\nKillMode=mixed`,
    steps:
      'start > running, stragglers > running, stop > stop-sigterm, main SIG15 > final-sigkill, gone > dead',
    log: ['Started T.', 'Stopping T...', 'a.service: Deactivated successfully.', 'Stopped T.'],
  },
  {
    name: 'KillMode=process leaves the rest alone, KillMode=none everything',
    unit: `${SIMPLE}\nKillMode=process`,
    steps: 'start > running, stragglers > running, stop > stop-sigterm, main SIG15 > dead',
    log: ['Started T.', 'Stopping T...', 'a.service: Deactivated successfully.', 'Stopped T.'],
  },
  {
    name: 'KillMode=none gives up a process that still runs',
    unit: `${SIMPLE}\nKillMode=none`,
    steps: 'start > running, stop > dead, main 0 > dead, start > running',
    log: ['Started T.', 'a.service: Deactivated successfully.', 'Stopped T.', 'Started T.'],
  },
]
