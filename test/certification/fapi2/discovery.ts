/** Modules of the FAPI 2.0 plans about what is announced, and the TLS of every endpoint. */
import { readFileSync } from 'node:fs';
import { type ConnectionOptions, connect, createServer } from 'node:tls';
import { expect } from 'vitest';
import { FAPI_ALGS, type Fapi } from '../../support/fapi-certification.ts';
import { freePort } from '../../support/ports.ts';
import { REGISTERED } from '../registered-metadata.ts';
import type { Run } from './plan.ts';

export function discoveryModules({ module, variant }: Run): void {
  module('discovery-end-point-verification', async ({ metadata, server, fetch }) => {
    expect(metadata.issuer).toBe(server.issuer);
    expect(server.issuer).toMatch(/^https:\/\/[^?#]*[^/?#]$/);
    const aliases = (metadata.mtls_endpoint_aliases ?? {}) as Record<string, string>;
    for (const [name, value] of [...Object.entries(metadata), ...Object.entries(aliases)]) {
      if (/_endpoint$|_uri$|_iframe$/.test(name)) expect(value, name).toMatch(/^https:\/\//);
      if (/_supported$/.test(name)) expect(Array.isArray(value) || typeof value === 'boolean', name).toBe(true);
      if (Array.isArray(value)) expect(value.length, name).toBeGreaterThan(0);
    }
    expect(Object.keys(metadata).filter((name) => !REGISTERED.has(name))).toEqual([]);
    for (const tag of (metadata.ui_locales_supported ?? []) as string[])
      expect(Intl.getCanonicalLocales(tag)).toEqual([tag]);
    expect(metadata.code_challenge_methods_supported).toEqual(['S256']);
    expect(metadata.response_types_supported).toEqual(['code']);
    expect(metadata.grant_types_supported).toEqual(expect.arrayContaining(['authorization_code', 'refresh_token']));
    const methods = ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'];
    expect([...(metadata.token_endpoint_auth_methods_supported as string[])].sort()).toEqual([...methods].sort());
    const lists = Object.keys(metadata).filter((name) => name.includes('signing_alg'));
    expect(lists).toEqual(expect.arrayContaining(['dpop_signing_alg_values_supported']));
    for (const name of lists) for (const alg of metadata[name] as string[]) expect(FAPI_ALGS, name).toContain(alg);
    expect(metadata.pushed_authorization_request_endpoint).toEqual(expect.any(String));
    expect(metadata.require_pushed_authorization_requests).toBe(true);
    expect(metadata.authorization_response_iss_parameter_supported).toBe(true);
    expect(metadata.tls_client_certificate_bound_access_tokens).toBe(true);
    expect(metadata.response_modes_supported).toContain('jwt');
    expect(metadata.authorization_signing_alg_values_supported).toEqual(expect.any(Array));
    expect(Object.keys(aliases).length > 0).toBe(variant.ownPort === true);
    for (const name of Object.keys(aliases)) {
      expect(name).toMatch(/_endpoint$/);
      expect(name).not.toBe('authorization_endpoint');
      expect(metadata).toHaveProperty(name);
    }
    const { keys } = (await (await fetch(String(metadata.jwks_uri))).json()) as { keys: Record<string, string>[] };
    expect(new Set(keys.map(({ kid }) => kid)).size).toBe(keys.length);
    for (const key of keys) {
      expect(['RSA', 'EC', 'OKP']).toContain(key.kty);
      for (const secret of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) expect(key).not.toHaveProperty(secret);
    }
  });

  module('happy-flow: the TLS of every endpoint, RFC 9325, SP §5.2.2-1, §5.2.3-2', async (op) => {
    const { metadata } = op;
    const aliases = Object.values((metadata.mtls_endpoint_aliases ?? {}) as Record<string, string>);
    const addresses = [op.server.issuer, String(metadata.token_endpoint), ...aliases].map(
      (address) => new URL(address),
    );
    const ports = new Set(addresses.map(({ port }) => Number(port)));
    expect(ports.size).toBe(variant.ownPort ? 2 : 1);
    for (const port of ports)
      for (const [offer, taken] of OFFERS) expect(await speak(port, offer), JSON.stringify(offer)).toBe(taken);
    // A server that takes everything shows that this client can.
    await withLaxServer(op, async (port) => {
      for (const [offer] of OFFERS) expect(await speak(port, offer), JSON.stringify(offer)).toBe(true);
    });
  });
}

const only = (
  version: 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3',
  ciphers = 'ALL:@SECLEVEL=0',
): ConnectionOptions => ({
  minVersion: version,
  maxVersion: version,
  ciphers,
});

/** What a client offers, and whether it is taken. */
const OFFERS: readonly (readonly [offer: ConnectionOptions, taken: boolean])[] = [
  [only('TLSv1'), false],
  [only('TLSv1.1'), false],
  [only('TLSv1.3', 'TLS_AES_128_GCM_SHA256'), true],
  [only('TLSv1.2', 'ECDHE-RSA-AES128-GCM-SHA256'), true],
  [only('TLSv1.2', 'ECDHE-RSA-AES256-GCM-SHA384'), true],
  [only('TLSv1.2', 'ECDHE-RSA-AES128-SHA256:@SECLEVEL=0'), false],
  [only('TLSv1.2', 'AES128-GCM-SHA256:@SECLEVEL=0'), false],
  [only('TLSv1.2', 'AES256-SHA:@SECLEVEL=0'), false],
  [only('TLSv1.2', 'DHE-RSA-AES128-GCM-SHA256'), false],
];

/** Whether a handshake succeeds; the certificate is not looked at. */
function speak(port: number, offer: ConnectionOptions): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: 'localhost', port, rejectUnauthorized: false, ...offer }, () => {
      resolve(true);
      socket.destroy();
    }).once('error', () => resolve(false));
  });
}

async function withLaxServer({ tls }: Fapi, work: (port: number) => Promise<void>): Promise<void> {
  const lax = createServer({
    cert: readFileSync(tls.cert),
    key: readFileSync(tls.key),
    ciphers: 'ALL:@SECLEVEL=0',
    dhparam: 'auto',
    minVersion: 'TLSv1',
  });
  lax.on('tlsClientError', () => undefined).on('secureConnection', (socket) => socket.on('error', () => undefined));
  const port = await freePort();
  await new Promise<void>((resolve) => lax.listen(port, 'localhost', resolve));
  try {
    await work(port);
  } finally {
    lax.close();
  }
}
