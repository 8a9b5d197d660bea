/**
 * The profile `fapi2-security`: what FAPI 2.0 Security Profile, Final, forbids is neither served nor announced, and a client that
 * contradicts it is refused with field and clause, whether the server is held to it or the client alone.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fapi2Security } from '../../src/protocol/profile.ts';
import { authorizePath, pkce, post, responseOf, TestBrowser } from '../support/browser.ts';
import { clientKey } from '../support/client-key.ts';
import {
  askTokens,
  assertionOf,
  claimsOf,
  codeFor,
  type FapiClient,
  type FapiWorld,
  pushAs,
  redeemAs,
  redemption,
  sendAs,
  startFapiWorld,
  userinfoWith,
} from '../support/fapi-world.ts';

const FORBIDDEN_ALGS = ['RS256', 'none', 'HS256', 'HS384', 'HS512', 'RS384', 'RS512'];

describe('the server under fapi2-security', () => {
  let world: FapiWorld;
  let metadata: Record<string, unknown>;
  beforeAll(async () => {
    world = await startFapiWorld();
    const found = await fetch(`${world.issuer}/.well-known/openid-configuration`);
    metadata = (await found.json()) as Record<string, unknown>;
  });
  afterAll(() => world.close());

  it('announces what the profile has, and nothing else', () => {
    const methods = ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'];
    expect(metadata).toMatchObject({
      response_types_supported: ['code'],
      grant_types_supported: fapi2Security.grantTypes,
      code_challenge_methods_supported: ['S256'],
      require_pushed_authorization_requests: true,
      authorization_response_iss_parameter_supported: true,
    });
    for (const endpoint of ['token', 'introspection', 'revocation'])
      for (const method of metadata[`${endpoint}_endpoint_auth_methods_supported`] as string[])
        expect(methods).toContain(method);
    expect(metadata.response_modes_supported).not.toContain('fragment.jwt');
    expect(metadata).not.toHaveProperty('check_session_iframe');
  });

  it('§5.4.1-1: announces no algorithm but the profile’s', () => {
    const lists = Object.entries(metadata).filter(([name]) => /signing_alg.*_supported$/.test(name));
    expect(lists.length).toBeGreaterThan(6);
    for (const [name, algs] of lists)
      for (const alg of algs as string[])
        expect([name, ['PS256', 'ES256', 'EdDSA', 'Ed25519'].includes(alg)]).toEqual([name, true]);
    for (const alg of FORBIDDEN_ALGS) expect(lists.filter(([, algs]) => (algs as string[]).includes(alg))).toEqual([]);
  });

  it('§5.3.2.1-3, -6: serves no public clients and no secrets', async () => {
    for (const fields of [
      { client_id: 'app' },
      { client_id: 'app', client_secret: 'x' },
      { client_id: 'app', grant_type: 'client_credentials' },
    ]) {
      const { status, json } = await post(`${world.issuer}/token`, { grant_type: 'client_credentials', ...fields });
      expect([status, json.error]).toEqual([401, 'invalid_client']);
    }
  });

  it('takes no Authorization header beside a good assertion: it is refused, not ignored', async () => {
    for (const authorization of [`Basic ${btoa('app:secret')}`, 'Bearer x', 'DPoP x', '']) {
      const before = world.log.length;
      const { status, json } = await pushAs(world, world.app, {}, { headers: { authorization } });
      expect([status, json.error]).toEqual([401, 'invalid_client']);
      const line = JSON.parse(world.log.slice(before).find((text) => text.includes('"route":"/par"')) ?? '{}');
      expect(line).toMatchObject({ clientId: 'app', reason: expect.stringContaining('Authorization header') });
    }
    expect((await pushAs(world, world.app)).status).toBe(201);
  });

  it('§5.2.3-3: serves no browser code of clients (CORS)', async () => {
    const headers = { origin: 'https://app.example' };
    for (const path of ['/token', '/par', '/userinfo', '/revoke']) {
      const response = await fetch(world.issuer + path, { method: 'OPTIONS', headers });
      expect(response.headers.get('access-control-allow-origin')).toBeNull();
    }
    expect((await pushAs(world, world.app, {}, { headers })).headers.get('access-control-allow-origin')).toBeNull();
  });

  it('§5.3.2.2-3, -6: serves no request that was not pushed, and no push without redirect_uri', async () => {
    const plain = { client_id: 'app', redirect_uri: world.app.redirectUri, scope: 'openid' };
    const path = authorizePath({ ...plain, code_challenge: pkce().challenge });
    expect(responseOf(await new TestBrowser(world).visit(path)).get('error')).toBe('invalid_request');
    const { status, json } = await pushAs(world, world.app, { redirect_uri: undefined });
    expect([status, json.error]).toEqual([400, 'invalid_request']);
  });

  it('§5.3.2.1-4: serves no token that is not bound', async () => {
    const flow = await codeFor(world, world.app);
    const bare = await sendAs(world, world.app, '/token', redemption(world.app, flow));
    expect([bare.status, bare.json.error]).toEqual([400, 'invalid_request']);
    const { json } = await redeemAs(world, world.app, flow);
    expect(json.token_type).toBe('DPoP');
    expect((await userinfoWith(world, { authorization: `Bearer ${json.access_token}` })).status).toBe(401);
  });

  it('§5.3.2.1-9: does not rotate refresh tokens, and the key may change', async () => {
    const { json } = await redeemAs(world, world.app, await codeFor(world, world.app));
    const fields = { grant_type: 'refresh_token', refresh_token: String(json.refresh_token) };
    for (const proof of [world.app.proof, world.evil.proof]) {
      const again = await askTokens(world, world.app, fields, { proof });
      expect(again.status).toBe(200);
      expect([undefined, json.refresh_token]).toContain(again.json.refresh_token);
    }
  });

  it('§5.3.2.1-11, §5.3.2.2-12: codes are over after a minute, references before ten', async () => {
    const flow = await codeFor(world, world.app);
    world.clock.advance(61);
    expect((await redeemAs(world, world.app, flow)).json.error).toBe('invalid_grant');
    expect((await pushAs(world, world.app)).json.expires_in).toBeLessThan(600);
  });

  it('§5.4.1-1: signs with PS256 where nothing else is registered', async () => {
    const { json } = await redeemAs(world, world.app, await codeFor(world, world.app));
    for (const token of [json.access_token, json.id_token]) expect(claimsOf(String(token), 0).alg).toBe('PS256');
  });

  it('§5.4.1-1: takes nothing that is signed with RS256', async () => {
    // A key that names no algorithm is good for PS256 too, or it would not be registered.
    const { jwk, ...key } = await clientKey('RS256');
    const { alg: _unnamed, ...open } = jwk;
    const client = await world.fapiClient('rsa', {}, { ...key, jwk: open as typeof jwk });
    const { status, json } = await pushAs(world, client);
    expect([status, json.error]).toEqual([401, 'invalid_client']);
  });
});

/** Metadata that contradicts the profile: what is changed, and what the refusal names. */
const CONTRADICTIONS: [Record<string, unknown>, string, RegExp][] = [
  [
    { token_endpoint_auth_method: 'none', grant_types: ['authorization_code'] },
    'token_endpoint_auth_method',
    /5\.3\.2\.1-3/,
  ],
  [{ token_endpoint_auth_method: 'client_secret_basic' }, 'token_endpoint_auth_method', /5\.3\.2\.1-6/],
  [{ token_endpoint_auth_method: 'client_secret_post' }, 'token_endpoint_auth_method', /5\.3\.2\.1-6/],
  [
    { dpop_bound_access_tokens: false, tls_client_certificate_bound_access_tokens: false },
    'dpop_bound_access_tokens',
    /5\.3\.2\.1-4/,
  ],
  [{ assertion_audience: 'issuer_or_endpoint' }, 'assertion_audience', /5\.3\.2\.1-8/],
  [{ require_pkce: false }, 'require_pkce', /5\.3\.2\.2-5/],
  [{ redirect_uris: ['http://localhost/callback'] }, 'redirect_uris', /5\.3\.2\.2-8/],
  [{ redirect_uris: ['http://127.0.0.1:4000/callback'] }, 'redirect_uris', /5\.3\.2\.2-8/],
  [
    { redirect_uris: ['http://app.example/callback'] },
    'redirect_uris',
    /: may be http for native clients only, on loopback \(FAPI 2\.0 SP 5\.3\.2\.2-8\)/,
  ],
  [{ id_token_signed_response_alg: 'RS256' }, 'id_token_signed_response_alg', /5\.4\.1-1/],
  [{ userinfo_signed_response_alg: 'RS256' }, 'userinfo_signed_response_alg', /5\.4\.1-1/],
  [{ token_endpoint_auth_signing_alg: 'RS256' }, 'token_endpoint_auth_signing_alg', /5\.4\.1-1/],
  [{ request_object_signing_alg: 'RS256' }, 'request_object_signing_alg', /5\.4\.1-1/],
  [{ authorization_signed_response_alg: 'RS256' }, 'authorization_signed_response_alg', /5\.4\.1-1/],
  [{ introspection_signed_response_alg: 'RS256' }, 'introspection_signed_response_alg', /5\.4\.1-1/],
  [{ response_modes: ['fragment.jwt'] }, 'response_modes', /MS 5\.3\.3/],
];

const ALGS = 'PS256, ES256, EdDSA';
/** Metadata with what no profile has, and what this one has instead. */
const UNKNOWN: [Record<string, unknown>, string][] = [
  [{ grant_types: ['authorization_code', 'password'] }, fapi2Security.grantTypes.join(', ')],
  [
    { token_endpoint_auth_method: 'client_secret_jwt' },
    'private_key_jwt, tls_client_auth, self_signed_tls_client_auth',
  ],
  [{ response_modes: ['fragment'] }, 'query, form_post, jwt, query.jwt, form_post.jwt'],
  ...['none', 'HS256', 'RS384'].flatMap((alg): [Record<string, unknown>, string][] => [
    [{ id_token_signed_response_alg: alg }, ALGS],
    [{ userinfo_signed_response_alg: alg }, ALGS],
    [{ authorization_signed_response_alg: alg }, ALGS],
    [{ introspection_signed_response_alg: alg }, ALGS],
    [{ token_endpoint_auth_signing_alg: alg }, `${ALGS}, Ed25519`],
    [{ request_object_signing_alg: alg }, `${ALGS}, Ed25519`],
  ]),
];

describe.each([
  ['a server under fapi2-security', 'fapi2-security', {}],
  ['a client with profile fapi2-security of a server under oauth21', 'oauth21', { profile: 'fapi2-security' }],
])('%s', (_what, serverProfile, extra) => {
  let world: FapiWorld;
  let client: FapiClient;
  beforeAll(async () => {
    world = await startFapiWorld(serverProfile);
    client = await world.fapiClient('strict', extra);
  });
  afterAll(() => world.close());

  it.each(CONTRADICTIONS)('registers no client with %j', async (metadata, field, clause) => {
    const refused = world.fapiClient('contradiction', { ...extra, ...metadata });
    await expect(refused).rejects.toThrow(`${field}: `);
    await expect(refused).rejects.toThrow(/\(.*FAPI 2\.0.*\)$/);
    await expect(refused).rejects.toThrow(clause);
  });

  it.each(UNKNOWN)(
    'registers no client with %j, which no profile has, and says what there is',
    async (metadata, what) => {
      const refused = world.fapiClient('unknown', { ...extra, ...metadata });
      await expect(refused).rejects.toThrow(`${Object.keys(metadata)[0]}: `);
      await expect(refused).rejects.toThrow(`(it has ${what})`);
      await expect(refused).rejects.not.toThrow(/FAPI/);
    },
  );

  it('registers a native client with http on loopback', async () => {
    const native = { application_type: 'native', redirect_uris: ['http://127.0.0.1/callback'] };
    expect((await world.fapiClient('native', { ...extra, ...native })).id).toBe('native');
  });

  it.each(['dpop_bound_access_tokens', 'tls_client_certificate_bound_access_tokens'])(
    'registers a client with %s false alone: the other way of binding is left',
    async (field) => {
      const id = `without-${field.slice(0, 4)}`;
      expect((await world.fapiClient(id, { ...extra, [field]: false })).id).toBe(id);
    },
  );

  it('registers no client without a key for what it signs, and names jwks', async () => {
    const none = 'jwks: holds no key to check signatures with: ';
    const rsa = await clientKey('RS256');
    // The profile's doing, so its clause is named; what no profile could check has none.
    await expect(world.fapiClient('keys', extra, rsa)).rejects.toThrow(
      /^jwks: holds no key to check signatures with: token_endpoint_auth_signing_alg is PS256 .*5\.3\.2\.1-6/,
    );
    for (const [field, alg] of [
      ['token_endpoint_auth_signing_alg', 'PS256'],
      ['request_object_signing_alg', 'EdDSA'],
    ] as const)
      await expect(world.fapiClient('keys', { ...extra, [field]: alg })).rejects.toThrow(`${none}${field} is ${alg}`);
  });

  it('holds the client to pushed requests, bound tokens, PKCE and the issuer as a string', async () => {
    const plain = { client_id: 'strict', redirect_uri: client.redirectUri, scope: 'openid' };
    const path = authorizePath({ ...plain, code_challenge: pkce().challenge });
    expect(responseOf(await new TestBrowser(world).visit(path)).get('error')).toBe('invalid_request');
    for (const fields of [
      { code_challenge: undefined },
      { redirect_uri: undefined },
      { response_mode: 'fragment.jwt' },
    ])
      expect((await pushAs(world, client, fields)).json.error).toBe('invalid_request');
    const assertion = await assertionOf(world, client, { aud: [world.issuer] });
    expect((await pushAs(world, client, {}, { assertion })).status).toBe(401);
    const flow = await codeFor(world, client);
    const bare = await sendAs(world, client, '/token', redemption(client, flow));
    expect([bare.status, bare.json.error]).toEqual([400, 'invalid_request']);
    const { json } = await redeemAs(world, client, flow);
    expect([json.token_type, claimsOf(String(json.id_token), 0).alg]).toEqual(['DPoP', 'PS256']);
  });
});
