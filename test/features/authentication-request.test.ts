/**
 * Authentication requests: OpenID Connect Core §3.1.2.1, §3.1.2.2, §3.1.2.6, §5.5. Each error by the situation it names,
 * over real HTTP, in both response modes, always for the request it answers (`state`) and by whom (`iss`). There is no
 * `interaction_required`: whatever a page would ask for here has an error of its own.
 */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  authorizePath,
  decide,
  formsOf,
  formTo,
  pkce,
  responseOf,
  signIn,
  TestBrowser,
  type Visit,
} from '../support/browser.ts';
import { getCode, redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

const STRICT_REDIRECT = 'https://strict.example/callback';
const OTHER_REDIRECT = 'https://other.example/callback';
const HOUR = 3600;

/** An unsigned request object (RFC 9101 §10.1, `alg: none`). */
const UNSIGNED = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from('{}').toString('base64url')}.`;

let world: World;
const browsers = {} as Record<'nobody' | 'alice' | 'both', TestBrowser>;
const hints = {} as Record<'alice' | 'bob' | 'accessToken' | 'otherClient', string>;

beforeAll(async () => {
  world = await startWorld();
  const strict = await world.client({
    client_id: 'strict',
    redirect_uris: [STRICT_REDIRECT],
    default_max_age: HOUR,
    skip_consent: true,
  });
  expect(strict.id).toBe('strict');
  await world.client({ client_id: 'other', redirect_uris: [OTHER_REDIRECT], skip_consent: true });

  browsers.nobody = new TestBrowser(world);
  const flow = await getCode(world);
  browsers.alice = flow.browser;
  const { json } = await redeem(world, flow);
  hints.alice = String(json.id_token);
  hints.accessToken = String(json.access_token);

  const bobs = new TestBrowser(world);
  const { path, verifier } = requestOf();
  const consent = await signIn(bobs, await bobs.visit(path), 'bob', 'builder');
  const code = responseOf(await decide(bobs, consent)).get('code') ?? '';
  const ofBob = await redeem(world, { code, verifier, redirectUri: WEB_REDIRECT });
  hints.bob = String(ofBob.json.id_token);
  hints.otherClient = await idTokenOfOther();

  browsers.both = browsers.alice.clone();
  browsers.alice = (await getCode(world)).browser;
  await signIn(browsers.both, await browsers.both.visit('/login'), 'bob', 'builder');
});
afterAll(() => world.close());

async function idTokenOfOther(): Promise<string> {
  const other = await world.client({ client_id: 'hinting', redirect_uris: [OTHER_REDIRECT], skip_consent: true });
  const { path, verifier } = requestOf({ client_id: other.id, redirect_uri: OTHER_REDIRECT });
  const code = responseOf(await (await getCode(world)).browser.visit(path)).get('code') ?? '';
  const { json } = await redeem({ ...world, web: other }, { code, verifier, redirectUri: OTHER_REDIRECT });
  return String(json.id_token);
}

function requestOf(parameters: Record<string, string | undefined> = {}) {
  const { verifier, challenge } = pkce();
  const path = authorizePath({
    client_id: 'web',
    redirect_uri: WEB_REDIRECT,
    scope: 'openid photos.read',
    code_challenge: challenge,
    ...parameters,
  });
  return { path, verifier };
}

const claims = (request: unknown) => ({ claims: JSON.stringify(request) });
const essentialAcr = claims({ id_token: { acr: { essential: true, values: ['urn:example:mfa'] } } });
type Situation = [
  what: string,
  parameters: () => Record<string, string | undefined>,
  error: string,
  who?: keyof typeof browsers,
];

const SITUATIONS: Situation[] = [
  ['prompt=none, nobody signed in', () => ({ prompt: 'none' }), 'login_required'],
  ['prompt=none, max_age has passed', () => ({ prompt: 'none', max_age: '0' }), 'login_required', 'alice'],
  [
    'prompt=none, the hint is of somebody who is not signed in',
    () => ({ prompt: 'none', id_token_hint: hints.bob }),
    'login_required',
    'alice',
  ],
  [
    'prompt=none, the claim sub is of somebody who is not signed in',
    () => ({ prompt: 'none', ...claims({ id_token: { sub: { value: world.bob } } }) }),
    'login_required',
    'alice',
  ],
  [
    'prompt=none, the claim sub is of nobody',
    () => ({ prompt: 'none', ...claims({ id_token: { sub: { essential: true, values: ['x', 7, null] } } }) }),
    'login_required',
    'alice',
  ],
  ['prompt=none, several signed in', () => ({ prompt: 'none' }), 'account_selection_required', 'both'],
  [
    'prompt=none, more than was allowed',
    () => ({ prompt: 'none', scope: 'openid photos.read photos.write' }),
    'consent_required',
    'alice',
  ],
  [
    'prompt=none, a claim by name that was not allowed',
    () => ({ prompt: 'none', ...claims({ userinfo: { birthdate: null } }) }),
    'consent_required',
    'alice',
  ],
  ['an essential acr, nobody signed in', () => essentialAcr, 'unmet_authentication_requirements'],
  ['an essential acr, signed in', () => essentialAcr, 'unmet_authentication_requirements', 'alice'],
  [
    'an essential acr with one value, prompt=none',
    () => ({ prompt: 'none', ...claims({ id_token: { acr: { essential: true, value: 'urn:example:mfa' } } }) }),
    'unmet_authentication_requirements',
    'alice',
  ],
  ['acr_values, nobody signed in', () => ({ acr_values: 'urn:example:mfa' }), 'unmet_authentication_requirements'],
  [
    'acr_values beside a number, prompt=none',
    () => ({ prompt: 'none', acr_values: '1 urn:example:mfa' }),
    'unmet_authentication_requirements',
    'alice',
  ],
  ['registration', () => ({ registration: '{}' }), 'registration_not_supported'],
  ['an unsigned request object', () => ({ request: UNSIGNED }), 'request_not_supported'],
  ['a foreign request_uri', () => ({ request_uri: 'https://client.example/r.jwt' }), 'request_uri_not_supported'],
  ['a request_uri on this machine', () => ({ request_uri: 'http://127.0.0.1:1/' }), 'request_uri_not_supported'],
  ['both ways to carry it', () => ({ request: UNSIGNED, request_uri: 'https://client.example/' }), 'invalid_request'],
  ['an unknown prompt', () => ({ prompt: 'whatever' }), 'invalid_request'],
  ['an unknown prompt beside a known one', () => ({ prompt: 'login whatever' }), 'invalid_request'],
  ['a prompt in capitals', () => ({ prompt: 'NONE' }), 'invalid_request'],
  ['prompt=create: there is no sign-up', () => ({ prompt: 'create' }), 'invalid_request'],
  ...['login', 'consent', 'select_account', 'login consent select_account'].map(
    (others): Situation => [`prompt=none ${others}`, () => ({ prompt: `none ${others}` }), 'invalid_request', 'alice'],
  ),
  ['prompt=consent none', () => ({ prompt: 'consent none' }), 'invalid_request', 'alice'],
  ...['-1', '1.5', '1e3', '0x10', ' 1', 'soon', '99999999999'].map(
    (max_age): Situation => [`max_age=${max_age}`, () => ({ max_age }), 'invalid_request'],
  ),
  ...[
    '{',
    'name',
    'null',
    '[]',
    '"userinfo"',
    '{"userinfo":[]}',
    '{"userinfo":"name"}',
    '{"id_token":{"name":true}}',
    '{"id_token":{"name":{"essential":"yes"}}}',
    '{"userinfo":{"name":{"values":"Alice"}}}',
    `{"userinfo":{"name":{"values":[${Array(21).fill('1')}]}}}`,
  ].map((text): Situation => [`claims=${text}`, () => ({ claims: text }), 'invalid_request']),
  [
    'claims of 9 KB',
    () => ({ claims: JSON.stringify({ userinfo: { x: { value: 'x'.repeat(9000) } } }) }),
    'invalid_request',
  ],
  ['a nonce of 513 characters', () => ({ nonce: 'n'.repeat(513) }), 'invalid_request'],
  ['no response_type', () => ({ response_type: undefined }), 'invalid_request'],
  ['an id_token_hint that is none', () => ({ id_token_hint: 'x' }), 'invalid_request'],
  ['an access token as id_token_hint', () => ({ id_token_hint: hints.accessToken }), 'invalid_request'],
  ['another client’s id_token_hint', () => ({ id_token_hint: hints.otherClient }), 'invalid_request'],
  ['an unsigned id_token_hint', () => ({ id_token_hint: unsigned(hints.alice) }), 'invalid_request'],
  ['an id_token_hint with another payload', () => ({ id_token_hint: altered(hints.alice) }), 'invalid_request'],
  ['the implicit response type', () => ({ response_type: 'id_token' }), 'unsupported_response_type'],
  ['the hybrid response type', () => ({ response_type: 'code id_token' }), 'unsupported_response_type'],
];

function unsigned(token: string): string {
  const [, payload] = token.split('.');
  return `${Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')}.${payload}.`;
}

function altered(token: string): string {
  const [header, , signature] = token.split('.');
  const payload = Buffer.from(JSON.stringify({ ...decodeJwt(token), sub: world.bob })).toString('base64url');
  return `${header}.${payload}.${signature}`;
}

/** By GET; a long request comes as a form. */
function asked(browser: TestBrowser, path: string): Promise<Visit> {
  const [address = '', query = ''] = path.split('?');
  if (path.length < 8000) return browser.visit(path);
  return browser.send('POST', address, Object.fromEntries(new URLSearchParams(query)));
}

describe.each(['query', 'form_post'])('by %s, the error of', (response_mode) => {
  it.each(SITUATIONS)('%s', async (_what, parameters, error, who = 'nobody') => {
    const state = 'a b&c=d%20"é🗝';
    const { path } = requestOf({ ...parameters(), response_mode, state });
    const visit = await asked(browsers[who].clone(), path);
    const told =
      response_mode === 'query'
        ? Object.fromEntries(responseOf(visit))
        : formsOf(visit).find(({ action }) => action === WEB_REDIRECT)?.fields;
    expect(told).toEqual({
      error,
      error_description: expect.stringMatching(/^[\x20-\x21\x23-\x5B\x5D-\x7E]+$/),
      state,
      iss: world.issuer,
    });
    if (response_mode === 'query') expect(visit.location?.startsWith(`${WEB_REDIRECT}?`)).toBe(true);
  });
});

describe('before it is known whom to answer', () => {
  it.each(SITUATIONS)(
    'nothing is sent, whatever else is wrong: %s',
    async (_what, parameters, _error, who = 'nobody') => {
      const { path } = requestOf({ ...parameters(), redirect_uri: 'https://evil.example/' });
      const visit = await asked(browsers[who].clone(), path);
      expect([visit.status, visit.location]).toEqual([400, undefined]);
      expect(visit.body).not.toContain('evil.example');
    },
  );

  it.each(['client_id', 'redirect_uri', 'response_mode', 'request', 'request_uri'])(
    'a repeated %s is shown',
    async (name) => {
      const visit = await new TestBrowser(world).visit(`${requestOf({ [name]: 'x' }).path}&${name}=x`);
      expect([visit.status, visit.location]).toEqual([400, undefined]);
      expect(visit.body).toContain('invalid_request');
    },
  );

  it.each(['state', 'nonce', 'prompt', 'claims', 'max_age', 'id_token_hint', 'code_challenge', 'scope'])(
    'a repeated %s is sent',
    async (name) => {
      const visit = await new TestBrowser(world).visit(`${requestOf({ [name]: '' }).path}&${name}=x&${name}=x`);
      expect(responseOf(visit).get('error')).toBe('invalid_request');
    },
  );
});

describe('never an error', () => {
  const silent = async (parameters: Record<string, string>) =>
    responseOf(await browsers.alice.clone().visit(requestOf({ prompt: 'none', ...parameters }).path));

  it.each<[string, Record<string, string>]>([
    ['ui_locales', { ui_locales: 'se' }],
    ['ui_locales that are none', { ui_locales: 'x'.repeat(300) }],
    ['claims_locales', { claims_locales: 'fr-CA fr en' }],
    ['display=page', { display: 'page' }],
    ['display=popup', { display: 'popup' }],
    ['display=touch', { display: 'touch' }],
    ['an unknown display', { display: 'hologram' }],
    ['acr_values that are bare numbers', { acr_values: '1 2' }],
    ['acr_values, one of which can be had', { acr_values: 'urn:example:mfa urn:gatehouse:acr:password' }],
    ['an acr that is only wished for', claims({ id_token: { acr: { values: ['urn:example:mfa'] } } })],
    ['an essential acr with no value', claims({ id_token: { acr: { essential: true } } })],
    [
      'an essential acr that can be had',
      claims({ id_token: { acr: { essential: true, values: ['urn:example:mfa', 'urn:gatehouse:acr:password'] } } }),
    ],
    ['claims of nothing', claims({})],
    ['claims with empty members', { claims: '{"userinfo":null,"id_token":{}}' }],
    ['claims nobody knows', claims({ userinfo: { shoe_size: { essential: true } }, other: { name: null } })],
    [
      'claims called like parts of objects',
      { claims: '{"userinfo":{"__proto__":null,"constructor":null,"toString":{}}}' },
    ],
    ['a nonce of 512 characters', { nonce: 'n'.repeat(512) }],
    ['an empty max_age', { max_age: '' }],
    ['an unknown parameter', { extra: 'foobar', resource_type: '1' }],
  ])('%s', async (_what, parameters) => {
    expect(Object.fromEntries(await silent(parameters))).toMatchObject({ code: expect.stringMatching(/^gate_ac_/) });
  });

  it('the id_token_hint of who is signed in, over or not, and the claim sub that names them', async () => {
    expect((await silent({ id_token_hint: hints.alice })).has('code')).toBe(true);
    expect((await silent(claims({ id_token: { sub: { values: ['x', world.alice] } } }))).has('code')).toBe(true);
    const { exp = 0 } = decodeJwt(hints.alice);
    world.clock.advance(exp - world.clock.now().getTime() / 1000 + 1);
    expect((await silent({ id_token_hint: hints.alice })).has('code')).toBe(true);
  });
});

describe('a request that names a person', () => {
  it.each<[string, () => Record<string, string>]>([
    ['id_token_hint', () => ({ id_token_hint: hints.alice })],
    ['the claim sub', () => claims({ id_token: { sub: { value: world.alice } } })],
  ])('by %s is answered for nobody else: login_required, whoever signs in', async (_how, parameters) => {
    const browser = new TestBrowser(world);
    const login = await browser.visit(requestOf(parameters()).path);
    expect(login.url).toContain('/login');
    const answer = responseOf(await signIn(browser, login, 'bob', 'builder'));
    expect(Object.fromEntries(answer)).toMatchObject({
      error: 'login_required',
      state: 'af0ifjsldkj',
      iss: world.issuer,
    });
    // For that person it is.
    const again = await signIn(browser, await browser.visit(requestOf(parameters()).path));
    expect(responseOf(again).has('code')).toBe(true);
  });
});

describe('how fresh a sign-in must be', () => {
  const authTime = async (browser: TestBrowser, parameters: Record<string, string | undefined>) => {
    const { path } = requestOf({ client_id: 'strict', redirect_uri: STRICT_REDIRECT, ...parameters });
    return browser.visit(path);
  };

  it('is the client’s default_max_age where the request does not say, and what the request says where it does', async () => {
    const { browser } = await getCode(world);
    expect(responseOf(await authTime(browser, { scope: 'openid' })).has('code')).toBe(true);
    world.clock.advance(HOUR + 1);
    expect((await authTime(browser, { scope: 'openid' })).url).toContain('/login');
    const silent = await authTime(browser, { scope: 'openid', prompt: 'none' });
    expect(responseOf(silent).get('error')).toBe('login_required');
    const lenient = await authTime(browser, { scope: 'openid', prompt: 'none', max_age: String(2 * HOUR) });
    expect(responseOf(lenient).has('code')).toBe(true);
  });
});

describe('the sign-in form', () => {
  const prefilled = async (browser: TestBrowser, parameters: Record<string, string>) => {
    const page = await browser.visit(requestOf(parameters).path);
    expect(page.url).toContain('/login');
    return [formTo(page, '/login').fields.username, page.body.includes('confirm that it is you')];
  };
  const signedIn = async () => (await getCode(world)).browser;
  async function both() {
    const browser = await signedIn();
    await signIn(browser, await browser.visit('/login'), 'bob', 'builder');
    return browser;
  }

  it.each<[string, () => Promise<TestBrowser>, () => Record<string, string>, [string, boolean]]>([
    ['nobody signed in', async () => new TestBrowser(world), () => ({ prompt: 'login' }), ['', false]],
    ['nobody signed in, a hint', async () => new TestBrowser(world), () => ({ login_hint: 'carol' }), ['carol', false]],
    ['one to sign in again', signedIn, () => ({ prompt: 'login' }), ['alice', true]],
    ['one who signed in too long ago', signedIn, () => ({ max_age: '0' }), ['alice', true]],
    [
      'one to sign in again, hinted at by e-mail',
      signedIn,
      () => ({ prompt: 'login', login_hint: 'alice@people.example' }),
      ['alice@people.example', true],
    ],
    [
      'one of several, named by id_token_hint',
      both,
      () => ({ prompt: 'login', id_token_hint: hints.bob }),
      ['bob', true],
    ],
    ['several', both, () => ({ prompt: 'login' }), ['', false]],
    ['another one than is signed in', signedIn, () => ({ id_token_hint: hints.bob }), ['', false]],
  ])('%s', async (_what, browser, parameters, expected) => {
    expect(await prefilled(await browser(), parameters())).toEqual(expected);
  });

  it('keeps what was typed when it was wrong', async () => {
    const browser = await signedIn();
    const page = await signIn(browser, await browser.visit(requestOf({ prompt: 'login' }).path), 'alicia', 'wrong');
    expect(page.status).toBe(400);
    expect(formTo(page, '/login').fields.username).toBe('alicia');
  });

  it('asks whoever said “not me” for any name', async () => {
    const browser = await signedIn();
    const consent = await signIn(browser, await browser.visit(requestOf({ prompt: 'login consent' }).path));
    expect(consent.url).toContain('/consent');
    const login = await browser.visit(`/login?pending=${new URL(consent.url).searchParams.get('pending')}`);
    expect(formTo(login, '/login').fields.username).toBe('');
  });
});
