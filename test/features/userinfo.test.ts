import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post, signIn, TestBrowser } from '../support/browser.ts';
import { getCode, redeem, startWorld, type World } from '../support/world.ts';

const CLAIMS = {
  name: 'Carol Kingsleigh',
  given_name: 'Carol',
  family_name: 'Kingsleigh',
  middle_name: 'M.',
  nickname: 'Caz',
  preferred_username: 'carol',
  profile: 'https://people.example/carol',
  picture: 'https://people.example/carol.png',
  website: 'https://carol.example/',
  gender: 'female',
  birthdate: '1990-02-03',
  zoneinfo: 'Europe/London',
  locale: 'en-GB',
  updated_at: 1_700_000_000,
  email: 'carol@people.example',
  email_verified: false,
  phone_number: '+44 1865 000000',
  phone_number_verified: true,
  address: { formatted: 'Christ Church\nOxford', locality: 'Oxford', country: 'UK' },
};
const { email, email_verified, phone_number, phone_number_verified, address, ...profile } = CLAIMS;

describe('userinfo (OpenID Connect Core §5.3)', () => {
  let world: World;
  let carol: string;
  beforeAll(async () => {
    world = await startWorld();
    carol = await world.user({ username: 'carol', password: 'mushroom', claims: CLAIMS });
  });
  afterAll(() => world.close());

  /** A token of somebody for a scope. */
  async function tokenFor(
    scope: string,
    who: [string, string] = ['carol', 'mushroom'],
    extra: Record<string, string> = {},
  ) {
    const browser = new TestBrowser(world);
    await signIn(browser, await browser.visit('/login'), ...who);
    const { json } = await redeem(world, await getCode(world, { scope, browser }), 'web', extra);
    return json.access_token as string;
  }
  const ask = (token: string, init: RequestInit = {}) =>
    fetch(`${world.issuer}/userinfo`, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } });

  it.each<[string, object]>([
    ['openid', {}],
    ['openid profile', profile],
    ['openid email', { email, email_verified }],
    ['openid phone', { phone_number, phone_number_verified }],
    ['openid address', { address }],
    ['openid profile email address phone', CLAIMS],
    ['openid photos.read email', { email, email_verified }],
  ])('tells by scope %s what it stands for, with its types', async (scope, claims) => {
    const response = await ask(await tokenFor(scope));
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(await response.json()).toEqual({ sub: carol, ...claims });
  });

  it('leaves out what is not known of a person', async () => {
    const response = await ask(await tokenFor('openid profile email address phone', ['bob', 'builder']));
    expect(await response.json()).toEqual({ sub: world.bob });
  });

  it('answers GET and POST, the token in the header or in the form', async () => {
    const token = await tokenFor('openid');
    const expected = { sub: carol };
    expect(await (await ask(token)).json()).toEqual(expected);
    expect(await (await ask(token, { method: 'POST' })).json()).toEqual(expected);
    expect(await (await ask(token, { headers: { authorization: `bearer ${token}` } })).json()).toEqual(expected);
    expect((await post(`${world.issuer}/userinfo`, { access_token: token })).json).toEqual(expected);
  });

  it.each<[string, (token: string) => Promise<Response>, number, string | undefined]>([
    ['nothing', () => fetch(`${world.issuer}/userinfo`), 401, undefined],
    ['another scheme', () => ask('', { headers: { authorization: 'Basic d2ViOng=' } }), 401, undefined],
    ['garbage', () => ask('garbage'), 401, 'invalid_token'],
    [
      'a token in the address',
      (token) => fetch(`${world.issuer}/userinfo?access_token=${token}`),
      400,
      'invalid_request',
    ],
    [
      'two tokens',
      (token) => ask(token, { method: 'POST', body: new URLSearchParams({ access_token: token }) }),
      400,
      'invalid_request',
    ],
    ['a header without a token', () => ask('', { headers: { authorization: 'Bearer' } }), 400, 'invalid_request'],
  ])('refuses %s in the words of RFC 6750 §3', async (_what, call, status, error) => {
    const response = await call(await tokenFor('openid'));
    expect(response.status).toBe(status);
    const challenge = response.headers.get('www-authenticate') ?? '';
    expect(challenge).toContain(`Bearer realm="${world.issuer}"`);
    if (error === undefined) expect(challenge).not.toContain('error');
    else expect(challenge).toContain(`error="${error}"`);
  });

  it('wants the scope openid, and says so', async () => {
    for (const scope of ['photos.read', 'profile']) {
      const response = await ask(await tokenFor(scope));
      expect(response.status, scope).toBe(403);
      expect(response.headers.get('www-authenticate')).toMatch(/error="insufficient_scope".*scope="openid"/);
    }
  });

  it('takes no token that stands for no person, and none of another kind', async () => {
    const batch = await post(
      `${world.issuer}/token`,
      { grant_type: 'client_credentials', scope: 'photos.read' },
      { basic: world.batch },
    );
    const issued = (await redeem(world, await getCode(world))).json;
    for (const token of [batch.json.access_token, issued.refresh_token, issued.id_token]) {
      const response = await ask(String(token));
      expect([401, 403]).toContain(response.status);
    }
  });

  it('ends with the token, its grant and its person’s consent', async () => {
    const issued = (await redeem(world, await getCode(world))).json;
    expect((await ask(String(issued.access_token))).status).toBe(200);
    await post(`${world.issuer}/revoke`, { token: String(issued.refresh_token) }, { basic: world.web });
    const response = await ask(String(issued.access_token));
    expect(response.status).toBe(401);
    expect(response.headers.get('www-authenticate')).toContain('error="invalid_token"');
  });
});
