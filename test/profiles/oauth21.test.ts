/** The profile `oauth21`, the default: what OAuth 2.1 leaves out is not there, and what FAPI leaves out is. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oauth21 } from '../../src/protocol/profile.ts';
import { authorizePath, pkce, responseOf, TestBrowser } from '../support/browser.ts';
import { clientKey } from '../support/client-key.ts';
import {
  askTokens,
  claimsOf,
  codeFor,
  type FapiWorld,
  redemption,
  sendAs,
  startFapiWorld,
} from '../support/fapi-world.ts';

describe('the server under oauth21', () => {
  let world: FapiWorld;
  let metadata: Record<string, unknown>;
  beforeAll(async () => {
    world = await startFapiWorld('oauth21');
    const found = await fetch(`${world.issuer}/.well-known/openid-configuration`);
    metadata = (await found.json()) as Record<string, unknown>;
  });
  afterAll(() => world.close());

  it('announces what the profile has, and nothing else', () => {
    expect(metadata).toMatchObject({
      response_types_supported: ['code'],
      grant_types_supported: oauth21.grantTypes,
      code_challenge_methods_supported: ['S256'],
      require_pushed_authorization_requests: false,
      token_endpoint_auth_methods_supported: expect.arrayContaining([
        'client_secret_basic',
        'client_secret_post',
        'private_key_jwt',
        'none',
      ]),
    });
    for (const [name, values] of Object.entries(metadata).filter(([name]) => /signing_alg.*_supported$/.test(name)))
      for (const alg of ['none', 'HS256']) expect([name, values]).not.toEqual([name, expect.arrayContaining([alg])]);
    expect(metadata.token_endpoint_auth_methods_supported).not.toContain('client_secret_jwt');
  });

  it('OAuth 2.1 §10.1: serves no implicit flow and no password', async () => {
    const asked = { client_id: 'app', redirect_uri: world.app.redirectUri, scope: 'openid' };
    for (const response_type of ['token', 'id_token', 'code id_token']) {
      const path = authorizePath({ ...asked, response_type, code_challenge: pkce().challenge, nonce: 'n' });
      expect(responseOf(await new TestBrowser(world).visit(path)).get('error')).toBe('unsupported_response_type');
    }
    for (const grant_type of ['password', 'implicit', 'urn:ietf:params:oauth:grant-type:saml2-bearer']) {
      const { status, json } = await askTokens(world, world.app, { grant_type, username: 'alice', password: 'x' });
      expect([status, json.error]).toEqual([400, 'unsupported_grant_type']);
    }
    await expect(world.fapiClient('implicit', { grant_types: ['implicit'] })).rejects.toThrow('grant_types');
  });

  it('serves plain requests and unbound tokens to clients that are held to nothing stricter', async () => {
    const flow = await codeFor(world, world.app);
    const { status, json } = await sendAs(world, world.app, '/token', redemption(world.app, flow));
    expect([status, json.token_type]).toEqual([200, 'Bearer']);
    const asked = { client_id: 'app', redirect_uri: world.app.redirectUri, scope: 'openid' };
    const path = authorizePath({ ...asked, code_challenge: pkce().challenge });
    expect(responseOf(await flow.browser.visit(path)).has('code')).toBe(true);
  });

  it('registers what FAPI would not: secrets, public clients, http on loopback, RS256', async () => {
    for (const [id, changes] of Object.entries({
      secret: { token_endpoint_auth_method: 'client_secret_basic', jwks: undefined },
      public: { token_endpoint_auth_method: 'none', jwks: undefined, grant_types: ['authorization_code'] },
      loopback: { redirect_uris: ['http://localhost:4000/callback'] },
      rs256: {
        id_token_signed_response_alg: 'RS256',
        token_endpoint_auth_signing_alg: 'RS256',
        jwks: { keys: [(await clientKey('RS256')).jwk] },
      },
      lenient: { assertion_audience: 'issuer_or_endpoint', require_pkce: false },
    }))
      expect((await world.fapiClient(id, changes)).id).toBe(id);
  });

  it('OAuth 2.1 §4.1.1: a public client cannot do without PKCE', async () => {
    const open = { token_endpoint_auth_method: 'none', jwks: undefined, grant_types: ['authorization_code'] };
    const refused = world.fapiClient('lax', { ...open, require_pkce: false });
    await expect(refused).rejects.toThrow(/require_pkce/);
    await expect(refused).rejects.not.toThrow(/FAPI/);
  });

  it.each([
    [{ grant_types: ['password'] }, oauth21.grantTypes.join(', ')],
    [{ grant_types: ['urn:example:unheard-of'] }, oauth21.grantTypes.join(', ')],
    [{ token_endpoint_auth_method: 'client_secret_jwt' }, 'client_secret_basic, client_secret_post, private_key_jwt'],
    [{ response_modes: ['fragment'] }, 'query, form_post, jwt, query.jwt, form_post.jwt, fragment.jwt'],
    [{ id_token_signed_response_alg: 'none' }, 'ES256, RS256, PS256, EdDSA'],
    [{ userinfo_signed_response_alg: 'HS256' }, 'ES256, RS256, PS256, EdDSA'],
    [{ token_endpoint_auth_signing_alg: 'HS256' }, 'ES256, RS256, PS256, EdDSA, Ed25519'],
  ])('registers no client with %j, says what there is, and speaks of no FAPI', async (metadata, what) => {
    const refused = world.fapiClient('unknown', metadata);
    await expect(refused).rejects.toThrow(`${Object.keys(metadata)[0]}: `);
    await expect(refused).rejects.toThrow(`(it has ${what}`);
    await expect(refused).rejects.not.toThrow(/FAPI/);
  });

  it('a value of the wrong kind is told as such', async () => {
    await expect(world.fapiClient('kind', { require_pkce: 'no' })).rejects.toThrow(
      /^require_pkce: must be true or false/,
    );
  });

  it('a client may name a stricter profile, and no unknown one', async () => {
    await expect(world.fapiClient('unknown', { profile: 'fapi1-advanced' })).rejects.toThrow(/profile/);
    expect((await world.fapiClient('strict', { profile: 'fapi2-security' })).id).toBe('strict');
  });

  it('a client of a stricter profile gets no token signed with what that forbids, whatever the API is registered for', async () => {
    await world.resource({
      resource: 'https://rs256.example',
      name: 'RS256',
      scopes: { 'rs256.read': 'Read' },
      access_token_format: 'jwt',
      signing_alg: 'RS256',
    });
    const backend = { grant_types: ['client_credentials'], redirect_uris: undefined, scope: 'rs256.read' };
    const algOf = async (id: string, profile: string) => {
      const client = await world.fapiClient(id, { ...backend, profile });
      const { status, json } = await askTokens(world, client, { grant_type: 'client_credentials' });
      expect(status, JSON.stringify(json)).toBe(200);
      return claimsOf(String(json.access_token), 0).alg;
    };
    expect(await algOf('rs256-lax', 'oauth21')).toBe('RS256');
    expect(await algOf('rs256-strict', 'fapi2-security')).toBe('PS256');
  });
});

it('a laxer profile than the server’s changes nothing for a client', async () => {
  const world = await startFapiWorld('fapi2-security');
  try {
    const lax = { profile: 'oauth21', require_pkce: false };
    await expect(world.fapiClient('lax', lax)).rejects.toThrow(/require_pkce/);
    const client = await world.fapiClient('named-lax', { profile: 'oauth21' });
    const flow = await codeFor(world, client);
    expect((await sendAs(world, client, '/token', redemption(client, flow))).status).toBe(400);
  } finally {
    await world.close();
  }
});
