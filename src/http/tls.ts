/**
 * How we speak TLS: RFC 9325, FAPI 2.0 SP §5.2.2. From 1.2 on, with forward secrecy and authenticated encryption only.
 *
 * A door that asks for client certificates never demands one and refuses none: whose it is, and whether it counts, is
 * decided by what is asked for with it (RFC 8705 §2.2 takes certificates that nobody signed).
 */
import { readFileSync } from 'node:fs';
import type { ServerOptions } from 'node:https';
import { CIPHER_SUITES } from '../cipher-suites.ts';
import type { Config } from '../config.ts';

/**
 * @param asks whether this door asks for client certificates
 * @returns `undefined` where TLS is somebody else's
 */
export function tlsOptions({ tls, mutualTls }: Config, asks: boolean): ServerOptions | undefined {
  if (!tls) return undefined;
  return {
    cert: readFileSync(tls.cert),
    key: readFileSync(tls.key),
    minVersion: 'TLSv1.2',
    ciphers: CIPHER_SUITES,
    ...(asks && {
      requestCert: true,
      rejectUnauthorized: false,
      // Without a list of ours Node would trust every authority that the web trusts.
      ca: [...(mutualTls?.authorities ?? [])],
    }),
  };
}
