import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decodeJwt } from 'jose';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { clientSigningAlgs } from '../../src/protocol/jose-client.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { errorCodeOf } from '../support/attack-pages.ts';
import { decide, post, responseOf, signIn, TestBrowser, type Visit } from '../support/browser.ts';
import { type ClientKey, clientKey, rawJws } from '../support/client-key.ts';
import {
  objectPath,
  SIGNER_REDIRECT,
  type SigningWorld,
  sendObject,
  startSigningWorld,
} from '../support/request-objects.ts';
import { PHOTOS, STORAGE } from '../support/world.ts';
import { relyingParty } from './relying-party.ts';

const REDIRECT = 'https://jar.example/callback';

let world: SigningWorld;
beforeAll(async () => {
  world = await startSigningWorld({}, { env: { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' } });
});
afterAll(() => world.close());

/** As far as a person is needed. */
async function through(browser: TestBrowser, first: Visit): Promise<URLSearchParams> {
  let page =
    first.location === undefined || !first.location.startsWith('/') ? first : await browser.visit(first.location);
  if (page.url.includes('/login')) page = await signIn(browser, page);
  if (page.url.includes('/consent')) page = await decide(browser, page);
  return responseOf(page);
}

const signed = (changes: Record<string, unknown> = {}) => world.key.sign(world.claims(changes));

describe('openid-client signs its request', () => {
  it.each(clientSigningAlgs(oauth21))('with %s', async (alg) => {
    const key = await clientKey(alg);
    const client = await world.client({
      redirect_uris: [REDIRECT],
      scope: 'openid email photos.read',
      jwks: { keys: [key.jwk] },
      request_object_signing_alg: alg,
    });
    const party = await relyingParty(world, client);
    const pkceCodeVerifier = oidc.randomPKCECodeVerifier();
    const [expectedState, expectedNonce] = [oidc.randomState(), oidc.randomNonce()];
    const url = await oidc.buildAuthorizationUrlWithJAR(
      party,
      {
        redirect_uri: REDIRECT,
        scope: 'openid photos.read',
        state: expectedState,
        nonce: expectedNonce,
        max_age: '3600',
        claims: '{"id_token":{"email":null}}',
        code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
        code_challenge_method: 'S256',
      },
      { key: key.privateKey, kid: key.jwk.kid },
    );
    // Nothing of it is readable beside the object.
    expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'request']);
    const browser = new TestBrowser(world);
    const answer = await through(browser, await browser.send('GET', url.href));
    const callback = new URL(`${REDIRECT}?${answer}`);
    const tokens = await oidc.authorizationCodeGrant(party, callback, {
      pkceCodeVerifier,
      expectedState,
      expectedNonce,
      maxAge: 3600,
      idTokenExpected: true,
    });
    expect(tokens.claims()).toMatchObject({ sub: world.alice, email: 'alice@people.example' });
  });

  it('is told in the metadata that it can', async () => {
    const metadata = (await relyingParty(world, world.signer)).serverMetadata();
    expect(metadata).toMatchObject({
      request_parameter_supported: true,
      request_uri_parameter_supported: false,
      request_object_signing_alg_values_supported: ['ES256', 'RS256', 'PS256', 'EdDSA', 'Ed25519'],
    });
  });
});

describe('what is inside a request object', () => {
  it('is the whole request: what stands beside it neither adds nor changes anything', async () => {
    const browser = new TestBrowser(world);
    const first = await sendObject(browser, await signed({ scope: 'openid photos.read' }), {
      response_type: 'code',
      redirect_uri: `${SIGNER_REDIRECT}/other`,
      scope: 'openid storage.read',
      state: 'outside',
      nonce: 'outside',
      prompt: 'none',
      response_mode: 'form_post',
      claims: '{"id_token":{"name":null}}',
    });
    const answer = await through(browser, first);
    expect(answer.get('state')).toBe('inside');
    const { json } = await world.redeemed(answer.get('code') ?? '');
    expect(json.scope).toBe('openid photos.read');
    const idToken = decodeJwt(String(json.id_token));
    expect(idToken).not.toHaveProperty('nonce');
    expect(idToken).not.toHaveProperty('name');
  });

  it('is of the client that pushes it, though it authenticated without naming itself in the form', async () => {
    const pushed = async (changes: Record<string, unknown>) => {
      const form = { request: await signed(changes) };
      const { status, json } = await post(`${world.issuer}/par`, form, { basic: world.signer });
      return [status, json.error];
    };
    expect(await pushed({})).toEqual([201, undefined]);
    expect(await pushed({ client_id: undefined })).toEqual([201, undefined]);
    expect(await pushed({ client_id: 'web' })).toEqual([400, 'invalid_request_object']);
  });

  it('may be numbers and objects as JSON has them', async () => {
    const browser = new TestBrowser(world);
    const claims = { id_token: { name: { essential: true } } };
    const request = await signed({ max_age: 600, claims });
    const { json } = await world.redeemed(
      (await through(browser, await sendObject(browser, request))).get('code') ?? '',
    );
    expect(decodeJwt(String(json.id_token))).toMatchObject({ name: 'Alice Liddell', auth_time: expect.any(Number) });
    world.clock.advance(601);
    expect((await sendObject(browser, await signed({ max_age: 600 }))).location).toContain('/login');
  });

  it.each<[string, unknown, string]>([
    ['one resource', PHOTOS, 'openid photos.read'],
    // Both were granted, and one token cannot be for both.
    ['a list of resources', [PHOTOS, STORAGE], 'invalid_target'],
  ])('may name %s', async (_what, resource, expected) => {
    const browser = new TestBrowser(world);
    const request = await signed({ scope: 'openid photos.read storage.read', resource });
    const answer = await through(browser, await sendObject(browser, request));
    const { json } = await world.redeemed(answer.get('code') ?? '');
    expect(json.scope ?? json.error).toBe(expected);
  });

  it('is ignored where nobody here knows it, whatever it is', async () => {
    const browser = new TestBrowser(world);
    const unknown = { extra: 'foobar', list: [1], flag: true, nothing: null, jti: 'x', sub: 'somebody' };
    const answer = await through(browser, await sendObject(browser, await signed(unknown)));
    expect(answer.has('code')).toBe(true);
  });

  it('lasts through sign-in and consent, though the object is over by then', async () => {
    const browser = new TestBrowser(world);
    const page = await browser.visit((await sendObject(browser, await signed())).location ?? '');
    world.clock.advance(400);
    const consent = await signIn(browser, page);
    const answer = responseOf(consent.url.includes('/consent') ? await decide(browser, consent) : consent);
    expect([answer.get('state'), answer.has('code')]).toEqual(['inside', true]);
  });

  it('may be posted, and then be long', async () => {
    const browser = new TestBrowser(world);
    const request = await signed({ padding: 'x'.repeat(20_000), state: 's'.repeat(1000) });
    expect(request.length).toBeGreaterThan(27_000);
    const posted = await browser.send(
      'POST',
      '/authorize',
      { client_id: 'signer', request },
      { origin: 'https://signer.example', 'sec-fetch-site': 'cross-site' },
    );
    expect((await through(browser, posted)).get('state')).toBe('s'.repeat(1000));
  });

  it('asks for an answer by form_post', async () => {
    const browser = new TestBrowser(world);
    const visit = await sendObject(browser, await signed({ response_mode: 'form_post', prompt: 'none' }));
    expect(visit.body).toMatch(/name="error" value="login_required"/);
    expect(visit.body).toMatch(/name="state" value="inside"/);
  });

  it('gives the errors it always gives, at the address inside', async () => {
    for (const [changes, error] of [
      [{ scope: 'nothing' }, 'invalid_scope'],
      [{ response_type: 'token' }, 'unsupported_response_type'],
      [{ response_type: undefined }, 'invalid_request'],
      [{ code_challenge: undefined }, 'invalid_request'],
      [{ max_age: -1 }, 'invalid_request'],
      [{ registration: { redirect_uris: [] } }, 'registration_not_supported'],
      [{ prompt: 'none' }, 'login_required'],
    ] as const) {
      const visit = await sendObject(new TestBrowser(world), await signed(changes), { state: 'outside' });
      const answer = responseOf(visit);
      expect([answer.get('error'), answer.get('state'), answer.get('iss')]).toEqual([error, 'inside', world.issuer]);
    }
  });

  it('is not trusted with an address that is not registered, whatever is beside it', async () => {
    const request = await signed({ redirect_uri: 'https://evil.example/callback' });
    const visit = await sendObject(new TestBrowser(world), request, { redirect_uri: SIGNER_REDIRECT, state: 'x' });
    expect([visit.status, visit.location, errorCodeOf(visit.body)]).toEqual([400, undefined, 'invalid_request']);
  });
});

describe('an object that is not good', () => {
  it('is told at an address beside it, with the state beside it', async () => {
    const visit = await sendObject(new TestBrowser(world), `${await signed()}AAAA`, {
      redirect_uri: SIGNER_REDIRECT,
      state: 'beside',
    });
    expect(Object.fromEntries(responseOf(visit))).toEqual({
      error: 'invalid_request_object',
      error_description: 'The request object is not good: its signature is not good.',
      state: 'beside',
      iss: world.issuer,
    });
  });

  it.each([
    ['no address beside it', {}],
    ['one that is not registered', { redirect_uri: 'https://evil.example/' }],
    ['an answer to be sent nobody knows how', { redirect_uri: SIGNER_REDIRECT, response_mode: 'fragment' }],
  ])('is shown, with %s', async (_what, outer) => {
    const visit = await sendObject(new TestBrowser(world), `${await signed()}AAAA`, outer);
    expect([visit.status, visit.location, errorCodeOf(visit.body)]).toEqual([400, undefined, 'invalid_request_object']);
  });

  it('is shown even when the client has one address only: its state is inside, and no answer loses it', async () => {
    const client = await world.client({ redirect_uris: [REDIRECT], jwks: { keys: [world.key.jwk] } });
    const visit = await sendObject(new TestBrowser(world), 'x.y.z', { client_id: client.id });
    expect([visit.status, visit.location]).toEqual([400, undefined]);
  });

  it('because it is unsigned is not supported, and never ignored', async () => {
    const request = rawJws({ alg: 'none' }, world.claims());
    const visit = await sendObject(new TestBrowser(world), request, { redirect_uri: SIGNER_REDIRECT, state: 's' });
    expect(responseOf(visit).get('error')).toBe('request_not_supported');
    expect(errorCodeOf((await sendObject(new TestBrowser(world), request)).body)).toBe('request_not_supported');
  });

  it('because of an algorithm the client did not register', async () => {
    const keys = await Promise.all(['ES256', 'RS256'].map((alg) => clientKey(alg)));
    const client = await world.client({
      redirect_uris: [REDIRECT],
      jwks: { keys: keys.map(({ jwk }) => jwk) },
      request_object_signing_alg: 'RS256',
    });
    const claims = world.claims({ iss: client.id, client_id: client.id, redirect_uri: REDIRECT, scope: 'openid' });
    const answers = await Promise.all(
      keys.map(async (key) =>
        sendObject(new TestBrowser(world), await key.sign(claims), { client_id: client.id, redirect_uri: REDIRECT }),
      ),
    );
    expect(responseOf(answers[0] as Visit).get('error')).toBe('invalid_request_object');
    expect(answers[1]?.location).toContain('/login');
  });
});

describe('keys at a jwks_uri', () => {
  let server: Server;
  let keys: ClientKey[];
  let calls = 0;
  let status = 200;
  let client: { id: string };
  const ask = async (key: ClientKey) => {
    const claims = world.claims({ iss: client.id, client_id: client.id, redirect_uri: REDIRECT, scope: 'openid' });
    return sendObject(new TestBrowser(world), await key.sign(claims), {
      client_id: client.id,
      redirect_uri: REDIRECT,
      state: 's',
    });
  };
  const errorOf = (visit: Visit) =>
    visit.location?.startsWith('http') ? responseOf(visit).get('error') : visit.location;

  beforeAll(async () => {
    keys = [await clientKey('ES256', 'one'), await clientKey('ES256', 'two'), await clientKey('ES256', 'three')];
    server = createServer((_request, response) => {
      calls += 1;
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ keys: [keys[0]?.jwk] }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const jwks_uri = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
    client = await world.client({ redirect_uris: [REDIRECT], jwks_uri });
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  it('are fetched, and kept', async () => {
    for (let round = 0; round < 3; round += 1) expect(errorOf(await ask(keys[0] as ClientKey))).toContain('/login');
    expect(calls).toBe(1);
  });

  it('are fetched again when the client signs with a new one', async () => {
    world.clock.advance(61);
    const [, , third] = keys;
    keys.unshift(third as ClientKey);
    expect(errorOf(await ask(third as ClientKey))).toContain('/login');
    expect(calls).toBe(2);
  });

  it('are asked for once a minute, however many kids are made up', async () => {
    world.clock.advance(61);
    for (let round = 0; round < 5; round += 1)
      expect(errorOf(await ask(await clientKey('ES256', `forged-${round}`)))).toBe('invalid_request_object');
    expect(calls).toBe(3);
  });

  it('go on being good while the address is down', async () => {
    status = 500;
    world.clock.advance(3600);
    expect(errorOf(await ask(keys[0] as ClientKey))).toContain('/login');
    expect(calls).toBe(4);
  });

  it('that were never to be had are an outage, told as one', async () => {
    const stranger = await world.client({ redirect_uris: [REDIRECT], jwks_uri: 'http://127.0.0.1:9/jwks' });
    client = stranger;
    expect(errorOf(await ask(keys[0] as ClientKey))).toBe('temporarily_unavailable');
    const claims = world.claims({ iss: stranger.id, client_id: stranger.id, redirect_uri: REDIRECT });
    const request = await (keys[0] as ClientKey).sign(claims);
    const shown = await new TestBrowser(world).send('GET', objectPath(request, { client_id: stranger.id }));
    expect([shown.status, shown.location, errorCodeOf(shown.body)]).toEqual([
      503,
      undefined,
      'temporarily_unavailable',
    ]);
  });
});
