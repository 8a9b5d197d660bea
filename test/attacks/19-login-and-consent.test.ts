/**
 * The attacker can make the victim's browser send requests here, can put a page of ours in a frame, can begin an
 * interaction of their own and hand its address to the victim, and may have planted a cookie before the victim came.
 * They want a consent that was not given, a session they know, or an answer to somebody else's request (RFC 9700 §4.7,
 * §4.16; FAPI 2.0 attacker A1). Stopped by: a session that is renewed at login, forms keyed to browser, page, request
 * and person, the Origin rules, pending requests that belong to one browser, frame-ancestors.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { changeResource } from '../../src/operator/resources.ts';
import { findResource } from '../../src/postgres/resources.pg.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { auditOf, caughtUp, query, tally } from '../support/attack-aftermath.ts';
import { expectErrorPage, expectPageHeaders } from '../support/attack-pages.ts';
import {
  authorizePath,
  decide,
  formTo,
  pkce,
  responseOf,
  signIn,
  TestBrowser,
  type Visit,
} from '../support/browser.ts';
import { getCode, PHOTOS, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

describe('login and consent', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const request = (parameters: Record<string, string> = {}) =>
    authorizePath({
      client_id: 'web',
      redirect_uri: WEB_REDIRECT,
      scope: 'openid photos.read',
      code_challenge: pkce().challenge,
      ...parameters,
    });
  const consentFields = (page: Visit) => ({ ...formTo(page, '/consent').fields, decision: 'allow' });
  const cookie = (browser: TestBrowser, kind: string) =>
    [...browser.cookies].find(([name]) => name.includes(`_${kind}_`)) ?? ['', ''];
  const consentPage = async (browser = new TestBrowser(world), parameters: Record<string, string> = {}) => {
    let page = await browser.visit(request({ prompt: 'consent', ...parameters }));
    if (page.url.includes('/login')) page = await signIn(browser, page);
    expect(page.url).toContain('/consent');
    return { browser, page };
  };

  describe('the session', () => {
    it('is renewed at login: one planted before is worth nothing after', async () => {
      const attacker = new TestBrowser(world);
      await signIn(attacker, await attacker.visit('/login'), 'bob', 'builder');
      const [name, planted] = cookie(attacker, 'session');

      const victim = new TestBrowser(world);
      victim.cookies.set(name, planted);
      const page = await victim.visit('/login');
      await signIn(victim, page);
      expect(cookie(victim, 'session')[1]).not.toBe(planted);
      const seen = await attacker.send('GET', '/account');
      expect([seen.status, seen.location]).toEqual([303, '/login']);
    });

    it('is renewed at the second login too, and the one before is over', async () => {
      const browser = new TestBrowser(world);
      await signIn(browser, await browser.visit('/login'));
      const before = browser.clone();
      expect((await before.visit('/account')).status).toBe(200);
      await signIn(browser, await browser.visit('/login'));
      expect(cookie(browser, 'session')[1]).not.toBe(cookie(before, 'session')[1]);
      expect((await before.send('GET', '/account')).location).toBe('/login');
    });

    it('is renewed at step-up', async () => {
      const { browser } = await getCode(world);
      const before = browser.clone();
      const login = await browser.visit(request({ prompt: 'login' }));
      expect(responseOf(await signIn(browser, login)).has('code')).toBe(true);
      expect(cookie(browser, 'session')[1]).not.toBe(cookie(before, 'session')[1]);
      expect((await before.send('GET', '/account')).location).toBe('/login');
    });

    it('is not taken from an invented cookie', async () => {
      const browser = new TestBrowser(world);
      await signIn(browser, await browser.visit('/login'));
      const [name, value] = cookie(browser, 'session');
      const [, alicesOther] = cookie((await getCode(world)).browser, 'session');
      for (const invented of [
        'x',
        value.slice(0, -1),
        `${value.slice(0, -43)}${'A'.repeat(43)}`,
        `${alicesOther.slice(0, 30)}${value.slice(30)}`,
        `"${value}"x`,
        '%',
      ]) {
        const forger = new TestBrowser(world);
        forger.cookies.set(name, invented);
        expect((await forger.send('GET', '/account')).location).toBe('/login');
      }
    });

    it('ends for every copy of its cookie at logout, and consent cannot be given afterwards', async () => {
      const { browser, page } = await consentPage();
      const copy = browser.clone();
      const ended = await browser.submit(formTo(await browser.visit('/logout'), '/logout'));
      expect(ended.body).toContain('You have been signed out');
      expect((await copy.send('GET', '/account')).location).toBe('/login');
      const before = await tally(world);
      const late = await copy.send('POST', '/consent', { ...formTo(page, '/consent').fields, decision: 'allow' });
      expectErrorPage(late, 403, 'access_denied');
      expect(await tally(world)).toEqual(before);
    });

    it('keeps its cookies from scripts, from other sites’ posts and from other paths', async () => {
      const browser = new TestBrowser(world);
      const page = await browser.visit('/login');
      const { action, fields } = formTo(page, '/login');
      const answer = await browser.send('POST', action, { ...fields, username: 'alice', password: 'wonderland' });
      const lines = answer.headers.getSetCookie();
      expect(lines.length).toBeGreaterThan(0);
      for (const line of lines)
        expect(line).toMatch(/; Path=\/; HttpOnly; SameSite=Lax$|Path=\/.*HttpOnly.*SameSite=Lax/);
    });
  });

  describe('the forms', () => {
    type Forgery = (
      mine: { browser: TestBrowser; page: Visit },
      other: { browser: TestBrowser; page: Visit },
    ) => Promise<Visit>;
    const forgeries: [string, Forgery][] = [
      [
        'without a token',
        ({ browser, page }) => browser.send('POST', '/consent', { ...consentFields(page), csrf: '' }),
      ],
      [
        'with an invented token',
        ({ browser, page }) => browser.send('POST', '/consent', { ...consentFields(page), csrf: 'A'.repeat(43) }),
      ],
      [
        'with the token of another request of the same browser',
        async ({ browser, page }) => {
          const another = await consentPage(browser);
          return browser.send('POST', '/consent', {
            ...consentFields(page),
            csrf: formTo(another.page, '/consent').fields.csrf ?? '',
          });
        },
      ],
      [
        'with the token of the sign-in form of the same request',
        async ({ browser, page }) => {
          const pending = formTo(page, '/consent').fields.pending ?? '';
          const login = await browser.visit(`/login?pending=${pending}`);
          return browser.send('POST', '/consent', {
            ...consentFields(page),
            csrf: formTo(login, '/login').fields.csrf ?? '',
          });
        },
      ],
      [
        'with another browser’s token',
        ({ browser, page }, other) =>
          browser.send('POST', '/consent', {
            ...consentFields(page),
            csrf: formTo(other.page, '/consent').fields.csrf ?? '',
          }),
      ],
      [
        'from another site',
        ({ browser, page }) =>
          browser.send('POST', '/consent', consentFields(page), {
            origin: 'https://evil.example',
            'sec-fetch-site': 'cross-site',
          }),
      ],
      [
        'from a sibling port',
        ({ browser, page }) =>
          browser.send('POST', '/consent', consentFields(page), {
            origin: 'http://localhost:1',
            'sec-fetch-site': 'same-site',
          }),
      ],
      [
        'from an origin that only begins like ours',
        ({ browser, page }) =>
          browser.send('POST', '/consent', consentFields(page), { origin: `${world.issuer}.evil.example` }),
      ],
      [
        'from a sandboxed frame',
        ({ browser, page }) =>
          browser.send('POST', '/consent', consentFields(page), { origin: 'null', 'sec-fetch-site': 'cross-site' }),
      ],
      [
        'from a sandboxed frame of the same site',
        ({ browser, page }) =>
          browser.send('POST', '/consent', consentFields(page), { origin: 'null', 'sec-fetch-site': 'same-site' }),
      ],
      [
        'with Origin: null and nothing else',
        ({ browser, page }) =>
          browser.send('POST', '/consent', consentFields(page), { origin: 'null', 'sec-fetch-site': '' }),
      ],
      [
        'with neither yes nor no',
        ({ browser, page }) => browser.send('POST', '/consent', { ...consentFields(page), decision: 'ALLOW' }),
      ],
    ];
    it.each(forgeries)('of consent, posted %s, changes nothing', async (_name, forge) => {
      const mine = await consentPage();
      const other = await consentPage();
      const consents = await query(world, 'SELECT * FROM consents ORDER BY 1, 2');
      const before = await tally(world);
      const answer = await forge(mine, other);
      expectErrorPage(answer, 403, 'access_denied');
      expect(await tally(world)).toEqual(before);
      expect(await query(world, 'SELECT * FROM consents ORDER BY 1, 2')).toEqual(consents);
      // The person whose form it is can still answer.
      expect(responseOf(await decide(mine.browser, mine.page)).get('code')).toMatch(/^gate_ac_/);
    });

    it('of consent, posted with two tokens, changes nothing', async () => {
      const { browser, page } = await consentPage();
      const body = new URLSearchParams(consentFields(page));
      body.append('csrf', body.get('csrf') ?? '');
      const before = await tally(world);
      const cookies = [...browser.cookies].map((pair) => pair.join('=')).join('; ');
      const headers = { origin: world.issuer, cookie: cookies };
      const answer = await fetch(`${world.issuer}/consent`, { method: 'POST', body, redirect: 'manual', headers });
      expect(answer.status).toBe(400);
      expect(await tally(world)).toEqual(before);
    });

    it('refused leaves one event in the audit trail', async () => {
      const { browser, page } = await consentPage();
      const trail = await auditOf(world, 'access_denied', () =>
        browser.send('POST', '/consent', { ...consentFields(page), csrf: 'x' }),
      );
      expect(trail.map(({ event, times }) => [event, times])).toEqual([['access_denied', 1]]);
    });

    it('of consent does not count for another person who has signed in meanwhile', async () => {
      const { browser, page } = await consentPage();
      const pending = formTo(page, '/consent').fields.pending ?? '';
      await signIn(browser, await browser.visit(`/login?pending=${pending}`), 'bob', 'builder');
      expectErrorPage(await browser.send('POST', '/consent', consentFields(page)), 403, 'access_denied');
      const bobs = await query(world, 'SELECT 1 FROM consents WHERE user_id = $1', [world.bob]);
      expect(bobs).toEqual([]);
    });

    it('of consent does not count for a request that means less, or more, than was shown', async () => {
      const { database } = world.running;
      const { browser, page } = await consentPage(undefined, { scope: 'openid photos.read photos.write' });
      const resource = await findResource(database.sql, PHOTOS);
      if (!resource) throw new Error('no photos API');
      const change = (scopes: object) => changeResource(database.sql, resource, { scopes }, oauth21, new Date());
      await change({ 'photos.read': 'See your photos' });
      await caughtUp();
      try {
        expectErrorPage(await browser.send('POST', '/consent', consentFields(page)), 403, 'access_denied');
      } finally {
        await change(resource.scopes);
        await caughtUp();
      }
    });

    const signInFields = (page: Visit) => ({
      ...formTo(page, '/login').fields,
      username: 'alice',
      password: 'wonderland',
    });
    it.each([
      ['without a token', { csrf: '' }, {}],
      ['with an invented one', { csrf: 'A'.repeat(43) }, {}],
      ['from another site', {}, { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
      ['with Origin: null from another site', {}, { origin: 'null', 'sec-fetch-site': 'cross-site' }],
      ['typed as an address', {}, { origin: 'null', 'sec-fetch-site': 'none' }],
    ])('of sign-in, posted %s, signs nobody in', async (_name, fields, headers) => {
      const browser = new TestBrowser(world);
      const page = await browser.visit(request());
      const answer = await browser.send('POST', '/login', { ...signInFields(page), ...fields }, headers);
      expectErrorPage(answer, 403, 'access_denied');
      expect(cookie(browser, 'session')).toEqual(['', '']);
    });

    it('are taken from our own pages when the browser hides their origin', async () => {
      const browser = new TestBrowser(world);
      const page = await browser.visit(request());
      const answer = await browser.send('POST', '/login', signInFields(page), {
        origin: 'null',
        'sec-fetch-site': 'same-origin',
      });
      expect(answer.status).toBe(303);
    });

    it.each([
      ['without a token', { csrf: '' }, {}],
      ['with an invented one', { csrf: 'A'.repeat(43) }, {}],
      ['from another site', {}, { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
      ['from a sandboxed frame', {}, { origin: 'null', 'sec-fetch-site': 'cross-site' }],
    ])('of the account chooser, posted %s, choose nobody and cancel nothing', async (_name, fields, headers) => {
      const { browser } = await getCode(world);
      await signIn(browser, await browser.visit('/login'), 'bob', 'builder');
      const page = await browser.visit(request());
      const account = /name="account" value="([^"]*)"/.exec(page.body)?.[1] ?? '';
      const before = await tally(world);
      for (const action of ['/select-account', '/select-account/cancel']) {
        const all = { ...formTo(page, action).fields, account, ...fields };
        expectErrorPage(await browser.send('POST', action, all, headers), 403, 'access_denied');
      }
      expect(await tally(world)).toEqual(before);
      const pending = formTo(page, '/select-account').fields.pending ?? '';
      expect((await browser.visit(`/authorize?pending=${pending}`)).url).toContain('/select-account');
    });

    it('of logout, posted from elsewhere, only shows the question', async () => {
      const { browser } = await getCode(world);
      const foreign = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' };
      for (const fields of [{}, { csrf: 'x' }, { confirm: 'yes' }]) {
        const asked = await browser.send('POST', '/logout', fields, foreign);
        expect(asked.status).toBe(200);
        expect(asked.body).toContain('id="logout-confirm"');
      }
      expect((await browser.send('GET', '/logout')).body).toContain('id="logout-confirm"');
      expect((await browser.visit('/account')).url).toContain('/account');
    });
  });

  describe('a pending request', () => {
    it('opens in no other browser, for nothing', async () => {
      const { browser, page } = await consentPage();
      const { fields } = formTo(page, '/consent');
      const thieves = [new TestBrowser(world), (await getCode(world)).browser];
      const before = await tally(world);
      for (const thief of thieves) {
        for (const path of ['/authorize', '/login', '/select-account', '/consent']) {
          expectErrorPage(await thief.send('GET', `${path}?pending=${fields.pending}`), 400, 'invalid_request');
        }
        const posted = await thief.send('POST', '/consent', { ...fields, decision: 'allow' });
        expectErrorPage(posted, 400, 'invalid_request');
        const cancelled = await thief.send('POST', '/login/cancel', { ...fields });
        expectErrorPage(cancelled, 403, 'access_denied');
      }
      expect(await tally(world)).toEqual(before);
      expect(responseOf(await decide(browser, page)).get('code')).toMatch(/^gate_ac_/);
    });

    it('that came by POST belongs to the browser that fetched it first', async () => {
      const posted = await fetch(`${world.issuer}/authorize`, {
        method: 'POST',
        redirect: 'manual',
        body: new URLSearchParams(request().slice('/authorize?'.length)),
      });
      const address = posted.headers.get('location') ?? '';
      const browser = new TestBrowser(world);
      expect((await browser.visit(address)).url).toContain('/login');
      expectErrorPage(await new TestBrowser(world).send('GET', address), 400, 'invalid_request');
    });

    it('cannot be guessed, repeated, or asked for in other words', async () => {
      const browser = new TestBrowser(world);
      for (const query of [
        'pending=00000000-0000-0000-0000-000000000000',
        'pending=x',
        "pending=' OR 1=1 --",
        'pending[]=x',
        'pending=x&pending=y',
      ]) {
        expectErrorPage(await browser.send('GET', `/authorize?${query}`), 400, 'invalid_request');
      }
    });

    it('is over once it was answered: the back button shows a safe page and no second code', async () => {
      const { browser, page } = await consentPage();
      const pending = formTo(page, '/consent').fields.pending ?? '';
      await decide(browser, page);
      const before = await tally(world);
      for (const path of ['/authorize', '/login', '/select-account', '/consent']) {
        expectErrorPage(await browser.send('GET', `${path}?pending=${pending}`), 400, 'invalid_request');
      }
      expectErrorPage(await browser.send('POST', '/consent', consentFields(page)), 400, 'invalid_request');
      expect(await tally(world)).toEqual(before);
    });

    it('is over once it was denied', async () => {
      const { browser, page } = await consentPage();
      expect(responseOf(await decide(browser, page, 'deny')).get('error')).toBe('access_denied');
      const before = await tally(world);
      expectErrorPage(await browser.send('POST', '/consent', consentFields(page)), 400, 'invalid_request');
      expect(await tally(world)).toEqual(before);
    });

    it('is over after a quarter of an hour', async () => {
      const { browser, page } = await consentPage();
      world.clock.advance(15 * 60 + 1);
      expectErrorPage(await browser.send('POST', '/consent', consentFields(page)), 400, 'invalid_request');
    });

    it('keeps what it was asked for: parameters beside it change nothing', async () => {
      const { browser, page } = await consentPage(undefined, { state: 'mine' });
      const pending = formTo(page, '/consent').fields.pending ?? '';
      await browser.send('POST', '/consent', consentFields(page));
      const evil = `&redirect_uri=${encodeURIComponent('https://evil.example/')}&scope=photos.write&state=yours`;
      const answer = await browser.send('GET', `/authorize?pending=${pending}${evil}`);
      expect(answer.location).toMatch(/^https:\/\/web\.example\/callback\?code=gate_ac_/);
      expect(responseOf(answer).get('state')).toBe('mine');
    });
  });

  it('every page refuses frames, foreign content and caches', async () => {
    const { browser, page } = await consentPage();
    const pages = [
      page,
      await new TestBrowser(world).visit(request()),
      await browser.visit(request({ prompt: 'select_account' })),
      await browser.visit('/'),
      await browser.visit('/account'),
      await browser.visit('/logout'),
      await new TestBrowser(world).visit('/logout'),
      await browser.visit('/nowhere'),
      await browser.visit('/authorize'),
      await browser.send('POST', '/login', {}),
      await browser.send('PUT', '/consent'),
      await browser.visit(request({ response_mode: 'form_post', prompt: 'none' })),
    ];
    for (const { headers } of pages) expectPageHeaders(headers);
    const scripts = pages.map(
      ({ headers }) => /script-src ([^;]*)/.exec(headers.get('content-security-policy') ?? '')?.[1],
    );
    // The page of form_post alone has a script, known by its digest.
    expect(scripts.slice(0, -1).every((script) => script === undefined)).toBe(true);
    expect(scripts.at(-1)).toMatch(/^'sha256-[A-Za-z0-9+/=]{44}'$/);
  });
});
