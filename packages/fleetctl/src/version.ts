/** The version that fleetctl announces: that of the fleet whose behaviour it has. */
export const FLEET_VERSION = 'v1.0.0'
