export { readConfig, type Config } from './config.ts'
export { main } from './main.ts'
export { FleetServer, type ServerOptions } from './server.ts'
