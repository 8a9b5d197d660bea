/** OpenID Connect Session Management 1.0; what the page answers in Chromium is in test/browser/session-management.test.ts. */
import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CHECK_SESSION_SCRIPT } from '../../src/protocol/page.ts';
import { authorizePath, decide, formTo, pkce, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { makeCertificate } from '../support/certificate.ts';
import { trustingFetch } from '../support/trusting-fetch.ts';
import { getCode, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';
import { authorizationOf, relyingParty } from './relying-party.ts';

let world: World;
let web: oidc.Configuration;
beforeAll(async () => {
  world = await startWorld();
  web = await relyingParty(world, world.web);
});
afterAll(() => world.close());

const stateCookieOf = ({ cookies }: TestBrowser) => [...cookies].find(([name]) => name.includes('_state_'))?.[1];

/** An answer to the client, by the address it went to. */
async function answerTo(browser: TestBrowser, parameters: Record<string, string> = {}): Promise<URLSearchParams> {
  await getCode(world, { browser, parameters });
  return responseOf(
    await browser.visit(
      authorizePath({
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        scope: 'openid photos.read',
        code_challenge: pkce().challenge,
        ...parameters,
      }),
    ),
  );
}

/** §3.2, as a client's page would have it computed. */
function expected(sessionState: string, browserState: string, clientId = 'web', origin = 'https://web.example') {
  const [, salt = ''] = sessionState.split('.');
  const digest = createHash('sha256').update(`${clientId} ${origin} ${browserState} ${salt}`).digest('hex');
  return `${digest}.${salt}`;
}

describe('session_state', () => {
  it('is made of client, origin, browser state and salt, and is new each time', async () => {
    const browser = new TestBrowser(world);
    const first = (await answerTo(browser)).get('session_state') ?? '';
    const second = (await answerTo(browser)).get('session_state') ?? '';
    const state = stateCookieOf(browser) ?? '';
    expect(state).toMatch(/^[A-Za-z0-9_-]{43}$/);
    for (const value of [first, second]) {
      expect(value).toMatch(/^[0-9a-f]{64}\.[A-Za-z0-9_-]{16}$/);
      expect(value).toBe(expected(value, state));
    }
    expect(first).not.toBe(second);
  });

  it('is taken by a strict client, in every response mode', async () => {
    for (const parameters of [{}, { response_mode: 'form_post' }]) {
      const { callback } = await authorizationOf(web, WEB_REDIRECT, 'openid', { parameters });
      const answer = callback instanceof URL ? callback.searchParams : new URLSearchParams(await callback.text());
      expect(answer.get('session_state')).toMatch(/^[^ ]+$/);
    }
  });

  it('is not for requests without openid, nor for errors, nor for apps that are no web page', async () => {
    const plain = new TestBrowser(world);
    await getCode(world, { browser: plain, scope: 'photos.read' });
    expect(stateCookieOf(plain)).toBeUndefined();

    const refused = await new TestBrowser(world).visit(
      authorizePath({
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        scope: 'openid',
        prompt: 'none',
        code_challenge: pkce().challenge,
      }),
    );
    expect([...responseOf(refused).keys()].sort()).toEqual(['error', 'error_description', 'iss', 'state']);

    const redirectUri = 'com.example.app:/callback';
    const app = await world.client({
      redirect_uris: [redirectUri],
      application_type: 'native',
      scope: 'openid',
      skip_consent: true,
    });
    const browser = new TestBrowser(world);
    const page = await browser.visit(
      authorizePath({
        client_id: app.id,
        redirect_uri: redirectUri,
        scope: 'openid',
        code_challenge: pkce().challenge,
      }),
    );
    expect([...responseOf(await signIn(browser, page)).keys()].sort()).toEqual(['code', 'iss', 'state']);
  });
});

describe('the browser state', () => {
  it('stays with the people signed in, and changes with them', async () => {
    const browser = new TestBrowser(world);
    await answerTo(browser);
    const alone = stateCookieOf(browser);
    await signIn(browser, await browser.visit('/login'));
    await answerTo(browser);
    expect(stateCookieOf(browser), 'the same person again').toBe(alone);
    await signIn(browser, await browser.visit('/login'), 'bob', 'builder');
    const page = await browser.visit(
      authorizePath({
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        scope: 'openid photos.read',
        prompt: 'login',
        code_challenge: pkce().challenge,
      }),
    );
    await signIn(browser, page);
    expect(stateCookieOf(browser), 'two people').not.toBe(alone);
  });

  it('differs between browsers of one person', async () => {
    const [one, other] = [new TestBrowser(world), new TestBrowser(world)];
    await answerTo(one);
    await answerTo(other);
    expect(stateCookieOf(one)).not.toBe(stateCookieOf(other));
  });

  it('is in a cookie that scripts may read, and that ends with the first sign-in or the idle session', async () => {
    const browser = new TestBrowser(world);
    await getCode(world, { browser });
    world.clock.advance(3600);
    const answer = await browser.visit(
      authorizePath({
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        scope: 'openid photos.read',
        code_challenge: pkce().challenge,
      }),
    );
    const [line = '', ...others] = answer.headers.getSetCookie();
    expect(others).toEqual([]);
    const [pair = '', ...attributes] = line.split('; ');
    expect(pair).toMatch(/^gatehouse_state_[0-9a-f]{6}=/);
    // 12 hours of a sign-in, 8 of an unused session.
    expect(attributes.sort()).toEqual(['Max-Age=28800', 'Path=/', 'SameSite=Lax']);
    world.clock.advance(6 * 3600);
    await browser.visit('/account');
    world.clock.advance(2 * 3600);
    const later = await browser.visit(
      authorizePath({
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        scope: 'openid photos.read',
        code_challenge: pkce().challenge,
      }),
    );
    const maxAge = Number(/Max-Age=(\d+)/.exec(later.headers.getSetCookie().join())?.[1]);
    expect(maxAge).toBeLessThanOrEqual(3 * 3600);
    expect(maxAge).toBeGreaterThan(3 * 3600 - 300);
  });
});

describe('the page of check_session_iframe', () => {
  it('is announced, needs no cookie, sets none, and is the one page that may be framed', async () => {
    const address = web.serverMetadata().check_session_iframe;
    expect(address).toBe(`${world.issuer}/session/check`);
    const page = await fetch(String(address));
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toMatch(/^text\/html/);
    expect(page.headers.get('x-frame-options')).toBeNull();
    expect(page.headers.getSetCookie()).toEqual([]);
    expect(page.headers.get('cache-control')).toBe('public, max-age=3600');
    expect(page.headers.get('x-content-type-options')).toBe('nosniff');
    const hash = createHash('sha256').update(CHECK_SESSION_SCRIPT).digest('base64');
    expect(page.headers.get('content-security-policy')).toBe(
      `default-src 'none'; script-src 'sha256-${hash}'; form-action 'none'; frame-ancestors *; base-uri 'none'`,
    );
    const body = await page.text();
    expect(body).toContain(`>${CHECK_SESSION_SCRIPT}</script>`);
    const browser = new TestBrowser(world);
    await getCode(world, { browser });
    const name = [...browser.cookies.keys()].find((each) => each.includes('_state_'));
    expect(body).toContain(`<script data-cookie="${name}">`);
    expect(body).not.toMatch(/<(form|a|link|img|iframe|input)/);
  });

  it('is neither served nor announced where it is switched off, and no cookie is set', async () => {
    const without = await startWorld({ env: { GATEHOUSE_SESSION_MANAGEMENT: 'off' } });
    try {
      const response = await fetch(`${without.issuer}/.well-known/openid-configuration`);
      expect(Object.keys((await response.json()) as object)).not.toContain('check_session_iframe');
      expect((await fetch(`${without.issuer}/session/check`)).status).toBe(404);
      const browser = new TestBrowser(without);
      await getCode(without, { browser });
      expect(stateCookieOf(browser)).toBeUndefined();
      const answer = await browser.visit(
        authorizePath({
          client_id: 'web',
          redirect_uri: WEB_REDIRECT,
          scope: 'openid photos.read',
          code_challenge: pkce().challenge,
        }),
      );
      expect([...responseOf(answer).keys()].sort()).toEqual(['code', 'iss', 'state']);
      const hostile = await browser.send('GET', '/logout');
      expect(hostile.headers.getSetCookie().join()).not.toContain('_state_');
    } finally {
      await without.close();
    }
  });

  it('on https reads a cookie that goes to frames on other sites, set and deleted with Secure and the prefix', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'gatehouse-session-'));
    const { cert, key } = await makeCertificate(join(folder, 'server'));
    const secure = await startWorld({ env: { GATEHOUSE_TLS_CERT: cert, GATEHOUSE_TLS_KEY: key } });
    try {
      const browser = new TestBrowser(secure, trustingFetch(cert));
      const page = await browser.visit('/session/check');
      const name = /data-cookie="(__Host-gatehouse_state_[0-9a-f]{6})"/.exec(page.body)?.[1];
      const login = await browser.visit(
        authorizePath({
          client_id: 'web',
          redirect_uri: WEB_REDIRECT,
          scope: 'openid',
          code_challenge: pkce().challenge,
        }),
      );
      const answered = await decide(browser, await signIn(browser, login));
      const ended = await browser.send('POST', '/logout', formTo(await browser.visit('/logout'), '/logout').fields);
      for (const visit of [answered, ended]) {
        const [line = '', ...others] = visit.headers.getSetCookie().filter((each) => each.includes('_state_'));
        expect(others).toEqual([]);
        const [pair, ...attributes] = line.split('; ').filter((each) => !/^(Max-Age|Expires)=/.test(each));
        expect(pair?.split('=')[0]).toBe(name);
        expect(attributes.sort()).toEqual(['Path=/', 'SameSite=None', 'Secure']);
      }
      expect(stateCookieOf(browser)).toBeUndefined();
    } finally {
      await secure.close();
      await rm(folder, { recursive: true });
    }
  });
});
