/** OpenID Connect RP-Initiated Logout 1.0, with openid-client as the relying party. */
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setClientDisabled } from '../../src/postgres/clients.pg.ts';
import { caughtUp } from '../support/attack-aftermath.ts';
import { errorCodeOf } from '../support/attack-pages.ts';
import { formsOf, formTo, signIn, TestBrowser, type Visit } from '../support/browser.ts';
import { signedByServer } from '../support/own-signature.ts';
import { startWorld, type World } from '../support/world.ts';
import { relyingParty, tokensOf } from './relying-party.ts';

const CALLBACK = 'https://app.example/callback';
const BYE = 'https://app.example/bye';
const BYE_WITH_QUERY = 'https://app.example/bye?from=app&x=%20';
const OTHER = 'https://other.example/bye';

let world: World;
let app: oidc.Configuration;
let pairwise: oidc.Configuration;
beforeAll(async () => {
  world = await startWorld();
  const metadata = { redirect_uris: [CALLBACK], scope: 'openid profile', client_uri: 'https://app.example/' };
  app = await relyingParty(
    world,
    await world.client({
      ...metadata,
      client_id: 'app',
      client_name: 'The App',
      post_logout_redirect_uris: [BYE, BYE_WITH_QUERY],
    }),
  );
  pairwise = await relyingParty(
    world,
    await world.client({
      ...metadata,
      client_id: 'pairwise',
      subject_type: 'pairwise',
      post_logout_redirect_uris: [BYE],
    }),
  );
  await world.client({
    ...metadata,
    client_id: 'other',
    client_name: 'Other App',
    post_logout_redirect_uris: [OTHER],
  });
});
afterAll(() => world.close());

/** Signs in at the app; `idToken` is the hint. */
async function signedIn(
  browser = new TestBrowser(world),
  who: [string, string] = ['alice', 'wonderland'],
  party = app,
  parameters: Record<string, string> = {},
) {
  const { tokens } = await tokensOf(party, CALLBACK, 'openid', { browser, who, parameters });
  return { browser, idToken: tokens.id_token ?? '', claims: { ...tokens.claims() } as Record<string, unknown> };
}

/** The client's own request, as openid-client writes it. */
function endSession(parameters: Record<string, string>, party = app): string {
  return oidc.buildEndSessionUrl(party, parameters).href;
}

/** What `prompt=none` says of the browser (as the certification modules ask after each logout). */
async function standing(browser: TestBrowser, party = app): Promise<string> {
  const url = oidc.buildAuthorizationUrl(party, {
    redirect_uri: CALLBACK,
    scope: 'openid',
    prompt: 'none',
    code_challenge: await oidc.calculatePKCECodeChallenge(oidc.randomPKCECodeVerifier()),
    code_challenge_method: 'S256',
  });
  const answer = new URL((await browser.visit(url.href)).location ?? '');
  return answer.searchParams.get('error') ?? 'signed in';
}

function expectSignedOutPage(visit: Visit): void {
  expect([visit.status, visit.location]).toEqual([200, undefined]);
  expect(visit.body).toContain('<h1>You have been signed out</h1>');
}

/** A question that names what is wrong, and leads to no other place whatever the person answers. */
async function expectProblem(browser: TestBrowser, visit: Visit): Promise<void> {
  expect([visit.status, visit.location, errorCodeOf(visit.body)]).toEqual([400, undefined, 'invalid_request']);
  expect(visit.headers.get('content-type')).toMatch(/^text\/html/);
  expect(visit.body).toMatch(/id="error-reference">[\w-]{12}</);
  expect(visit.body).toContain('<h1>Sign out?</h1>');
  expect(visit.body).not.toMatch(/http-equiv|<script|example/);
  expect(await standing(browser)).toBe('signed in');
  const form = formTo(visit, '/logout');
  expect(Object.keys(form.fields)).toEqual(['csrf']);
  const ended = await browser.submit(form);
  expectSignedOutPage(ended);
  expect(await standing(browser)).toBe('login_required');
}

/** Signs bob in as well, in the same browser. */
async function andBob(browser: TestBrowser): Promise<void> {
  await signIn(browser, await browser.visit('/login'), 'bob', 'builder');
}

const state = `${'s'.repeat(100)} ~!*'()+/=&?%20"<>ü💡`;

describe('a hint that names the only one signed in', () => {
  it('rp-initiated-logout: signs out unasked and redirects with exactly the state', async () => {
    const { browser, idToken } = await signedIn();
    const answer = await browser.visit(endSession({ id_token_hint: idToken, post_logout_redirect_uri: BYE, state }));
    expect(answer.status).toBe(303);
    expect(answer.location).toBe(`${BYE}?state=${encodeURIComponent(state)}`);
    expect([...new URL(answer.location ?? '').searchParams]).toEqual([['state', state]]);
    expect(answer.headers.get('referrer-policy')).toBe('no-referrer');
    expect(await standing(browser)).toBe('login_required');
  });

  it('rp-initiated-logout-no-state: redirects with nothing', async () => {
    const { browser, idToken } = await signedIn();
    const answer = await browser.visit(endSession({ id_token_hint: idToken, post_logout_redirect_uri: BYE }));
    expect(answer.location).toBe(BYE);
  });

  it('leaves the query of a registered address as it is', async () => {
    const { browser, idToken } = await signedIn();
    const answer = await browser.visit(
      endSession({ id_token_hint: idToken, post_logout_redirect_uri: BYE_WITH_QUERY, state: 'x' }),
    );
    expect(answer.location).toBe(`${BYE_WITH_QUERY}&state=x`);
  });

  it('rp-initiated-logout-no-post-logout-redirect-uri: signs out and shows it, with the way back', async () => {
    const { browser, idToken } = await signedIn();
    const answer = await browser.visit(endSession({ id_token_hint: idToken }));
    expectSignedOutPage(answer);
    expect(answer.body).toContain('href="https://app.example/"');
    expect(answer.body).toContain('The App');
    expect(answer.url, 'no hint is left in the address').not.toContain('id_token_hint');
    expect(await standing(browser)).toBe('login_required');
  });

  it('may be over for hours', async () => {
    const { browser, idToken } = await signedIn();
    world.clock.advance(7 * 3600);
    const answer = await browser.visit(endSession({ id_token_hint: idToken, post_logout_redirect_uri: BYE }));
    expect(answer.location).toBe(BYE);
  });

  it('goes by the subject when it has no sid, pairwise or public', async () => {
    for (const party of [app, pairwise]) {
      const { browser, claims } = await signedIn(undefined, undefined, party);
      const { sid, ...others } = claims;
      expect(sid).toBeDefined();
      const stranger = await signedByServer(world, 'JWT', { ...others, sub: world.bob });
      const asked = await browser.visit(endSession({ id_token_hint: stranger, post_logout_redirect_uri: BYE }, party));
      expect(asked.body).toContain('<h1>Sign out?</h1>');
      const own = await signedByServer(world, 'JWT', others);
      const answer = await browser.visit(endSession({ id_token_hint: own, post_logout_redirect_uri: BYE }, party));
      expect(answer.location).toBe(BYE);
    }
  });

  it('ends the tokens that were bound to the session, and the cookies', async () => {
    const { browser, idToken } = await signedIn();
    expect([...browser.cookies.keys()].filter((name) => /_(session|state)_/.test(name))).toHaveLength(2);
    await browser.visit(endSession({ id_token_hint: idToken, post_logout_redirect_uri: BYE }));
    expect([...browser.cookies.keys()].filter((name) => /_(session|state)_/.test(name))).toEqual([]);
  });

  it('takes both by form as by address', async () => {
    const { browser, idToken } = await signedIn();
    const fields = { id_token_hint: idToken, post_logout_redirect_uri: BYE, state };
    const answer = await browser.send('POST', '/logout', fields, { origin: 'https://app.example' });
    expect(answer.location).toBe(`${BYE}?state=${encodeURIComponent(state)}`);
    expect(await standing(browser)).toBe('login_required');
  });
});

describe('a question comes first', () => {
  const asked = async (browser: TestBrowser, parameters: Record<string, string>) => {
    const visit = await browser.visit(endSession(parameters));
    expect(visit.status).toBe(200);
    expect(visit.body).toContain('<h1>Sign out?</h1>');
    expect(visit.body).not.toContain('error-code');
    expect(await standing(browser)).not.toBe('login_required');
    return visit;
  };

  it('rp-initiated-logout-no-params, rp-initiated-logout-only-state: then the page says that it is done', async () => {
    for (const parameters of [{}, { state: 'x' }]) {
      const { browser } = await signedIn();
      const visit = await browser.visit(`${world.issuer}/logout?${new URLSearchParams(parameters)}`);
      expect(visit.body).toContain('<h1>Sign out?</h1>');
      expectSignedOutPage(await browser.submit(formTo(visit, '/logout')));
      expect(await standing(browser)).toBe('login_required');
    }
  });

  it('when several are signed in; all of them are named, and all are signed out', async () => {
    const { browser, idToken } = await signedIn();
    await andBob(browser);
    const visit = await asked(browser, { id_token_hint: idToken, post_logout_redirect_uri: BYE, state });
    expect(visit.body).toContain('Alice Liddell');
    expect(visit.body).toContain('bob');
    expect(visit.headers.get('content-security-policy')).toContain("form-action 'self' https://app.example;");
    const answer = await browser.submit(formTo(visit, '/logout'));
    expect(answer.location).toBe(`${BYE}?state=${encodeURIComponent(state)}`);
    expect(await standing(browser)).toBe('login_required');
    expect((await browser.visit('/account')).url).toContain('/login');
  });

  it('when the hint is about somebody else', async () => {
    const { idToken } = await signedIn();
    const { browser } = await signedIn(undefined, ['bob', 'builder']);
    const visit = await asked(browser, { id_token_hint: idToken, post_logout_redirect_uri: BYE });
    expect((await browser.submit(formTo(visit, '/logout'))).location).toBe(BYE);
  });

  it('when the hint is about another session of the same person', async () => {
    const { idToken } = await signedIn();
    const { browser } = await signedIn();
    await asked(browser, { id_token_hint: idToken, post_logout_redirect_uri: BYE });
  });

  it('when there is a client_id and no hint; its address is gone to with the confirmation', async () => {
    const { browser } = await signedIn();
    const visit = await asked(browser, { client_id: 'app', post_logout_redirect_uri: BYE, state });
    expect(visit.body).toContain('The App');
    const answer = await browser.submit(formTo(visit, '/logout'));
    expect(answer.location).toBe(`${BYE}?state=${encodeURIComponent(state)}`);
  });

  it('and "Stay signed in" is a link that ends nothing', async () => {
    const { browser } = await signedIn();
    const visit = await asked(browser, {});
    expect(visit.body).toContain('href="/account" id="logout-stay"');
  });

  it('whose form is worth something for just this request, in just this session', async () => {
    const { browser } = await signedIn();
    const visit = await asked(browser, { client_id: 'app', post_logout_redirect_uri: BYE });
    const form = formTo(visit, '/logout');
    const other = new TestBrowser(world);
    await signedIn(other);
    const changes: [TestBrowser, Record<string, string>][] = [
      [browser, { post_logout_redirect_uri: BYE_WITH_QUERY }],
      [browser, { client_id: 'other', post_logout_redirect_uri: OTHER }],
      [browser, { post_logout_redirect_uri: '', client_id: '' }],
      [browser, { state: 'added' }],
      [browser, { csrf: '' }],
      [other, {}],
    ];
    for (const [who, changed] of changes) {
      const answer = await who.submit(form, changed);
      expect(answer.body, JSON.stringify(changed)).toContain('<h1>Sign out?</h1>');
      expect(await standing(who)).toBe('signed in');
    }
    expect((await browser.submit(form)).location).toBe(BYE);
  });
});

describe('with something wrong it redirects nowhere, says so, and asks', () => {
  const none = (idToken: string) => {
    const [, payload] = idToken.split('.');
    return `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
  };
  const changed = (idToken: string) => idToken.replace(/.{4}$/, 'AAAA');
  const WRONG: [module: string, parameters: (idToken: string) => Record<string, string>][] = [
    [
      'rp-initiated-logout-bad-post-logout-redirect-uri',
      (hint) => ({ id_token_hint: hint, post_logout_redirect_uri: 'https://app.example/elsewhere' }),
    ],
    [
      'rp-initiated-logout-query-added-to-post-logout-redirect-uri',
      (hint) => ({ id_token_hint: hint, post_logout_redirect_uri: `${BYE}?foo=bar` }),
    ],
    [
      'rp-initiated-logout-modified-id-token-hint (alg none)',
      (hint) => ({ id_token_hint: none(hint), post_logout_redirect_uri: BYE }),
    ],
    [
      'rp-initiated-logout-bad-id-token-hint',
      (hint) => ({ id_token_hint: changed(hint), post_logout_redirect_uri: BYE }),
    ],
    ['rp-initiated-logout-no-id-token-hint', () => ({ post_logout_redirect_uri: BYE })],
    ['a bad hint beside a good client_id', (hint) => ({ id_token_hint: changed(hint), client_id: 'app' })],
    [
      'a hint and a client_id that differ',
      (hint) => ({ id_token_hint: hint, client_id: 'other', post_logout_redirect_uri: OTHER }),
    ],
    ['the address of another client', (hint) => ({ id_token_hint: hint, post_logout_redirect_uri: OTHER })],
    ['a redirect URI', (hint) => ({ id_token_hint: hint, post_logout_redirect_uri: CALLBACK })],
    ['an unknown client', () => ({ client_id: 'nobody', post_logout_redirect_uri: BYE })],
  ];

  it.each(WRONG)('%s', async (_module, parameters) => {
    const { browser, idToken } = await signedIn();
    const query = new URLSearchParams({ ...parameters(idToken), state: 'x' });
    await expectProblem(browser, await browser.visit(`/logout?${query}`));
  });

  it.each(WRONG)('%s, by form', async (_module, parameters) => {
    const { browser, idToken } = await signedIn();
    await expectProblem(browser, await browser.send('POST', '/logout', parameters(idToken)));
  });

  it.each(WRONG)('%s, with nobody signed in', async (_module, parameters) => {
    const { idToken } = await signedIn();
    const visit = await new TestBrowser(world).visit(`/logout?${new URLSearchParams(parameters(idToken))}`);
    expect([visit.status, visit.location, errorCodeOf(visit.body)]).toEqual([400, undefined, 'invalid_request']);
    expect(visit.body).toContain('<h1>You have been signed out</h1>');
    expect(visit.body).not.toMatch(/http-equiv|<script|example/);
  });

  it('a parameter twice', async () => {
    const { browser, idToken } = await signedIn();
    const query = new URLSearchParams({ id_token_hint: idToken, post_logout_redirect_uri: BYE });
    await expectProblem(browser, await browser.visit(`/logout?${query}&post_logout_redirect_uri=${OTHER}`));
  });

  it('a client that has been disabled', async () => {
    const party = await relyingParty(
      world,
      await world.client({ client_id: 'gone', redirect_uris: [CALLBACK], post_logout_redirect_uris: [BYE] }),
    );
    const { browser, idToken } = await signedIn(undefined, undefined, party);
    await setClientDisabled(world.running.database.sql, 'gone', true, world.clock.now());
    await caughtUp();
    const visit = await browser.visit(endSession({ id_token_hint: idToken, post_logout_redirect_uri: BYE }, party));
    expect([visit.status, visit.location, errorCodeOf(visit.body)]).toEqual([400, undefined, 'invalid_request']);
  });
});

describe('nobody is signed in', () => {
  it('a hint proves the address, so the browser goes on', async () => {
    const { idToken } = await signedIn();
    const parameters = { id_token_hint: idToken, post_logout_redirect_uri: BYE, state };
    const answer = await new TestBrowser(world).visit(endSession(parameters));
    expect(answer.location).toBe(`${BYE}?state=${encodeURIComponent(state)}`);
  });

  it('a client_id does not: the way back is a link', async () => {
    const answer = await new TestBrowser(world).visit(
      endSession({ client_id: 'app', post_logout_redirect_uri: BYE, state: 'x' }),
    );
    expectSignedOutPage(answer);
    expect(answer.body).toContain(`href="${BYE}?state=x"`);
  });

  it('without either the page says that it is done', async () => {
    expectSignedOutPage(await new TestBrowser(world).visit('/logout'));
  });

  it('a form that is sent again arrives at the same place', async () => {
    const { browser } = await signedIn();
    const form = formTo(await browser.visit('/logout'), '/logout');
    const again = browser.clone();
    await browser.submit(form);
    expectSignedOutPage(await again.submit(form));
  });
});

describe('a form of another site, which comes without cookies', () => {
  /** What Chromium sends: the cookies come with the redirect's GET only. */
  async function postFromElsewhere(browser: TestBrowser, fields: Record<string, string>) {
    return new TestBrowser(world)
      .send('POST', '/logout', fields, {
        origin: 'https://app.example',
        'sec-fetch-site': 'cross-site',
      })
      .then((answer) => ({ answer, follow: () => browser.visit(answer.location ?? '') }));
  }

  it('is asked again by GET, with nothing lost and nothing that nobody reads', async () => {
    const { browser, idToken } = await signedIn();
    const fields = { id_token_hint: idToken, client_id: 'app', post_logout_redirect_uri: BYE, state };
    const { answer, follow } = await postFromElsewhere(browser, { ...fields, ui_locales: 'de', logout_hint: 'alice' });
    expect(answer.status).toBe(303);
    expect(answer.headers.getSetCookie()).toEqual([]);
    const url = new URL(answer.location ?? '', world.issuer);
    expect([url.pathname, Object.fromEntries(url.searchParams)]).toEqual(['/logout', fields]);
    expect((await follow()).location).toBe(`${BYE}?state=${encodeURIComponent(state)}`);
  });

  it('keeps what is wrong wrong', async () => {
    const { browser } = await signedIn();
    const { follow } = await postFromElsewhere(browser, { post_logout_redirect_uri: BYE });
    await expectProblem(browser, await follow());
  });

  it('whose hint is too long for an address is asked about, and still goes to its address', async () => {
    const { browser, claims } = await signedIn();
    const hint = await signedByServer(world, 'JWT', { ...claims, padding: 'x'.repeat(4500) });
    expect(hint.length).toBeGreaterThan(6000);
    const long = 's'.repeat(2500);
    const fields = { id_token_hint: hint, post_logout_redirect_uri: BYE, state: long };
    const { answer, follow } = await postFromElsewhere(browser, fields);
    const url = new URL(answer.location ?? '', world.issuer);
    expect(Object.fromEntries(url.searchParams)).toEqual({
      client_id: 'app',
      post_logout_redirect_uri: BYE,
      state: long,
    });
    const visit = await follow();
    expect(visit.body).toContain('<h1>Sign out?</h1>');
    expect((await browser.submit(formTo(visit, '/logout'))).location).toBe(`${BYE}?state=${long}`);
  });

  it('whose long hint is forged does not pass as one without', async () => {
    const fields = { id_token_hint: 'x'.repeat(8000), client_id: 'app', post_logout_redirect_uri: BYE, state };
    const { answer } = await postFromElsewhere(new TestBrowser(world), fields);
    expect([answer.status, answer.location, errorCodeOf(answer.body)]).toEqual([400, undefined, 'invalid_request']);
  });

  it('that fits in no address is refused', async () => {
    const fields = { client_id: 'app', post_logout_redirect_uri: BYE, state: 's'.repeat(9000) };
    const { answer } = await postFromElsewhere(new TestBrowser(world), fields);
    expect([answer.status, errorCodeOf(answer.body)]).toEqual([414, 'invalid_request']);
  });
});

describe('registration of post_logout_redirect_uris', () => {
  const register = (uri: unknown, metadata: Record<string, unknown> = {}) =>
    world.client({ redirect_uris: [CALLBACK], post_logout_redirect_uris: [uri], ...metadata });

  it.each([
    'javascript:alert(1)',
    'data:text/html,x',
    'vbscript:x',
    'file:///etc/passwd',
    'http://app.example/bye',
    'https://app.example/bye#here',
    'https://user@app.example/bye',
    'https://APP.example/bye',
    'https://app.example:443/bye',
    'https://app.example/a/../bye',
    'https://app.example/b ye',
    'com.example.app:/bye',
    '/bye',
    '',
    7,
  ])('refuses %j, naming the field', async (uri) => {
    await expect(register(uri)).rejects.toMatchObject({
      code: 'invalid_client_metadata',
      message: expect.stringMatching(/^post_logout_redirect_uris/),
    });
  });

  it.each([
    ['https://app.example', {}],
    ['http://localhost:4000/', {}],
    ['http://127.0.0.1/bye', {}],
    ['com.example.app:/bye', { application_type: 'native' }],
  ])('takes %s', async (uri, metadata) => {
    await expect(register(uri, metadata)).resolves.toBeDefined();
  });
});

it('rp-initiated-logout-discovery-endpoint-verification: the metadata names the endpoint', () => {
  expect(app.serverMetadata().end_session_endpoint).toBe(`${world.issuer}/logout`);
});

it('the trail has who signed out, and whose request it was', async () => {
  const { browser, idToken } = await signedIn();
  const before = world.log.length;
  await browser.visit(endSession({ id_token_hint: idToken, post_logout_redirect_uri: BYE, state: 'not-for-the-log' }));
  const lines = world.log.slice(before).map((line) => JSON.parse(line) as Record<string, unknown>);
  expect(lines).toContainEqual(
    expect.objectContaining({ route: '/logout', event: 'signed_out', clientId: 'app', userId: world.alice }),
  );
  expect(world.log.join('')).not.toMatch(/not-for-the-log|eyJ/);
  expect(formsOf(await browser.visit('/logout'))).toEqual([]);
});
