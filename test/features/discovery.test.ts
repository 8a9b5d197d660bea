import { createPublicKey } from 'node:crypto';
import { calculateJwkThumbprint, type JWK } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { features } from '../../src/features.ts';
import { startTestServer } from '../support/server.ts';
import { startWorld, type World } from '../support/world.ts';

const DOCUMENTS = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server'];

describe('discovery (RFC 8414, OpenID Connect Discovery)', () => {
  let world: World;
  let metadata: Record<string, unknown>;
  beforeAll(async () => {
    world = await startWorld();
    metadata = await read(DOCUMENTS[0] ?? '');
  });
  afterAll(() => world.close());

  async function read(path: string): Promise<Record<string, unknown>> {
    return (await (await fetch(world.issuer + path)).json()) as Record<string, unknown>;
  }

  it('says what this server is', () => {
    expect(metadata).toMatchObject({
      issuer: world.issuer,
      authorization_endpoint: `${world.issuer}/authorize`,
      token_endpoint: `${world.issuer}/token`,
      jwks_uri: `${world.issuer}/jwks`,
      userinfo_endpoint: `${world.issuer}/userinfo`,
      introspection_endpoint: `${world.issuer}/token_info`,
      revocation_endpoint: `${world.issuer}/revoke`,
      response_types_supported: ['code'],
      response_modes_supported: ['query', 'form_post'],
      grant_types_supported: ['authorization_code', 'refresh_token', 'client_credentials'],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
      revocation_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post', 'none'],
      introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
      // The default of the specification is true.
      request_uri_parameter_supported: false,
      request_parameter_supported: false,
      claims_parameter_supported: false,
      subject_types_supported: ['public'],
    });
    expect(metadata.id_token_signing_alg_values_supported).toEqual(
      expect.arrayContaining(['RS256', 'ES256', 'PS256', 'EdDSA']),
    );
    expect(metadata.scopes_supported).toEqual([
      'openid',
      'profile',
      'email',
      'address',
      'phone',
      'offline_access',
      'photos.read',
      'photos.write',
      'storage.read',
    ]);
  });

  it('says the same at both addresses', async () => {
    expect(await read(DOCUMENTS[1] ?? '')).toEqual(metadata);
  });

  it('names no endpoint that is not served, by the method it is for', async () => {
    const endpoints = Object.entries(metadata).filter(([name]) => name.endsWith('_endpoint') || name === 'jwks_uri');
    expect(endpoints).toHaveLength(7);
    for (const [name, url] of endpoints) {
      const method = ['jwks_uri', 'authorization_endpoint', 'userinfo_endpoint'].includes(name) ? 'GET' : 'POST';
      const { status } = await fetch(String(url), { method, redirect: 'manual' });
      expect([404, 405, 500], `${name}: ${status}`).not.toContain(status);
    }
  });

  it('holds nothing empty and nothing of capabilities this version lacks', () => {
    for (const [name, value] of Object.entries(metadata)) {
      expect(value, name).not.toBeNull();
      if (Array.isArray(value)) expect(value, name).not.toHaveLength(0);
    }
    const text = JSON.stringify(metadata);
    for (const absent of ['none"]', 'implicit', 'password', 'plain', 'HS256', 'registration_endpoint', 'end_session']) {
      expect(text.replaceAll(/"[a-z_]+_auth_methods_supported":\[[^\]]*\]/g, '')).not.toContain(absent);
    }
  });

  it.each([...DOCUMENTS, '/jwks'])(
    '%s may be cached and read from every origin, and tells when nothing changed',
    async (path) => {
      const first = await fetch(world.issuer + path, { headers: { origin: 'https://anybody.example' } });
      expect(first.headers.get('content-type')).toMatch(/^application\/json/);
      expect(first.headers.get('cache-control')).toMatch(/^public, max-age=\d+/);
      expect(first.headers.get('access-control-allow-origin')).toBe('*');
      const etag = first.headers.get('etag') ?? '';
      expect((await fetch(world.issuer + path, { headers: { 'if-none-match': etag } })).status).toBe(304);
      expect((await fetch(world.issuer + path, { method: 'HEAD' })).status).toBe(200);
      expect((await fetch(world.issuer + path, { method: 'POST' })).status).toBe(405);
    },
  );

  it('takes no address from the request', async () => {
    const response = await fetch(`${world.issuer}${DOCUMENTS[0]}`, {
      headers: { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https', forwarded: 'host=evil.example' },
    });
    expect(await response.json()).toEqual(metadata);
  });

  it('publishes public keys only, each for one algorithm, under its thumbprint', async () => {
    const { keys } = (await read('/jwks')) as { keys: JWK[] };
    expect(new Set(keys.map(({ alg }) => alg))).toEqual(new Set(['ES256', 'RS256', 'PS256', 'EdDSA']));
    for (const key of keys) {
      expect(Object.keys(key)).not.toEqual(expect.arrayContaining([expect.stringMatching(/^(d|p|q|dp|dq|qi|oth|k)$/)]));
      expect(key).toMatchObject({ use: 'sig', kid: await calculateJwkThumbprint(key) });
      expect(createPublicKey({ key, format: 'jwk' }).type).toBe('public');
    }
  });

  it('follows the registries: a capability that is not there is not announced', async () => {
    const without = features.filter((line) => !/clientCredentials|userinfo|formPost/.test(line.toString()));
    expect(without).toHaveLength(features.length - 3);
    const server = await startTestServer({ features: without });
    try {
      const less = (await (await fetch(`${server.issuer}${DOCUMENTS[0]}`)).json()) as Record<string, unknown>;
      expect(less).toMatchObject({
        response_modes_supported: ['query'],
        grant_types_supported: ['authorization_code', 'refresh_token'],
      });
      for (const name of ['userinfo_endpoint', 'id_token_signing_alg_values_supported', 'claims_supported']) {
        expect(less).not.toHaveProperty(name);
      }
      expect((await fetch(`${server.issuer}/userinfo`)).status).toBe(404);
    } finally {
      await server.close();
    }
  });
});
