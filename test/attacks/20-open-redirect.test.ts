/**
 * The attacker sends the victim to our address, which the victim trusts, with parameters that other servers take for the
 * way back; they want the browser to end elsewhere (RFC 9700 §4.11.2). Stopped by: no address of the way back is ever
 * taken from a request; what follows a page is our own path or a registered redirect URI.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { send } from '../support/attack-wire.ts';
import { formTo, signIn, TestBrowser } from '../support/browser.ts';
import { getCode, startWorld, type World } from '../support/world.ts';

describe('an address of the way back that came with the request', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const NAMES = [
    'returnUrl',
    'return_to',
    'redirect',
    'redirect_uri',
    'next',
    'continue',
    'url',
    'post_logout_redirect_uri',
  ];
  const ADDRESSES = [
    'https://evil.example/',
    '//evil.example',
    '/\\evil.example',
    '/\tevil.example',
    'https:evil.example',
    '/.//evil.example',
  ];
  const queries = ADDRESSES.map((address) =>
    new URLSearchParams(NAMES.map((name): [string, string] => [name, address])).toString(),
  );

  it.each(['/', '/login', '/logout', '/account', '/consent', '/authorize'])('leads nowhere from %s', async (path) => {
    const browser = (await getCode(world)).browser;
    for (const query of queries) {
      for (const visitor of [browser, new TestBrowser(world)]) {
        const visit = await visitor.send('GET', `${path}?${query}`);
        expect(visit.location ?? '/').toMatch(/^\/(?![/\\])/);
        expect(visit.body).not.toContain('evil');
        expect(visit.headers.get('refresh')).toBeNull();
      }
    }
  });

  it('leads nowhere after sign-in and after logout, in the address and in the form', async () => {
    for (const query of queries) {
      const browser = new TestBrowser(world);
      const page = await browser.visit(`/login?${query}`);
      const extra = Object.fromEntries(new URLSearchParams(query));
      const answer = await browser.submit(
        { action: '/login', fields: { ...formTo(page, '/login').fields, ...extra } },
        {
          username: 'alice',
          password: 'wonderland',
        },
      );
      expect(new URL(answer.url).pathname).toBe('/account');
      const asked = await browser.visit(`/logout?${query}`);
      const ended = await browser.submit({
        action: '/logout',
        fields: { ...formTo(asked, '/logout').fields, ...extra },
      });
      expect([ended.status, ended.location]).toEqual([200, undefined]);
      expect(ended.body).not.toContain('evil');
    }
  });

  it('leads nowhere as a path, a host or a forwarded host', async () => {
    for (const target of [
      '//evil.example',
      '//evil.example/..',
      '/\\evil.example',
      '/%5cevil.example',
      '/login/../..//evil.example',
      'http://evil.example/',
      'http://evil.example/account',
    ]) {
      const answer = await send(world.issuer, { target });
      expect(answer.headers.location ?? '/').toMatch(/^\/(?![/\\])/);
      expect(answer.body).not.toContain('evil');
    }
    const headers: [string, string][] = [
      ['Host', 'evil.example'],
      ['X-Forwarded-Host', 'evil.example'],
      ['X-Forwarded-Proto', 'https'],
      ['X-Original-URL', '/account'],
      ['Forwarded', 'host=evil.example'],
    ];
    for (const target of [
      '/.well-known/openid-configuration',
      '/login',
      '/account',
      '/authorize',
      '/token',
      '/userinfo',
    ]) {
      const answer = await send(world.issuer, { target, headers });
      expect(JSON.stringify(answer)).not.toContain('evil');
    }
  });

  it('a sign-in goes back to its own request only', async () => {
    const browser = new TestBrowser(world);
    const page = await browser.visit('/login');
    const answer = await signIn(browser, page);
    expect(new URL(answer.url).pathname).toBe('/account');
  });
});
