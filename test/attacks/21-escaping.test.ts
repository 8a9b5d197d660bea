/**
 * The attacker chooses texts that our pages print: `state`, `login_hint`, the name of a client or of a person, a typed
 * user name. They want markup of theirs in our page, or a header of theirs in our answer (RFC 6749 §10.14).
 * Stopped by: every text is escaped where it is printed, redirects are form-encoded, errors never echo, and a CSP that
 * would run nothing even so.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectPageHeaders } from '../support/attack-pages.ts';
import {
  authorizePath,
  formsOf,
  formTo,
  pkce,
  responseOf,
  signIn,
  TestBrowser,
  type Visit,
} from '../support/browser.ts';
import { getCode, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

/** Each would break out of one context: text, an attribute in either quotes, a script, a form, a comment, a header. */
const PAYLOADS = [
  '<script>alert(1)</script>',
  '"><script>alert(1)</script>',
  "'><img src=x onerror=alert(1)>",
  '</form><form action="https://evil.example">',
  '</title></head><body onload=alert(1)>',
  '--><svg/onload=alert(1)>',
  '" autofocus onfocus="alert(1)',
  'javascript:alert(1)',
  '<%= it.shell %><% throw 1 %>',
  '{{7777*7777}}#{7777*7777}*{7777*7777}',
  'a\r\nSet-Cookie: evil=1\r\n\r\n<html>',
  '\u2028\u2029\uFEFF\u202Eevil',
  '&lt;script&gt;&#x3c;',
];

describe('texts of an attacker in pages and answers', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  /** The page has no element and no attribute that is not ours, and sends nothing elsewhere. */
  function expectHarmless(visit: Visit, targets: readonly string[] = [], links: readonly string[] = []): void {
    expectPageHeaders(visit.headers);
    const tags = [...visit.body.matchAll(/<[a-z!/][^>]*>/gi)].map(([tag]) => tag);
    expect(
      tags.filter((tag) => /^<(?:img|svg)/i.test(tag) && !/class="(?:gate|brand-mark|brand-logo)"/.test(tag)),
    ).toEqual([]);
    const scripts = tags.filter((tag) => /^<script/i.test(tag));
    expect(scripts).toEqual(/document\.(forms|links)\[0\]/.test(visit.body) ? ['<script>'] : []);
    for (const tag of tags) expect(tag).not.toMatch(/\son\w+\s*=(?=(?:[^"]*"[^"]*")*[^"]*$)/i);
    for (const { action } of formsOf(visit))
      expect(['/login', '/login/cancel', '/consent', '/logout', '/account/access', ...targets]).toContain(action);
    for (const [, address = ''] of visit.body.matchAll(/(?:href|src)="([^"]*)"/g)) {
      if (!links.some((link) => address.startsWith(link))) expect(address).toMatch(/^\/(?!\/)/);
    }
    expect(visit.body).not.toContain('60481729');
    expect(visit.headers.get('set-cookie') ?? '').not.toContain('evil');
  }

  const request = (parameters: Record<string, string>, client = 'web') =>
    authorizePath({
      client_id: client,
      redirect_uri: WEB_REDIRECT,
      scope: 'openid',
      code_challenge: pkce().challenge,
      ...parameters,
    });

  it.each(PAYLOADS)('%j as login_hint and as a user name that was typed', async (payload) => {
    const browser = new TestBrowser(world);
    const page = await browser.visit(request({ login_hint: payload }));
    expectHarmless(page);
    expect(formTo(page, '/login').fields.username).toBe(payload.replace(/\r\n/g, '\r\n'));
    const again = await signIn(browser, page, payload, 'wrong');
    expect(again.status).toBe(400);
    expectHarmless(again);
    expect(formTo(again, '/login').fields.username).toBe(payload.trim());
  });

  it.each(PAYLOADS)(
    '%j as state comes back to the letter, by redirect and by form, in code and error',
    async (payload) => {
      const { browser } = await getCode(world);
      const redirected = await browser.visit(request({ state: payload }));
      expect(responseOf(redirected).get('state')).toBe(payload);
      expect(redirected.location).toMatch(/^https:\/\/web\.example\/callback\?[\x21-\x7E]*$/);
      expect(redirected.headers.get('set-cookie')).toMatch(
        /^gatehouse_state_[0-9a-f]{6}=[\w-]{43}; Max-Age=\d+; Path=\/; SameSite=Lax$/,
      );
      for (const parameters of [{}, { scope: 'nothing' }]) {
        const posted = await browser.visit(request({ state: payload, response_mode: 'form_post', ...parameters }));
        expect(posted.status).toBe(200);
        expectHarmless(posted, [WEB_REDIRECT]);
        const forms = formsOf(posted);
        expect(forms).toHaveLength(1);
        expect(forms[0]?.fields.state).toBe(payload);
        expect(forms[0]?.fields.iss).toBe(world.issuer);
      }
    },
  );

  it.each(PAYLOADS)('%j as state of a logout request, in the question and on the page with frames', async (payload) => {
    const address = 'https://web.example/bye?x=1';
    const { id } = await world.client({
      client_id: `leaving-${PAYLOADS.indexOf(payload)}`,
      redirect_uris: [WEB_REDIRECT],
      scope: 'openid',
      skip_consent: true,
      post_logout_redirect_uris: [address],
      frontchannel_logout_uri: 'https://web.example/out?a=%22&b=c',
    });
    const browser = new TestBrowser(world);
    await signIn(browser, await browser.visit(request({}, id)));
    const query = new URLSearchParams({ client_id: id, post_logout_redirect_uri: address, state: payload });
    const asked = await browser.visit(`/logout?${query}`);
    expectHarmless(asked);
    expect(formTo(asked, '/logout').fields.state).toBe(payload);
    const told = await browser.submit(formTo(asked, '/logout'));
    expectHarmless(told, [], ['https://web.example/']);
    const onward = /href="([^"]*)" id="logout-continue"/
      .exec(told.body)?.[1]
      ?.replaceAll('&amp;', '&')
      .replaceAll('&#39;', "'");
    expect(new URL(onward ?? '').searchParams.get('state')).toBe(payload);
    expect(onward?.startsWith(`${address}&state=`)).toBe(true);
    expect(told.body.match(/<iframe/g)).toHaveLength(1);
  });

  it.each(PAYLOADS)('%j in any parameter of a refused request is not in the page that refuses', async (payload) => {
    const browser = new TestBrowser(world);
    for (const path of [
      `/authorize?client_id=${encodeURIComponent(payload)}`,
      request({ redirect_uri: payload }),
      request({ response_mode: payload }),
      `/consent?pending=${encodeURIComponent(payload)}`,
      `/login?pending=${encodeURIComponent(payload)}`,
      `/logout?post_logout_redirect_uri=${encodeURIComponent(payload)}&state=${encodeURIComponent(payload)}`,
      `/logout?client_id=${encodeURIComponent(payload)}`,
      `/logout?id_token_hint=${encodeURIComponent(payload)}&ui_locales=${encodeURIComponent(payload)}`,
      `/nowhere/${encodeURIComponent(payload)}?error=${encodeURIComponent(payload)}&error_description=${encodeURIComponent(payload)}`,
    ]) {
      const visit = await browser.send('GET', path);
      expect(visit.status).toBeGreaterThanOrEqual(400);
      expectHarmless(visit);
      expect(visit.body).not.toMatch(/alert|evil|onerror/);
    }
  });

  it.each(PAYLOADS)('%j in no error of an endpoint for clients', async (payload) => {
    for (const [path, fields] of [
      ['/token', { client_id: payload, grant_type: payload }],
      ['/token', { client_id: 'spa', grant_type: payload }],
      ['/token', { client_id: 'spa', grant_type: 'authorization_code', code: payload }],
      ['/revoke', { client_id: 'spa', token_type_hint: payload }],
    ] as const) {
      const answer = await fetch(`${world.issuer}${path}`, { method: 'POST', body: new URLSearchParams(fields) });
      expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
      const { error_description } = (await answer.json()) as { error_description: string };
      // RFC 6749 §5.2: printable ASCII without quotes and backslash; ours besides: nothing of the request.
      expect(error_description).toMatch(/^[\x20-\x21\x23-\x5B\x5D-\x7E]+$/);
      expect(error_description).not.toMatch(/alert|evil/);
    }
  });

  it.each(PAYLOADS.map((payload, index) => [payload, index] as const))(
    '%j as the name of a client and of a person',
    async (payload, index) => {
      const named = (client_name: string) => ({
        client_id: `named-${index}`,
        client_name,
        redirect_uris: [WEB_REDIRECT],
        grant_types: ['authorization_code'],
        scope: 'openid',
      });
      // A client's name holds no control or direction characters at all; a person's may, and is shown as text.
      if (/[\p{Cc}\p{Cf}]/u.test(payload)) {
        await expect(world.client(named(payload))).rejects.toThrow('client_name');
        await world.client(named('Plain'));
      } else await world.client(named(payload));
      const username = `person-${index}`;
      await world.user({ username, password: 'secret', claims: { name: payload } });
      const browser = new TestBrowser(world);
      const login = await browser.visit(request({}, `named-${index}`));
      expectHarmless(login);
      const consent = await signIn(browser, login, username, 'secret');
      expect(consent.url).toContain('/consent');
      expectHarmless(consent);
      await browser.submit(formTo(consent, '/consent'), { decision: 'allow' });
      expectHarmless(await browser.visit('/account'));
      expectHarmless(await browser.visit('/logout'));
      expectHarmless(await browser.visit('/'));
    },
  );
});
