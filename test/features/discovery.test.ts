import { createPublicKey } from 'node:crypto';
import { calculateJwkThumbprint, type JWK } from 'jose';
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { features } from '../../src/features.ts';
import { userClaims } from '../../src/protocol/claims.ts';
import { startTestServer } from '../support/server.ts';
import { startWorld, type World } from '../support/world.ts';
import { relyingParty } from './relying-party.ts';

/** Grants that begin with a token: RFC 8693, RFC 7523 §2.1. */
const byTokens = ['urn:ietf:params:oauth:grant-type:token-exchange', 'urn:ietf:params:oauth:grant-type:jwt-bearer'];
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

  it('says what this server is: all of it, and nothing more', () => {
    const algs = ['ES256', 'RS256', 'PS256', 'EdDSA'];
    const encryption = {
      alg: ['RSA-OAEP-256', 'ECDH-ES', 'ECDH-ES+A256KW'],
      enc: ['A128CBC-HS256', 'A256GCM', 'A128GCM'],
    };
    // What clients sign with goes by both names of the algorithm (RFC 9864).
    const clients = [...algs, 'Ed25519'];
    const confidential = ['client_secret_basic', 'client_secret_post', 'private_key_jwt'];
    expect(metadata).toEqual({
      issuer: world.issuer,
      authorization_endpoint: `${world.issuer}/authorize`,
      token_endpoint: `${world.issuer}/token`,
      jwks_uri: `${world.issuer}/jwks`,
      userinfo_endpoint: `${world.issuer}/userinfo`,
      pushed_authorization_request_endpoint: `${world.issuer}/par`,
      introspection_endpoint: `${world.issuer}/token_info`,
      revocation_endpoint: `${world.issuer}/revoke`,
      end_session_endpoint: `${world.issuer}/logout`,
      check_session_iframe: `${world.issuer}/session/check`,
      response_types_supported: ['code'],
      response_modes_supported: ['query', 'jwt', 'query.jwt', 'form_post.jwt', 'fragment.jwt', 'form_post'],
      authorization_signing_alg_values_supported: algs,
      authorization_encryption_alg_values_supported: encryption.alg,
      authorization_encryption_enc_values_supported: encryption.enc,
      grant_types_supported: ['authorization_code', 'refresh_token', 'client_credentials', ...byTokens],
      token_endpoint_auth_methods_supported: [...confidential, 'none'],
      token_endpoint_auth_signing_alg_values_supported: clients,
      revocation_endpoint_auth_methods_supported: [...confidential, 'none'],
      revocation_endpoint_auth_signing_alg_values_supported: clients,
      introspection_endpoint_auth_methods_supported: confidential,
      introspection_endpoint_auth_signing_alg_values_supported: clients,
      introspection_signing_alg_values_supported: algs,
      introspection_encryption_alg_values_supported: encryption.alg,
      introspection_encryption_enc_values_supported: encryption.enc,
      dpop_signing_alg_values_supported: clients,
      require_pushed_authorization_requests: false,
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
      request_parameter_supported: true,
      request_object_signing_alg_values_supported: clients,
      // We have one key for each of them.
      request_object_encryption_alg_values_supported: ['RSA-OAEP-256', 'ECDH-ES'],
      request_object_encryption_enc_values_supported: encryption.enc,
      // The default of the specification is true.
      request_uri_parameter_supported: false,
      claims_parameter_supported: true,
      prompt_values_supported: ['none', 'login', 'consent', 'select_account'],
      display_values_supported: ['page'],
      ui_locales_supported: ['en'],
      acr_values_supported: ['urn:gatehouse:acr:password'],
      subject_types_supported: ['public', 'pairwise'],
      // What a client gets that registers none comes first (OpenID Connect Registration §2).
      id_token_signing_alg_values_supported: ['RS256', 'ES256', 'PS256', 'EdDSA'],
      id_token_encryption_alg_values_supported: encryption.alg,
      id_token_encryption_enc_values_supported: encryption.enc,
      userinfo_signing_alg_values_supported: algs,
      userinfo_encryption_alg_values_supported: encryption.alg,
      userinfo_encryption_enc_values_supported: encryption.enc,
      scopes_supported: expect.any(Array),
      claim_types_supported: ['normal'],
      claims_supported: expect.any(Array),
      backchannel_logout_supported: true,
      backchannel_logout_session_supported: true,
      frontchannel_logout_supported: true,
      frontchannel_logout_session_supported: true,
    });
  });

  it('names every scope there is, once: those of OpenID Connect and those of the APIs', () => {
    const openid = ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'];
    const scopes = metadata.scopes_supported as string[];
    expect([...scopes].sort()).toEqual([...openid, 'photos.read', 'photos.write', 'storage.read'].sort());
  });

  it('names every claim there is, once: those of ID tokens and those about a person', () => {
    const idToken = ['iss', 'sub', 'aud', 'exp', 'iat', 'auth_time', 'acr', 'amr', 'nonce', 'at_hash', 'sid'];
    const claims = metadata.claims_supported as string[];
    expect([...claims].sort()).toEqual([...idToken, ...Object.keys(userClaims.shape)].sort());
  });

  it('says the same at both addresses', async () => {
    expect(await read(DOCUMENTS[1] ?? '')).toEqual(metadata);
  });

  it('names no endpoint that is not served, by the method it is for', async () => {
    const endpoints = Object.entries(metadata).filter(([name]) => /_(endpoint|uri|iframe)$/.test(name));
    expect(endpoints).toHaveLength(9);
    for (const [name, url] of endpoints) {
      const method = /^(token|introspection|revocation|pushed)/.test(name) ? 'POST' : 'GET';
      const { status } = await fetch(String(url), { method, redirect: 'manual' });
      expect([404, 405, 500], `${name}: ${status}`).not.toContain(status);
    }
  });

  it.each(['oidc', 'oauth2'] as const)(
    'is found and believed by openid-client, which looks for %s',
    async (algorithm) => {
      const party = await relyingParty(world, world.web, { algorithm });
      expect(party.serverMetadata()).toMatchObject(metadata);
      expect(party.serverMetadata().supportsPKCE('S256')).toBe(true);
    },
  );

  it.each(['oidc', 'oauth2'] as const)('passes the checks of oauth4webapi as %s', async (algorithm) => {
    const issuer = new URL(world.issuer);
    const options = { algorithm, [oauth.allowInsecureRequests]: true };
    const found = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, options));
    expect(found).toEqual(metadata);
  });

  it.each([...DOCUMENTS, '/jwks'])(
    '%s may be cached and read from every origin, and tells when nothing changed',
    async (path) => {
      const first = await fetch(world.issuer + path, { headers: { origin: 'https://anybody.example' } });
      expect(first.headers.get('content-type')).toMatch(/^application\/json/);
      expect(first.headers.get('cache-control')).toMatch(/^public, max-age=\d+/);
      expect(first.headers.get('access-control-allow-origin')).toBe('*');
      const etag = first.headers.get('etag') ?? '';
      expect(etag).toMatch(/^"[\w-]{22}"$/);
      expect((await fetch(world.issuer + path, { headers: { 'if-none-match': etag } })).status).toBe(304);
      expect((await fetch(world.issuer + path, { method: 'HEAD' })).status).toBe(200);
      expect((await fetch(world.issuer + path, { method: 'POST' })).status).toBe(405);
    },
  );

  it('changes with what it is made from, on every node', async () => {
    const node = await world.node();
    try {
      const documents = () =>
        Promise.all([world, node].map(async ({ issuer }) => (await fetch(issuer + DOCUMENTS[0])).json()));
      await documents();
      const tagOf = async () => (await fetch(world.issuer + DOCUMENTS[0])).headers.get('etag');
      const before = await tagOf();
      await world.resource({ resource: 'https://prints.example', name: 'Prints', scopes: { 'prints.order': 'Order' } });
      await expect
        .poll(documents, { timeout: 5000 })
        .toEqual(
          Array.from({ length: 2 }, () =>
            expect.objectContaining({ scopes_supported: expect.arrayContaining(['prints.order']) }),
          ),
        );
      expect(await tagOf()).not.toBe(before);
    } finally {
      await node.close();
    }
  });

  it('takes no address from the request', async () => {
    const response = await fetch(`${world.issuer}${DOCUMENTS[0]}`, {
      headers: { 'x-forwarded-host': 'evil.example', 'x-forwarded-proto': 'https', forwarded: 'host=evil.example' },
    });
    expect(await response.json()).toEqual(await read(DOCUMENTS[0] ?? ''));
    expect(JSON.stringify(await read(DOCUMENTS[0] ?? ''))).not.toContain('evil.example');
  });

  it('publishes public keys only, each for one algorithm, under its thumbprint', async () => {
    const { keys } = (await read('/jwks')) as { keys: JWK[] };
    const algs = (use: string) => keys.flatMap((key) => (key.use === use ? [key.alg] : [])).sort();
    // The one that signs and the one that waits; of those to encrypt to there is nothing to choose.
    const signing = ['ES256', 'RS256', 'PS256', 'EdDSA'];
    expect(algs('sig')).toEqual([...signing, ...signing].sort());
    expect(algs('enc')).toEqual(['ECDH-ES', 'RSA-OAEP-256']);
    for (const key of keys) {
      expect(Object.keys(key)).not.toEqual(expect.arrayContaining([expect.stringMatching(/^(d|p|q|dp|dq|qi|oth|k)$/)]));
      expect(key.kid).toBe(await calculateJwkThumbprint(key));
      expect(createPublicKey({ key, format: 'jwk' }).type).toBe('public');
    }
  });

  it('follows the registries: a capability that is not there is not announced', async () => {
    const without = features.filter((line) => !/clientCredentials|userinfo|formPost|\bjar\b/.test(line.toString()));
    expect(without).toHaveLength(features.length - 4);
    const server = await startTestServer({ features: without });
    try {
      const less = (await (await fetch(`${server.issuer}${DOCUMENTS[0]}`)).json()) as Record<string, unknown>;
      expect(less).toMatchObject({
        response_modes_supported: ['query', 'jwt', 'query.jwt', 'form_post.jwt', 'fragment.jwt'],
        grant_types_supported: ['authorization_code', 'refresh_token', ...byTokens],
        scopes_supported: ['openid', 'offline_access'],
      });
      for (const name of Object.keys(metadata)) {
        if (/^(userinfo|request_object)_/.test(name)) expect(less).not.toHaveProperty(name);
      }
      expect(less.claims_supported).not.toContain('email');
      expect((await fetch(`${server.issuer}/userinfo`)).status).toBe(404);
    } finally {
      await server.close();
    }
  });
});
