import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizePath, decide, formsOf, pkce, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { getCode, PHOTOS, redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.close());

const CROSS_SITE = { origin: 'https://web.example', 'sec-fetch-site': 'cross-site' };

function requestOf(parameters: Record<string, string | undefined> = {}) {
  const { verifier, challenge } = pkce();
  const path = authorizePath({
    client_id: world.web.id,
    redirect_uri: WEB_REDIRECT,
    scope: 'openid photos.read',
    code_challenge: challenge,
    ...parameters,
  });
  return { path, fields: Object.fromEntries(new URL(path, world.issuer).searchParams), verifier };
}

/** A browser whose person has signed in and consented before. */
async function known(): Promise<TestBrowser> {
  return (await getCode(world)).browser;
}

describe('an authorization request by POST (OpenID Connect Core §3.1.2.1)', () => {
  it('is kept, and fetched by a GET that has our cookies', async () => {
    const browser = await known();
    const { fields, verifier } = requestOf();
    // Our cookies are SameSite=Lax: a form of another site comes without them.
    const posted = await new TestBrowser(world).send('POST', '/authorize', fields, CROSS_SITE);
    expect(posted.status).toBe(303);
    expect(posted.headers.getSetCookie()).toEqual([]);
    expect(posted.location).toMatch(/^\/authorize\?pending=[0-9a-f-]{36}$/);
    const answer = responseOf(await browser.visit(posted.location ?? ''));
    expect(answer.get('state')).toBe(fields.state);
    const { status } = await redeem(world, { code: answer.get('code') ?? '', verifier, redirectUri: WEB_REDIRECT });
    expect(status).toBe(200);
  });

  it('leads somebody new through sign-in and consent like any other', async () => {
    const browser = new TestBrowser(world);
    const posted = await browser.send('POST', '/authorize', requestOf().fields, CROSS_SITE);
    const login = await browser.visit(posted.location ?? '');
    const page = await signIn(browser, login, 'bob', 'builder');
    expect(responseOf(await decide(browser, page)).get('code')).toMatch(/^gate_ac_/);
  });

  it('belongs to the browser that fetched it first', async () => {
    const browser = new TestBrowser(world);
    const { location = '' } = await browser.send('POST', '/authorize', requestOf().fields, CROSS_SITE);
    await browser.visit(location);
    const stranger = await (await known()).visit(location);
    expect([stranger.status, stranger.location]).toEqual([400, undefined]);
  });

  it('is answered with prompt=none, and once', async () => {
    const browser = await known();
    const { location = '' } = await browser.send(
      'POST',
      '/authorize',
      requestOf({ prompt: 'none' }).fields,
      CROSS_SITE,
    );
    expect(responseOf(await browser.visit(location)).has('code')).toBe(true);
    const again = await browser.visit(location);
    expect([again.status, again.location]).toEqual([400, undefined]);
    const nobody = new TestBrowser(world);
    const silent = await nobody.send('POST', '/authorize', requestOf({ prompt: 'none' }).fields, CROSS_SITE);
    expect(responseOf(await nobody.visit(silent.location ?? '')).get('error')).toBe('login_required');
  });

  it('is checked before it is kept', async () => {
    const { fields } = requestOf({ scope: 'openid nonsense.read admin', response_type: 'token' });
    const posted = await new TestBrowser(world).send('POST', '/authorize', fields, CROSS_SITE);
    expect(responseOf(posted).get('error')).toBe('unsupported_response_type');
    const shown = await new TestBrowser(world).send(
      'POST',
      '/authorize',
      { ...fields, client_id: 'nobody' },
      CROSS_SITE,
    );
    expect([shown.status, shown.location]).toEqual([400, undefined]);
  });
});

describe('every answer says for which request it is and who gives it', () => {
  it.each<[string, Record<string, string>, string]>([
    ['an unknown response_type', { response_type: 'token' }, 'unsupported_response_type'],
    ['no PKCE', { code_challenge: '', code_challenge_method: '' }, 'invalid_request'],
    ['a scope that is not the client’s', { scope: 'openid', resource: 'https://evil.example' }, 'invalid_target'],
    ['a bad prompt', { prompt: 'none login' }, 'invalid_request'],
    ['a bad max_age', { max_age: '-1' }, 'invalid_request'],
    ['a request object nobody signed', { request: 'eyJhbGciOiJub25lIn0.e30.' }, 'request_not_supported'],
    ['a request object that is none', { request: 'ey.ey.ey' }, 'invalid_request_object'],
    ['a foreign request_uri', { request_uri: 'https://evil.example/r' }, 'request_uri_not_supported'],
    ['registration', { registration: '{}' }, 'registration_not_supported'],
    ['nobody to be silent about', { prompt: 'none' }, 'login_required'],
  ])('an error too: %s', async (_what, parameters, error) => {
    const state = 'a b&c=d%20"é🗝';
    const { status, headers, location } = await new TestBrowser(world).send(
      'GET',
      requestOf({ ...parameters, state }).path,
    );
    expect([status, headers.get('cache-control'), headers.get('referrer-policy')]).toEqual([
      303,
      'no-store',
      'no-referrer',
    ]);
    const url = new URL(location ?? '');
    expect(url.origin + url.pathname).toBe(WEB_REDIRECT);
    expect(Object.fromEntries(url.searchParams)).toEqual({
      error,
      error_description: expect.stringMatching(/^[\x20-\x21\x23-\x5B\x5D-\x7E]+$/),
      state,
      iss: world.issuer,
    });
  });

  it('a state of a kilobyte comes back to the letter, and none when none was sent', async () => {
    const browser = await known();
    const state = Array.from({ length: 1024 }, (_, index) => String.fromCharCode(33 + (index % 94))).join('');
    expect(responseOf(await browser.visit(requestOf({ state }).path)).get('state')).toBe(state);
    expect(responseOf(await browser.visit(requestOf({ state: undefined }).path)).has('state')).toBe(false);
  });

  it('keeps a query the redirect URI was registered with', async () => {
    const redirect = 'https://query.example/callback?tenant=a%20b&x=';
    const client = await world.client({ redirect_uris: [redirect], scope: 'photos.read' });
    const browser = await known();
    const page = await browser.visit(
      requestOf({ client_id: client.id, redirect_uri: redirect, scope: 'photos.read' }).path,
    );
    const { location } = await decide(browser, page);
    expect(location?.startsWith(`${redirect}&`)).toBe(true);
    expect(new URL(location ?? '').searchParams.get('tenant')).toBe('a b');
  });

  it('by form_post: in a form to the client, escaped, that runs no script but its own', async () => {
    const state = '"><script>alert(1)</script>&amp;';
    const page = await (await known()).visit(requestOf({ response_mode: 'form_post', state }).path);
    expect(page.status).toBe(200);
    const [form] = formsOf(page);
    expect(form).toEqual({
      action: WEB_REDIRECT,
      fields: {
        code: expect.stringMatching(/^gate_ac_/),
        state,
        session_state: expect.stringMatching(/^[\w-]+\.[\w-]+$/),
        iss: world.issuer,
      },
    });
    expect(page.body).not.toContain('<script>alert');
    const policy = page.headers.get('content-security-policy') ?? '';
    expect(policy).toContain("form-action 'self' https://web.example");
    expect(policy).toMatch(/script-src 'sha256-[^' ]+';/);
    expect(page.headers.get('cache-control')).toBe('no-store');
    expect(page.headers.get('referrer-policy')).toBe('no-referrer');
  });

  it('errors travel by form_post when that was asked for', async () => {
    const page = await new TestBrowser(world).visit(requestOf({ response_mode: 'form_post', prompt: 'none' }).path);
    expect(formsOf(page)[0]?.fields).toMatchObject({
      error: 'login_required',
      iss: world.issuer,
      state: 'af0ifjsldkj',
    });
  });
});

describe('prompt and max_age (OpenID Connect Core §3.1.2.1)', () => {
  async function authTimeOf(browser: TestBrowser, parameters: Record<string, string>): Promise<number> {
    const flow = await getCode(world, { browser, parameters });
    const { json } = await redeem(world, flow);
    return decodeJwt(String(json.id_token)).auth_time as number;
  }
  const now = () => Math.floor(world.clock.now().getTime() / 1000);

  it('prompt=none answers at once for whom nothing is left to ask', async () => {
    const { location } = await (await known()).send('GET', requestOf({ prompt: 'none' }).path);
    expect(new URL(location ?? '').searchParams.has('code')).toBe(true);
  });

  it('prompt=none shows nothing: consent_required for more than was allowed', async () => {
    const { location } = await (await known()).send(
      'GET',
      requestOf({ prompt: 'none', scope: 'openid photos.read photos.write' }).path,
    );
    expect(new URL(location ?? '').searchParams.get('error')).toBe('consent_required');
  });

  it.each([{ prompt: 'login' }, { max_age: '0' }, { prompt: 'login select_account' }])(
    '%j asks for the password again, and auth_time is new',
    async (parameters) => {
      const browser = await known();
      world.clock.advance(120);
      expect((await browser.clone().visit(requestOf(parameters).path)).url).toContain('/login');
      expect(await authTimeOf(browser, parameters)).toBeGreaterThanOrEqual(now() - 2);
    },
  );

  it('max_age asks again only when the sign-in is older', async () => {
    const browser = await known();
    const signedInAt = now();
    world.clock.advance(100);
    const before = await authTimeOf(browser.clone(), { max_age: '1000' });
    expect(Math.abs(before - signedInAt)).toBeLessThanOrEqual(2);
    expect(await authTimeOf(browser, { max_age: '50' })).toBeGreaterThanOrEqual(signedInAt + 98);
  });

  it('prompt=consent asks though everything was allowed before', async () => {
    const browser = await known();
    const page = await browser.visit(requestOf({ prompt: 'consent' }).path);
    expect(page.url).toContain('/consent');
    expect(responseOf(await decide(browser, page)).has('code')).toBe(true);
  });

  it('prompt=login consent asks for both, in this order, and ends', async () => {
    const browser = await known();
    const login = await browser.visit(requestOf({ prompt: 'login consent' }).path);
    expect(login.url).toContain('/login');
    const page = await signIn(browser, login);
    expect(page.url).toContain('/consent');
    expect(responseOf(await decide(browser, page)).has('code')).toBe(true);
  });

  it('login_hint fills the form in and proves nothing', async () => {
    const page = await new TestBrowser(world).visit(requestOf({ login_hint: '"alice@people.example"' }).path);
    expect(formsOf(page)[0]?.fields.username).toBe('"alice@people.example"');
  });

  it.each(['display', 'ui_locales', 'claims_locales', 'unknown'])('%s is never an error', async (name) => {
    const page = await (await known()).visit(requestOf({ [name]: 'whatever it says' }).path);
    expect(responseOf(page).has('code')).toBe(true);
  });
});

describe('what is granted', () => {
  it('without scope is what the client registered', async () => {
    const client = await world.client({ redirect_uris: ['https://plain.example/'], scope: 'photos.read' });
    const browser = await known();
    const { path, verifier } = requestOf({ client_id: client.id, redirect_uri: undefined, scope: undefined });
    const answer = responseOf(await decide(browser, await browser.visit(path)));
    const flow = { code: answer.get('code') ?? '', verifier, redirectUri: 'https://plain.example/' };
    const { json } = await redeem({ ...world, web: client }, flow);
    expect(json.scope).toBe('photos.read');
  });

  it('leaves unknown scopes out and says what was granted (OpenID Connect Core §3.1.2.1)', async () => {
    const { json } = await redeem(world, await getCode(world, { scope: 'openid photos.read nonsense' }));
    expect(json.scope).toBe('openid photos.read');
  });

  it('for one resource is of that API only', async () => {
    const flow = await getCode(world, {
      scope: 'openid photos.read storage.read',
      parameters: { resource: PHOTOS },
    });
    expect((await redeem(world, flow)).json.scope).toBe('openid photos.read');
  });
});
