/** Pushed authorization requests: RFC 9126, and what FAPI 2.0 and our decisions add. One test for each demand. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectErrorPage } from '../support/attack-pages.ts';
import { authorizePath, pkce, post, responseOf, TestBrowser } from '../support/browser.ts';
import { follow, push, pushedPath } from '../support/dpop-world.ts';
import { startTestServer } from '../support/server.ts';
import { SPA_REDIRECT, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

describe('RFC 9126', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const visit = (path: string) => new TestBrowser(world).visit(path);

  it('§2: the endpoint is announced', async () => {
    const metadata = (await (await fetch(`${world.issuer}/.well-known/oauth-authorization-server`)).json()) as object;
    expect(metadata).toMatchObject({ pushed_authorization_request_endpoint: `${world.issuer}/par` });
  });

  it('§2: the client authenticates as it does at the token endpoint', async () => {
    for (const client of [
      { id: 'web', secret: 'wrong' },
      { id: 'nobody', secret: 'x' },
      { id: 'web', secret: '' },
    ]) {
      const { status, json } = await push(world, { client });
      expect([status, json.error]).toEqual([401, 'invalid_client']);
    }
  });

  it('§2: a public client says who it is', async () => {
    const spa = { id: world.spa.id, secret: '' };
    expect((await push(world, { client: spa, fields: { redirect_uri: SPA_REDIRECT } })).status).toBe(201);
  });

  it('§2.1: client_id is the client that authenticates, whether it is said again or not', async () => {
    for (const client_id of ['web', undefined]) expect((await push(world, { fields: { client_id } })).status).toBe(201);
    const { status, json } = await push(world, { fields: { client_id: 'spa' } });
    expect([status, json.error]).toEqual([401, 'invalid_client']);
  });

  it('§2.1: request_uri is refused', async () => {
    const { uri } = await push(world);
    for (const request_uri of [uri, 'https://client.example/request', 'x']) {
      const { status, json } = await push(world, { fields: { request_uri } });
      expect([status, json.error]).toEqual([400, 'invalid_request']);
    }
  });

  it.each<[string, Record<string, string | undefined>, string]>([
    ['no response_type', { response_type: undefined }, 'invalid_request'],
    ['response_type token', { response_type: 'token' }, 'unsupported_response_type'],
    ['response_type code id_token', { response_type: 'code id_token' }, 'unsupported_response_type'],
    ['a redirect_uri that is not registered', { redirect_uri: 'https://evil.example/' }, 'invalid_request'],
    ['no redirect_uri, with openid', { redirect_uri: undefined }, 'invalid_request'],
    ['no code_challenge', { code_challenge: undefined }, 'invalid_request'],
    ['code_challenge_method plain', { code_challenge_method: 'plain' }, 'invalid_request'],
    ['an unknown response_mode', { response_mode: 'pigeon' }, 'invalid_request'],
    ['a scope of nobody', { scope: 'nothing' }, 'invalid_scope'],
    ['an unknown resource', { resource: 'https://unknown.example' }, 'invalid_target'],
    ['an unknown prompt', { prompt: 'now' }, 'invalid_request'],
    ['a max_age that is no number', { max_age: 'x' }, 'invalid_request'],
    ['a claims parameter that is no JSON', { claims: '{' }, 'invalid_request'],
    ['an id_token_hint that is none', { id_token_hint: 'x' }, 'invalid_request'],
    ['registration', { registration: '{}' }, 'registration_not_supported'],
  ])('§2.1-3, §2.3: %s is refused as the authorization endpoint does', async (_what, fields, error) => {
    const { status, json } = await push(world, { fields });
    expect([status, json.error]).toEqual([400, error]);
  });

  it('§2.1: repeated parameters are refused', async () => {
    const body = 'response_type=code&state=a&state=a';
    const { status, json } = await post(`${world.issuer}/par`, body, { basic: world.web });
    expect([status, json.error]).toEqual([400, 'invalid_request']);
  });

  it('§2.2: 201 with a request_uri nobody can guess, how long it lives, and no caching', async () => {
    const first = await push(world);
    expect(first.status).toBe(201);
    expect(first.headers.get('content-type')).toMatch(/^application\/json/);
    expect(first.headers.get('cache-control')).toContain('no-store');
    expect(Object.keys(first.json).sort()).toEqual(['expires_in', 'request_uri']);
    expect(first.uri).toMatch(/^urn:ietf:params:oauth:request_uri:gate_pr_[\w-]{64}$/);
    expect((await push(world)).uri).not.toBe(first.uri);
  });

  it('§2.2, FAPI 2.0 SP §5.3.2.2-12: it lives for 5 to 600 seconds', async () => {
    const { json } = await push(world);
    expect(json.expires_in).toBe(90);
  });

  it.each(['GET', 'PUT', 'DELETE', 'PATCH'])('§2.3: %s is answered with 405', async (method) => {
    const response = await fetch(`${world.issuer}/par`, { method });
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST, OPTIONS']);
  });

  it('§2.3: a request that is too large is answered with 413', async () => {
    expect((await push(world, { fields: { state: 'x'.repeat(70_000) } })).status).toBe(413);
  });

  it('§4: the browser brings client_id and request_uri, and nothing else is needed', async () => {
    const { uri } = await push(world);
    const { answer } = await follow(world, pushedPath(uri));
    expect([answer?.get('state'), answer?.get('iss'), answer?.has('code')]).toEqual([
      'af0ifjsldkj',
      world.issuer,
      true,
    ]);
  });

  it('§4: without client_id it is not looked at', async () => {
    const { uri } = await push(world);
    expectErrorPage(await visit(`/authorize?request_uri=${encodeURIComponent(uri)}`), 400, 'invalid_request');
  });

  it('§4, RFC 9101 §6.3: what stands beside it is ignored', async () => {
    const { uri } = await push(world, { fields: { state: undefined } });
    const beside = { redirect_uri: 'https://evil.example/', state: 'x', response_mode: 'form_post', prompt: 'none' };
    const { page, answer } = await follow(world, pushedPath(uri, 'web', beside));
    expect(page.location?.startsWith(`${WEB_REDIRECT}?`)).toBe(true);
    expect([answer?.has('code'), answer?.has('state')]).toEqual([true, false]);
  });

  it('§4: after its time it is refused, on a page, wherever an address beside it points', async () => {
    const { uri, json } = await push(world);
    world.clock.advance(Number(json.expires_in) + 1);
    for (const beside of [{}, { redirect_uri: WEB_REDIRECT }])
      expectErrorPage(await visit(pushedPath(uri, 'web', beside)), 400, 'invalid_request_uri');
  });

  it('§4, §7.3: it is good for one response', async () => {
    const { uri } = await push(world);
    await follow(world, pushedPath(uri));
    expectErrorPage(await visit(pushedPath(uri)), 400, 'invalid_request_uri');
  });

  it('§7.3: reloading is no use of it', async () => {
    const { uri } = await push(world);
    for (let round = 0; round < 3; round += 1) expect((await visit(pushedPath(uri))).url).toContain('/login');
  });

  it('§4, §2.2: it is bound to its client', async () => {
    const { uri } = await push(world);
    expectErrorPage(await visit(pushedPath(uri, 'spa')), 400, 'invalid_request_uri');
  });

  it.each(['https://client.example/request', 'http://localhost/x', 'urn:example:x', 'file:///etc/passwd'])(
    'RFC 9101 §10.4.1: the request_uri %s is of nobody here, and never fetched',
    async (request_uri) => {
      const page = await visit(pushedPath(request_uri, 'web', { redirect_uri: WEB_REDIRECT }));
      expect(responseOf(page).get('error')).toBe('request_uri_not_supported');
    },
  );

  it('§4, RFC 9101 §5: request and request_uri exclude each other', async () => {
    const { uri } = await push(world);
    // What is inside is not read, the address neither: where none stands beside, there is nobody to tell.
    expectErrorPage(await visit(pushedPath(uri, 'web', { request: 'x' })), 400, 'invalid_request');
    const told = await visit(pushedPath(uri, 'web', { request: 'x', redirect_uri: WEB_REDIRECT }));
    expect(told.location?.startsWith(`${WEB_REDIRECT}?`)).toBe(true);
    expect(responseOf(told).get('error')).toBe('invalid_request');
    const elsewhere = await visit(pushedPath(uri, 'web', { request: 'x', redirect_uri: 'https://evil.example/' }));
    expectErrorPage(elsewhere, 400, 'invalid_request');
  });

  it('§6: a client that is registered for it gets nowhere without', async () => {
    const metadata = { redirect_uris: [WEB_REDIRECT], scope: 'openid', require_pushed_authorization_requests: true };
    const client = await world.client(metadata);
    const plain = { client_id: client.id, redirect_uri: WEB_REDIRECT, scope: 'openid' };
    const page = await visit(authorizePath({ ...plain, state: 's', code_challenge: pkce().challenge }));
    expect(page.location?.startsWith(`${WEB_REDIRECT}?`)).toBe(true);
    expect(Object.fromEntries(responseOf(page))).toMatchObject({ error: 'invalid_request', state: 's' });
    expect(responseOf(page).has('code')).toBe(false);
    const elsewhere = { ...plain, redirect_uri: 'https://evil.example/', code_challenge: pkce().challenge };
    expectErrorPage(await visit(authorizePath(elsewhere)), 400, 'invalid_request');
    const { uri } = await push(world, { client, fields: { scope: 'openid' } });
    expect((await follow(world, pushedPath(uri, client.id))).answer?.has('code')).toBe(true);
  });

  it('§5: a server whose profile demands it says so, and it is a boolean everywhere', async () => {
    const strict = await startTestServer({ env: { GATEHOUSE_PROFILE: 'fapi2-security' } });
    for (const [server, demanded] of [
      [world, false],
      [strict, true],
    ] as const) {
      const metadata = (await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json()) as object;
      expect(metadata).toHaveProperty('require_pushed_authorization_requests', demanded);
    }
    await strict.close();
  });
});
