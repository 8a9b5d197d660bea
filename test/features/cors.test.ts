import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pkce, post } from '../support/browser.ts';
import { getCode, redeem, SPA_REDIRECT, startWorld, type World } from '../support/world.ts';

const SPA = new URL(SPA_REDIRECT).origin;
const EVIL = 'https://evil.example';

describe('browser code of other origins (CORS)', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const preflight = (path: string, origin: string, method = 'POST') =>
    fetch(world.issuer + path, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': 'authorization' },
    });
  const allowed = (headers: Headers) => headers.get('access-control-allow-origin');

  describe.each(['/token', '/revoke', '/userinfo'])('%s', (path) => {
    it('lets the preflight of a client’s own origin pass, and says what it may send', async () => {
      const { status, headers } = await preflight(path, SPA);
      expect(status).toBe(204);
      expect(allowed(headers)).toBe(SPA);
      expect(headers.get('access-control-allow-methods')).toContain('POST');
      expect(headers.get('access-control-allow-headers')).toMatch(/authorization.*content-type/);
      expect(Number(headers.get('access-control-max-age'))).toBeGreaterThan(0);
      expect(headers.get('vary')).toContain('Origin');
    });

    it.each([EVIL, 'null', `${SPA}.evil.example`, SPA.replace('https', 'http'), `${SPA}:8443`, ''])(
      'lets no preflight of %j pass',
      async (origin) => {
        const { headers } = await preflight(path, origin);
        expect([...headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
      },
    );

    it('never asks for cookies or lets them in', async () => {
      expect((await preflight(path, SPA)).headers.has('access-control-allow-credentials')).toBe(false);
    });
  });

  it('a browser app reads its tokens, its claims and its sign-out', async () => {
    const headers = { origin: SPA };
    const flow = await getCode(world, { client: 'spa', scope: 'openid' });
    const fields = {
      grant_type: 'authorization_code',
      code: flow.code,
      code_verifier: flow.verifier,
      redirect_uri: flow.redirectUri,
      client_id: world.spa.id,
    };
    const tokens = await post(`${world.issuer}/token`, fields, { headers });
    expect([tokens.status, allowed(tokens.headers)]).toEqual([200, SPA]);
    expect(tokens.headers.get('access-control-expose-headers')).toContain('WWW-Authenticate');
    const claims = await fetch(`${world.issuer}/userinfo`, {
      headers: { ...headers, authorization: `Bearer ${tokens.json.access_token}` },
    });
    expect([claims.status, allowed(claims.headers)]).toEqual([200, SPA]);
    const token = String(tokens.json.refresh_token);
    const revoked = await post(`${world.issuer}/revoke`, { token, client_id: world.spa.id }, { headers });
    expect([revoked.status, allowed(revoked.headers)]).toEqual([200, SPA]);
  });

  it('it reads its refusals too, without a challenge that would open the browser’s password box', async () => {
    const fields = { grant_type: 'refresh_token', refresh_token: 'gone', client_id: world.spa.id };
    const refused = await post(`${world.issuer}/token`, fields, { headers: { origin: SPA } });
    expect([refused.status, refused.json.error, allowed(refused.headers)]).toEqual([400, 'invalid_grant', SPA]);
    const nobody = await post(`${world.issuer}/token`, { client_id: 'nobody' }, { headers: { origin: SPA } });
    expect([nobody.status, nobody.headers.has('www-authenticate')]).toEqual([401, false]);
  });

  it('an answer for one client is not for another one’s origin', async () => {
    const flow = await getCode(world, { scope: 'openid' });
    const { json } = await redeem(world, flow);
    const foreign = await fetch(`${world.issuer}/userinfo`, {
      headers: { origin: SPA, authorization: `Bearer ${json.access_token}` },
    });
    expect(allowed(foreign.headers)).toBeNull();
    const fields = { grant_type: 'refresh_token', refresh_token: String(json.refresh_token) };
    const answer = await post(`${world.issuer}/token`, fields, { basic: world.web, headers: { origin: SPA } });
    expect(allowed(answer.headers)).toBeNull();
    expect(answer.headers.get('vary')).toContain('Origin');
  });

  it('an answer is for no origin nobody registered, whatever it asks', async () => {
    const { verifier } = pkce();
    const fields = { grant_type: 'authorization_code', code: 'x', code_verifier: verifier, client_id: world.spa.id };
    for (const origin of [EVIL, 'null', `${SPA}.evil.example`]) {
      const answer = await post(`${world.issuer}/token`, fields, { headers: { origin } });
      expect(allowed(answer.headers), origin).toBeNull();
    }
  });

  it('an additional origin counts when it is registered', async () => {
    const client = await world.client({
      redirect_uris: ['https://one.example/callback'],
      allowed_origins: ['https://two.example'],
      token_endpoint_auth_method: 'none',
    });
    for (const [origin, expected] of [
      ['https://one.example', 'https://one.example'],
      ['https://two.example', 'https://two.example'],
      ['https://three.example', null],
    ] as const) {
      const { headers } = await post(`${world.issuer}/token`, { client_id: client.id }, { headers: { origin } });
      expect(allowed(headers)).toBe(expected);
    }
  });

  it.each(['/authorize', '/token_info', '/introspect', '/login', '/consent', '/logout', '/account'])(
    '%s is closed to them',
    async (path) => {
      for (const method of ['OPTIONS', 'GET', 'POST']) {
        const { headers } = await fetch(world.issuer + path, { method, headers: { origin: SPA }, redirect: 'manual' });
        expect(
          [...headers.keys()].filter((name) => name.startsWith('access-control-')),
          method,
        ).toEqual([]);
      }
    },
  );
});
