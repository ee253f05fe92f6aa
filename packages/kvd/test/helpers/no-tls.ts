import type { Logger } from '@flotilla/daemon'
import type { Test } from 'tap'
import type { TlsConfig } from '../../src/tls/tls-config.ts'
import { openTlsIdentity, type TlsIdentity } from '../../src/tls/tls-identity.ts'

/** One side of a process without certificates; closed with the test. */
export async function withoutTls(
  tt: Test,
  side: TlsConfig['side'],
  logger: Logger,
): Promise<TlsIdentity> {
  const config = {
    side,
    certFile: '',
    keyFile: '',
    caFiles: [],
    clientCertAuth: false,
    isSelfSigned: false,
  }
  const tls = await openTlsIdentity({ config, logger, nowMs: Date.now })
  tt.teardown(() => tls.close())
  return tls
}
