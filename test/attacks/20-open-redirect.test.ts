/**
 * The attacker sends the victim to our address, which the victim trusts, with parameters that other servers take for the
 * way back; they want the browser to end elsewhere (RFC 9700 §4.11.2). Stopped by: no address of the way back is ever
 * taken from a request; what follows a page is our own path or a registered redirect URI.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { send } from '../support/attack-wire.ts';
import { authorizePath, decide, formTo, pkce, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { signedByServer } from '../support/own-signature.ts';
import { getCode, redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

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
      const form = formTo(asked, '/logout');
      const changed = await browser.submit({ action: '/logout', fields: { ...form.fields, ...extra } });
      expect([changed.status, changed.location]).toEqual([400, undefined]);
      expect(changed.body).not.toContain('evil');
      const ended = await browser.submit(form);
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

/**
 * RP-Initiated Logout §3, §6: the same with the parameter that does lead somewhere, and with a sign-out as bait. Stopped by:
 * only a registered address counts, to the letter, and only beside a valid hint or the person's own confirmation.
 */
describe('an address after sign-out', () => {
  const BYE = 'https://web.example/bye';
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
    await world.client({
      client_id: 'leaver',
      redirect_uris: [WEB_REDIRECT],
      scope: 'openid',
      skip_consent: true,
      post_logout_redirect_uris: [BYE],
    });
  });
  afterAll(() => world.close());

  /** A browser signed in at the client, with the ID token the client has of it. */
  async function signedIn(username = 'alice', password = 'wonderland') {
    const browser = new TestBrowser(world);
    const { verifier, challenge } = pkce();
    const page = await browser.visit(
      authorizePath({
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        scope: 'openid photos.read',
        code_challenge: challenge,
      }),
    );
    let answer = await signIn(browser, page, username, password);
    if (answer.url.includes('/consent')) answer = await decide(browser, answer);
    const code = responseOf(answer).get('code') ?? '';
    const { json } = await redeem(world, { code, verifier, redirectUri: WEB_REDIRECT });
    const claims = JSON.parse(Buffer.from(String(json.id_token).split('.')[1] ?? '', 'base64url').toString());
    const hintFor = (changed: Record<string, unknown>) =>
      signedByServer(world, 'JWT', { ...claims, aud: 'leaver', sid: undefined, ...changed });
    return { browser, hint: await hintFor({}), hintFor };
  }

  it('the usual one is gone to, so that the rest of this can fail', async () => {
    const { browser, hint } = await signedIn();
    const query = new URLSearchParams({ id_token_hint: hint, post_logout_redirect_uri: BYE });
    expect((await browser.visit(`/logout?${query}`)).location).toBe(BYE);
  });

  it.each([
    '//evil.example',
    '/\\evil.example',
    '/\t/evil.example',
    '/%09/evil.example',
    'https:evil.example',
    'https://evil.example/',
    'javascript:alert(1)',
    `${BYE}/`,
    `${BYE}#`,
    `${BYE}?`,
    `${BYE}?x=1`,
    `${BYE}/../elsewhere`,
    `${BYE}%2e`,
    `${BYE} `,
    ` ${BYE}`,
    'https://web.example/BYE',
    'https://WEB.example/bye',
    'https://web.example:443/bye',
    'https://web.example./bye',
    'https://web.example@evil.example/bye',
    'https://evil.example\\@web.example/bye',
    'http://web.example/bye',
    WEB_REDIRECT,
  ])('%j is gone to with no hint, no client_id and no confirmation', async (address) => {
    const { browser, hint } = await signedIn();
    for (const proof of [{ id_token_hint: hint }, { client_id: 'leaver' }, {}]) {
      const parameters = new URLSearchParams({ ...proof, post_logout_redirect_uri: address, state: 'x' });
      for (const visitor of [browser, new TestBrowser(world)]) {
        const visit = await visitor.send('GET', `/logout?${parameters}`);
        expect([visit.status, visit.location]).toEqual([400, undefined]);
        expect(visit.body).not.toMatch(/evil|web\.example|http-equiv/);
        expect(visit.headers.get('content-security-policy')).toContain("form-action 'self';");
      }
      const posted = await new TestBrowser(world).send('POST', '/logout', Object.fromEntries(parameters));
      expect(posted.location).toMatch(/^\/logout\?/);
      expect((await browser.send('GET', posted.location ?? '')).status).toBe(400);
    }
    const form = formTo(await browser.visit(`/logout?client_id=leaver&post_logout_redirect_uri=${BYE}`), '/logout');
    const changed = await browser.submit(form, { post_logout_redirect_uri: address });
    expect([changed.status, changed.location]).toEqual([400, undefined]);
    expect((await browser.visit('/account')).url, 'nobody was signed out by it').toContain('/account');
  });

  it('a registered one is gone to on nobody’s word but the client’s or the person’s', async () => {
    const { browser, hintFor } = await signedIn();
    const year = 365 * 86_400;
    const now = Math.floor(world.clock.now().getTime() / 1000);
    const hints = [
      await hintFor({ exp: now - year - 60, iat: now - year - 360 }),
      await hintFor({ iss: 'https://evil.example' }),
      await hintFor({ aud: 'evil' }),
      await hintFor({ aud: ['leaver', 'evil'] }),
      await hintFor({ aud: 'web' }),
    ];
    for (const hint of hints) {
      const query = new URLSearchParams({ id_token_hint: hint, post_logout_redirect_uri: BYE });
      for (const visitor of [browser, new TestBrowser(world)]) {
        const visit = await visitor.send('GET', `/logout?${query}`);
        expect([visit.status, visit.location]).toEqual([400, undefined]);
      }
    }
    const unproven = await browser.send('GET', `/logout?client_id=leaver&post_logout_redirect_uri=${BYE}`);
    expect([unproven.status, unproven.location]).toEqual([200, undefined]);
    expect(unproven.body).toContain('id="logout-confirm"');
  });

  it('the ID token of an attacker’s own account signs nobody else out', async () => {
    const victim = await signedIn();
    const attacker = await signedIn('bob', 'builder');
    const query = new URLSearchParams({ id_token_hint: attacker.hint, post_logout_redirect_uri: BYE });
    const visit = await victim.browser.send('GET', `/logout?${query}`);
    expect([visit.status, visit.location]).toEqual([200, undefined]);
    expect(visit.body).toContain('id="logout-confirm"');
    expect((await victim.browser.visit('/account')).url).toContain('/account');
  });
});
