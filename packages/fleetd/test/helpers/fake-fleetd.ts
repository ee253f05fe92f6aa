/** A fleetd process whose units are only pretended: for trying a cluster where nothing may be run. */
import { createLogger } from '@flotilla/daemon'
import { readConfig } from '../../src/config.ts'
import { FleetServer } from '../../src/server.ts'
import { FakeManager } from './fake-manager.ts'

const { config } = readConfig(process.env)
const log = createLogger({ sink: process.stderr, level: config.verbosity > 0 ? 'debug' : 'info' })
const server = new FleetServer(config, {
  machineID: config.machineID,
  manager: new FakeManager(config.unitsDirectory),
  log,
  listenFds: [],
})
await server.listen()
const started = server.start()
process.once('SIGTERM', () => {
  server
    .stop()
    .then(async () => started)
    .then(() => process.exit(0))
    .catch((error: unknown) => log.error(String(error)))
})
