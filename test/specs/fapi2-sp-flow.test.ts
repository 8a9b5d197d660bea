/** FAPI 2.0 Security Profile (Final) §5.3.2 and §5.4: what shows in whole flows, and no module of the certification plans plays. */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizePath, formTo, pkce, responseOf, TestBrowser, type Visit } from '../support/browser.ts';
import { type ClientKey, clientKey } from '../support/client-key.ts';
import { startDocumentServer } from '../support/document-server.ts';
import { pushedPath } from '../support/dpop-world.ts';
import {
  ALICE,
  askTokens,
  assertionOf,
  codeFor,
  type FapiWorld,
  goThrough,
  introspectAs,
  PHOTOS,
  pushAs,
  redeemAs,
  STORAGE,
  sendAs,
  startFapiWorld,
  userinfoAs,
} from '../support/fapi-world.ts';

const EVIL = 'https://evil.example/callback';

let world: FapiWorld;
beforeAll(async () => {
  world = await startFapiWorld('fapi2-security', { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' });
});
afterAll(() => world.close());

describe('§5.3.2.1-7: no open redirectors', () => {
  it('a request leads to a registered address, whatever stands beside it', async () => {
    const unregistered = await pushAs(world, world.app, { redirect_uri: EVIL });
    expect([unregistered.status, unregistered.json.error]).toEqual([400, 'invalid_request']);
    const bare = { client_id: 'app', code_challenge: pkce().challenge };
    for (const client_id of ['app', 'nobody']) {
      const page = await new TestBrowser(world).visit(authorizePath({ ...bare, client_id, redirect_uri: EVIL }));
      expect([page.status, page.location]).toEqual([400, undefined]);
    }
    const { uri } = await pushAs(world, world.app);
    const answered = await goThrough(new TestBrowser(world), pushedPath(uri, 'app', { redirect_uri: EVIL }));
    expect(answered.location?.startsWith(`${world.app.redirectUri}?`)).toBe(true);
    const forged = 'urn:ietf:params:oauth:request_uri:forged';
    const unknown = await new TestBrowser(world).visit(pushedPath(forged, 'app', { redirect_uri: EVIL }));
    expect([unknown.status, unknown.location]).toEqual([400, undefined]);
  });

  it.each(['/', '/login', '/logout', '/account', '/select-account'])('nor does %s lead away', async (path) => {
    const names = ['post_logout_redirect_uri', 'redirect_uri', 'return_to', 'next', 'url', 'continue'];
    const query = new URLSearchParams(names.map((name): [string, string] => [name, EVIL]));
    const page = await new TestBrowser(world).visit(`${path}?${query}`);
    expect(page.location).toBeUndefined();
    expect(page.body).not.toContain('evil.example');
  });
});

it('§5.3.2.1-14: a token is for one API, for no scope but its own, and for less where less is asked for', async () => {
  const asked = { scope: 'photos.read storage.read' };
  const flow = await codeFor(world, world.app, { fields: asked });
  const fields = { grant_type: 'authorization_code', code: flow.code, code_verifier: flow.verifier };
  const { redirectUri: redirect_uri } = world.app;
  const { json } = await askTokens(world, world.app, { ...fields, redirect_uri, resource: PHOTOS });
  expect(decodeJwt(String(json.access_token))).toMatchObject({ aud: PHOTOS, scope: 'photos.read' });
  const refresh = { grant_type: 'refresh_token', refresh_token: String(json.refresh_token) };
  const other = await askTokens(world, world.app, { ...refresh, resource: STORAGE });
  expect(await introspectAs(world, world.photosApi, String(other.json.access_token))).toMatchObject({
    aud: STORAGE,
    scope: 'storage.read',
  });
  const less = await askTokens(world, world.app, { ...refresh, scope: 'photos.read' });
  expect(less.json.scope).toBe('photos.read');
  const more = await askTokens(world, world.app, { ...refresh, scope: 'photos.read openid' });
  expect([more.status, more.json.error]).toEqual([400, 'invalid_scope']);
  // A client gets no scope that it did not ask for, though it is registered for more.
  const narrow = await redeemAs(
    world,
    world.app,
    await codeFor(world, world.app, { fields: { scope: 'photos.read' } }),
  );
  expect(narrow.json.scope).toBe('photos.read');
});

it('§5.3.2.2-10, §5.3.2.2-11: every redirect is a 303, most of all the one that follows a password', async () => {
  const client = await world.fapiClient('walked');
  const { uri } = await pushAs(world, client);
  const browser = new TestBrowser(world);
  const redirects: [string, number][] = [];
  const step = async (method: string, address: string, fields?: Record<string, string>): Promise<Visit> => {
    const answer = await browser.send(method, address, fields);
    const to = answer.headers.get('location');
    if (to === null) return answer;
    redirects.push([new URL(address, world.issuer).pathname, answer.status]);
    return new URL(to, world.issuer).origin === world.issuer ? step('GET', to) : answer;
  };
  const submit = (page: Visit, action: string, more: Record<string, string>) => {
    const form = formTo(page, action);
    return step('POST', form.action, { ...form.fields, ...more });
  };
  const [username, password] = ALICE;
  // The authorization request itself may be posted, too (RFC 6749 §3.1).
  const login = await step('POST', '/authorize', { client_id: client.id, request_uri: uri });
  const consent = await submit(login, '/login', { username, password });
  const answered = await submit(consent, '/consent', { decision: 'allow' });
  expect(answered.headers.get('location')).toMatch(/^https:\/\/walked\.example\/callback\?code=/);
  await submit(await step('GET', '/logout'), '/logout', {});
  expect(redirects.map(([path]) => path)).toEqual(expect.arrayContaining(['/authorize', '/login', '/consent']));
  for (const [path, status] of redirects) expect([path, status]).toEqual([path, 303]);
});

it('§5.3.2.2-13: the person is shown who asks, where they go back to, and each thing that is asked for', async () => {
  const client = await world.fapiClient('shown', { client_name: 'Shown & Sons' });
  const browser = new TestBrowser(world);
  const { uri } = await pushAs(world, client, { scope: 'openid email photos.read storage.read' });
  const login = await browser.visit(pushedPath(uri, client.id));
  const form = formTo(login, '/login');
  const [username, password] = ALICE;
  const page = await browser.submit(form, { username, password });
  expect(new URL(page.url).pathname).toBe('/consent');
  const text = page.body.replaceAll(/<[^>]*>/g, ' ').replaceAll(/\s+/g, ' ');
  for (const shown of [
    'Shown &amp; Sons',
    'shown.example',
    'Use photos.read',
    'Use storage.read',
    'photos.example',
    'See your e-mail address',
  ])
    expect(text).toContain(shown);
  const denied = await browser.submit(formTo(page, '/consent'), { decision: 'deny' });
  expect(responseOf(denied).get('error')).toBe('access_denied');
});

it('§5.3.2.3-1: who the person is, a token response says by an ID token alone, and with openid only', async () => {
  const plain = await redeemAs(world, world.app, await codeFor(world, world.app, { fields: { scope: 'photos.read' } }));
  expect(plain.status).toBe(200);
  expect(JSON.stringify({ ...plain.json, access_token: '', refresh_token: '' })).not.toMatch(/id_token|sub|alice/i);
  expect(JSON.stringify(plain.json)).not.toContain(world.alice);
  expect((await userinfoAs(world, String(plain.json.access_token), world.app.proof)).status).toBe(403);
  const openid = await redeemAs(world, world.app, await codeFor(world, world.app));
  expect(decodeJwt(String(openid.json.id_token))).toMatchObject({ iss: world.issuer, sub: world.alice, aud: 'app' });
  const { json } = await userinfoAs(world, String(openid.json.access_token), world.app.proof);
  expect(json.sub).toBe(world.alice);
});

it('§5.4.1-4: what is handed out and not for people to type has 128 bits that nobody can guess', async () => {
  const handedOut: Record<string, string>[] = [];
  for (let round = 0; round < 4; round += 1) {
    const browser = new TestBrowser(world);
    const flow = await codeFor(world, world.app, { browser, fields: { scope: 'openid storage.read' } });
    const { json } = await redeemAs(world, world.app, flow);
    handedOut.push({
      request_uri: flow.uri,
      code: flow.code,
      access_token: String(json.access_token),
      refresh_token: String(json.refresh_token),
      ...Object.fromEntries(browser.cookies),
    });
  }
  const [first = {}, ...others] = handedOut;
  const names = Object.keys(first);
  expect(names.length).toBeGreaterThan(4);
  for (const name of names) {
    // What is the same in all of them (a prefix, a name) is no secret; each other character of base64url has six bits.
    const secret = [...(first[name] ?? '')].filter((character, at) =>
      others.some((other) => other[name]?.[at] !== character),
    );
    expect([name, secret.length * 6 >= 128]).toEqual([name, true]);
  }
});

describe('§5.4.2-2: keys are not taken from where a JWT says', () => {
  it('what we publish and sign has neither x5u nor jku', async () => {
    const { keys } = (await (await fetch(`${world.issuer}/jwks`)).json()) as { keys: Record<string, unknown>[] };
    const { json } = await redeemAs(world, world.app, await codeFor(world, world.app));
    const headers = [json.access_token, json.id_token].map((jwt) => decodeProtectedHeader(String(jwt)));
    expect(keys.length).toBeGreaterThan(0);
    for (const part of [...keys, ...headers])
      for (const name of ['x5u', 'jku', 'x5c', 'jwk']) expect(part).not.toHaveProperty(name);
  });

  it.each(['x5u', 'jku'])('an assertion with %s is refused, and nobody is asked', async (name) => {
    const elsewhere = await startDocumentServer();
    elsewhere.serve({ keys: [world.app.key.jwk] });
    try {
      const assertion = await assertionOf(world, world.app, {}, { [name]: `${elsewhere.origin}/keys` });
      const { status, json } = await pushAs(world, world.app, {}, { assertion });
      expect([status, json.error]).toEqual([401, 'invalid_client']);
      expect(elsewhere.asked).toEqual([]);
    } finally {
      await elsewhere.close();
    }
  });
});

describe('§5.4.3-1: of several keys with one kid, the one is taken that fits', () => {
  const KID = 'the-same';
  const machine = { redirect_uris: [], grant_types: ['client_credentials'], scope: 'photos.read', jwks: undefined };
  const published = async (id: string, keys: readonly Record<string, unknown>[], signer: ClientKey) => {
    const site = await startDocumentServer();
    site.serve({ keys });
    try {
      const client = await world.fapiClient(id, { ...machine, jwks_uri: `${site.origin}/jwks` }, signer);
      const answer = await sendAs(world, client, '/token_info', { token: 'x' });
      expect(site.asked.length).toBeGreaterThan(0);
      return [answer.status, answer.json.error];
    } finally {
      await site.close();
    }
  };
  const keyOf = (alg: string) => clientKey(alg, KID);

  it('by kty, crv and alg', async () => {
    const keys = await Promise.all(['PS256', 'ES256', 'EdDSA'].map(keyOf));
    for (const signer of keys)
      expect(
        await published(
          `by-${signer.alg}`,
          keys.map(({ jwk }) => jwk),
          signer,
        ),
      ).toEqual([200, undefined]);
  });

  it('by alg, of two of one kind', async () => {
    const [signer, other] = [await keyOf('PS256'), await keyOf('RS256')];
    expect(await published('by-alg', [other.jwk, signer.jwk], signer)).toEqual([200, undefined]);
  });

  it('by use', async () => {
    const [signer, other] = [await keyOf('ES256'), await keyOf('ES256')];
    const { alg: _alg, ...bare } = other.jwk;
    const keys = [
      { ...bare, use: 'enc' },
      { ...signer.jwk, use: 'sig' },
    ];
    expect(await published('by-use', keys, signer)).toEqual([200, undefined]);
  });

  it('and where two fit, neither: a signature does not choose its key', async () => {
    const [signer, other] = [await keyOf('ES256'), await keyOf('ES256')];
    expect(await published('two-that-fit', [other.jwk, signer.jwk], signer)).toEqual([401, 'invalid_client']);
  });
});
