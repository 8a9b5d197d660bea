/**
 * The attacker has a page of their own that the victim's browser shows, and runs script there: they want to read an
 * answer of ours, or have one sent with the victim's cookies. Stopped by: answers are readable only for origins of the
 * very client they are for, never with credentials; nothing of a page is readable for anybody (OAuth 2.1 §3.1, §3.2).
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { query } from '../support/attack-aftermath.ts';
import { authorizePath, pkce, post, type TestBrowser } from '../support/browser.ts';
import { getCode, PHOTOS, redeem, SPA_REDIRECT, startWorld, type World } from '../support/world.ts';

const SPA = 'https://spa.example';
const WEB = 'https://web.example';
const STRANGERS = [
  'https://evil.example',
  'null',
  'https://spa.example.evil.example',
  'https://evil-spa.example',
  'http://spa.example',
  'https://spa.example:8443',
  'https://SPA.example',
  'https://spa.example/',
  'https://spa.example, https://evil.example',
  '*',
  "'; DROP TABLE clients; --",
];

describe('reading from another origin', () => {
  let world: World;
  let browser: TestBrowser;
  let bearer: string;
  beforeAll(async () => {
    world = await startWorld();
    const flow = await getCode(world, { client: 'spa' });
    browser = flow.browser;
    bearer = (await redeem(world, flow, 'spa')).json.access_token as string;
  });
  afterAll(() => world.close());

  const allowed = (headers: Headers) => headers.get('access-control-allow-origin');
  const preflight = (path: string, origin: string) =>
    fetch(`${world.issuer}${path}`, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization, content-type, dpop',
      },
    });

  it.each(['/token', '/revoke', '/userinfo'])('%s is open to registered origins, without credentials', async (path) => {
    const { status, headers } = await preflight(path, SPA);
    expect([status, allowed(headers)]).toEqual([204, SPA]);
    expect(headers.get('access-control-allow-credentials')).toBeNull();
    expect(headers.get('access-control-allow-headers')).not.toContain('*');
    expect(headers.get('vary')).toContain('Origin');
  });

  it.each(STRANGERS)('%s gets nothing from a preflight', async (origin) => {
    for (const path of ['/token', '/revoke', '/userinfo']) {
      expect(allowed((await preflight(path, origin)).headers)).toBeNull();
    }
  });

  it.each([...STRANGERS, WEB])('%s reads no answer that is for the client of another origin', async (origin) => {
    const headers = { origin };
    const answers = [
      await post(
        `${world.issuer}/token`,
        { client_id: 'spa', grant_type: 'refresh_token', refresh_token: 'x' },
        { headers },
      ),
      await post(`${world.issuer}/revoke`, { client_id: 'spa', token: 'x' }, { headers }),
      await post(`${world.issuer}/token`, { client_id: 'nobody', grant_type: 'x' }, { headers }),
      await fetch(`${world.issuer}/userinfo`, { headers: { ...headers, authorization: `Bearer ${bearer}` } }),
      // Without a token the answer is about no client; only strangers do not read even that.
      ...(origin === WEB ? [] : [await fetch(`${world.issuer}/userinfo`, { headers })]),
    ];
    for (const answer of answers) {
      expect(allowed(answer.headers)).toBeNull();
      expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
    }
  });

  it('a client’s own origin reads its answers and its errors', async () => {
    const headers = { origin: SPA };
    const refused = await post(
      `${world.issuer}/token`,
      { client_id: 'spa', grant_type: 'refresh_token', refresh_token: 'x' },
      { headers },
    );
    expect([refused.status, allowed(refused.headers)]).toEqual([400, SPA]);
    const userinfo = await fetch(`${world.issuer}/userinfo`, {
      headers: { ...headers, authorization: `Bearer ${bearer}` },
    });
    expect([userinfo.status, allowed(userinfo.headers)]).toEqual([200, SPA]);
  });

  it('one client’s origin does not read another’s by naming it beside its own credentials', async () => {
    const answer = await post(
      `${world.issuer}/token`,
      { grant_type: 'client_credentials', resource: PHOTOS, client_id: 'spa' },
      { basic: world.batch, headers: { origin: SPA } },
    );
    expect([answer.status, allowed(answer.headers)]).toEqual([401, null]);
  });

  it.each([
    '/token_info',
    '/introspect',
    '/authorize',
    '/login',
    '/consent',
    '/logout',
    '/account',
    '/account/access',
    '/',
  ])('%s is readable for nobody', async (path) => {
    for (const origin of [SPA, 'https://evil.example']) {
      for (const method of ['GET', 'POST', 'OPTIONS']) {
        const response = await fetch(`${world.issuer}${path}`, {
          method,
          redirect: 'manual',
          headers: { origin, 'access-control-request-method': 'POST' },
          ...(method === 'POST' && { body: new URLSearchParams({ client_id: 'spa' }) }),
        });
        expect(allowed(response.headers)).toBeNull();
      }
    }
  });

  it('a silent request from another site shows its script no code: the answer is a redirect to the client alone', async () => {
    const visit = await browser.send(
      'GET',
      authorizePath({
        client_id: 'spa',
        redirect_uri: SPA_REDIRECT,
        scope: 'openid photos.read',
        prompt: 'none',
        code_challenge: pkce().challenge,
      }),
      undefined,
      { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' },
    );
    expect(visit.location?.startsWith(`${SPA_REDIRECT}?code=`)).toBe(true);
    expect(allowed(visit.headers)).toBeNull();
    expect(visit.body).toBe('');
  });

  it('public documents are for every origin, and hold nothing of a person', async () => {
    for (const path of ['/jwks', '/.well-known/openid-configuration', '/.well-known/oauth-authorization-server']) {
      const answer = await browser.send('GET', path, undefined, { origin: 'https://evil.example' });
      expect(allowed(answer.headers)).toBe('*');
      expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
      expect(answer.headers.getSetCookie()).toEqual([]);
    }
  });

  it('a disabled client’s origin is nobody’s', async () => {
    await world.client({
      client_id: 'gone',
      redirect_uris: ['https://gone.example/cb'],
      token_endpoint_auth_method: 'none',
    });
    await expect
      .poll(async () => allowed((await preflight('/token', 'https://gone.example')).headers), { timeout: 5000 })
      .toBe('https://gone.example');
    await query(world, "UPDATE clients SET disabled_at = now() WHERE id = 'gone'");
    await query(world, 'UPDATE catalogue SET version = version + 1');
    await expect
      .poll(async () => allowed((await preflight('/token', 'https://gone.example')).headers), { timeout: 5000 })
      .toBeNull();
  });
});
