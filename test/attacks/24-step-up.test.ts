/**
 * The attacker holds a session that is too weak or too old for what a client asks, or none, and can go through our pages
 * in any order; or they alter the request and want the client to be told of a sign-in that never was (RFC 9470 §5,
 * OpenID Connect Core §3.1.2.6, §5.5.1.1). Stopped by: an answer comes from the authorization endpoint only, which asks all
 * anew each time; what is recorded for a request is what happened for that request; `acr`, `amr` and `auth_time` are what
 * we saw, whatever was asked for. There is no silent downgrade: what cannot be had is an error.
 */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, tally } from '../support/attack-aftermath.ts';
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
import { getCode, redeem, refresh, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

const PASSWORD = { acr: 'urn:gatehouse:acr:password', amr: ['pwd'] };
const STRONG = 'urn:example:acr:mfa';

describe('step-up', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const requestOf = (parameters: Record<string, string> = {}) => {
    const { verifier, challenge } = pkce();
    const path = authorizePath({
      client_id: 'web',
      redirect_uri: WEB_REDIRECT,
      scope: 'openid photos.read',
      code_challenge: challenge,
      ...parameters,
    });
    return { path, verifier };
  };
  const essential = (acr: object) => ({ claims: JSON.stringify({ id_token: { acr: { essential: true, ...acr } } }) });
  const pendingOf = (page: Visit) => new URL(page.url).searchParams.get('pending') ?? '';
  const signedIn = async () => (await getCode(world)).browser;
  async function both(): Promise<TestBrowser> {
    const browser = await signedIn();
    await signIn(browser, await browser.visit('/login'), 'bob', 'builder');
    return browser;
  }

  /** The error that is sent, and nothing else happened. */
  async function refused(visit: () => Promise<Visit>): Promise<Record<string, string>> {
    const before = await tally(world);
    const answer = Object.fromEntries(responseOf(await visit()));
    expect(await tally(world)).toEqual(before);
    expect(answer).toMatchObject({ state: 'af0ifjsldkj', iss: world.issuer });
    expect(answer).not.toHaveProperty('code');
    return answer;
  }

  async function idTokenOf(visit: Visit, verifier: string): Promise<Record<string, unknown>> {
    const code = responseOf(visit).get('code') ?? '';
    const { json } = await redeem(world, { code, verifier, redirectUri: WEB_REDIRECT });
    return decodeJwt(String(json.id_token));
  }

  describe('an essential acr that is not met', () => {
    it.each([
      ['one value', { value: STRONG }],
      ['several values', { values: [STRONG, 'urn:example:acr:phr'] }],
      ['no value that would do', { values: [] }],
      ['ours in other letters', { values: [PASSWORD.acr.toUpperCase()] }],
      ['ours in a list', { values: [[PASSWORD.acr]] }],
    ])('fails the request: %s', async (_what, acr) => {
      const { path } = requestOf(essential(acr));
      for (const browser of [new TestBrowser(world), await signedIn()])
        expect((await refused(() => browser.visit(path))).error).toBe('unmet_authentication_requirements');
    });

    it('is not forgotten on the way through a form of another site', async () => {
      const fields = Object.fromEntries(
        new URL(requestOf(essential({ value: STRONG })).path, world.issuer).searchParams,
      );
      const posted = await new TestBrowser(world).send('POST', '/authorize', fields, {
        origin: 'https://web.example',
        'sec-fetch-site': 'cross-site',
      });
      const browser = await signedIn();
      const answer = await refused(() => browser.visit(posted.location ?? ''));
      expect(answer.error).toBe('unmet_authentication_requirements');
    });

    it('leaves one event in the audit trail', async () => {
      const browser = await signedIn();
      const error = 'unmet_authentication_requirements';
      const trail = await auditOf(world, error, () => browser.visit(requestOf(essential({ value: STRONG })).path));
      expect(trail.filter(({ event }) => event === error).map(({ times }) => times)).toEqual([1]);
    });
  });

  describe('acr, amr and auth_time', () => {
    const wishes: [string, Record<string, string>][] = [
      ['parameters of those names', { acr: STRONG, amr: 'hwk mfa', auth_time: '9999999999' }],
      ['acr_values', { acr_values: `${STRONG} ${PASSWORD.acr}` }],
      ['a voluntary claim', { claims: JSON.stringify({ id_token: { acr: { value: STRONG } } }) }],
      [
        'claims with values',
        {
          claims: JSON.stringify({
            id_token: {
              amr: { essential: true, values: [['mfa']] },
              auth_time: { essential: true, value: 9999999999 },
            },
          }),
        },
      ],
    ];
    it.each(wishes)('are what we saw, not what the caller says: %s', async (_what, parameters) => {
      const browser = await signedIn();
      const since = Math.floor(world.clock.now().getTime() / 1000);
      const { path, verifier } = requestOf(parameters);
      const claims = await idTokenOf(await browser.visit(path), verifier);
      expect(claims).toMatchObject(PASSWORD);
      expect(claims.auth_time).toBeLessThanOrEqual(since);
      expect(claims.auth_time).toBeGreaterThan(since - 60);
    });

    it('are not raised at sign-in by what the form is sent with', async () => {
      const browser = new TestBrowser(world);
      const { path, verifier } = requestOf();
      const login = await browser.visit(path);
      const strong = { acr: STRONG, amr: 'mfa', auth_time: '0' };
      const form = formTo(login, '/login');
      const page = await browser.submit(form, { ...strong, username: 'alice', password: 'wonderland' });
      const answer = page.url.includes('/consent') ? await decide(browser, page) : page;
      expect(await idTokenOf(answer, verifier)).toMatchObject(PASSWORD);
    });

    it('are not raised by a refresh: neither by its parameters nor by its time', async () => {
      const { json } = await redeem(world, await getCode(world));
      const before = decodeJwt(String(json.id_token));
      world.clock.advance(300);
      const again = await refresh(world, String(json.refresh_token), 'web', { acr: STRONG, amr: 'mfa', max_age: '0' });
      const after = decodeJwt(String(again.json.id_token));
      expect([after.acr, after.amr, after.auth_time]).toEqual([before.acr, before.amr, before.auth_time]);
    });
  });

  describe('a sign-in that is too old', () => {
    const TOO_OLD = { max_age: '60' };
    async function stale(browser = signedIn()): Promise<TestBrowser> {
      const old = await browser;
      world.clock.advance(120);
      return old;
    }

    it('is not told of silently', async () => {
      const browser = await stale();
      const answer = await refused(() => browser.visit(requestOf({ ...TOO_OLD, prompt: 'none' }).path));
      expect(answer.error).toBe('login_required');
    });

    it.each<[string, Record<string, string>, (browser: TestBrowser, pending: string) => Promise<Visit>]>([
      ['coming back', TOO_OLD, (browser, pending) => browser.visit(`/authorize?pending=${pending}`)],
      ['coming back', { prompt: 'login' }, (browser, pending) => browser.visit(`/authorize?pending=${pending}`)],
      [
        'consenting first',
        { ...TOO_OLD, prompt: 'consent' },
        async (browser, pending) => decide(browser, await browser.visit(`/consent?pending=${pending}`)),
      ],
      [
        'consenting first',
        { prompt: 'login consent' },
        async (browser, pending) => decide(browser, await browser.visit(`/consent?pending=${pending}`)),
      ],
      [
        'choosing oneself',
        TOO_OLD,
        async (browser, pending) => {
          const page = await browser.visit(`/select-account?pending=${pending}`);
          const account = /name="account" value="([^"]*)"/.exec(page.body)?.[1] ?? '';
          return browser.submit(formTo(page, '/select-account'), { account });
        },
      ],
      [
        'signing in for another request',
        { prompt: 'login' },
        async (browser, pending) => {
          await signIn(browser, await browser.visit(requestOf({ prompt: 'login consent' }).path));
          return browser.visit(`/authorize?pending=${pending}`);
        },
      ],
      [
        'signing in for none',
        { prompt: 'login' },
        async (browser, pending) => {
          await signIn(browser, await browser.visit('/login'));
          return browser.visit(`/authorize?pending=${pending}`);
        },
      ],
      [
        'a wrong password',
        TOO_OLD,
        async (browser, pending) => {
          await signIn(browser, await browser.visit(`/login?pending=${pending}`), 'alice', 'wrong');
          return browser.visit(`/authorize?pending=${pending}`);
        },
      ],
    ])('is not made new by %s (%j)', async (_how, parameters, go) => {
      const browser = await stale();
      const login = await browser.visit(requestOf(parameters).path);
      expect(login.url).toContain('/login');
      const before = await tally(world);
      const after = await go(browser, pendingOf(login));
      expect([after.location, new URL(after.url).pathname]).toEqual([undefined, '/login']);
      expect(await tally(world)).toEqual(before);
    });

    it('of one person is not made new by another one’s', async () => {
      const browser = await stale(both());
      const chooser = await browser.visit(requestOf(TOO_OLD).path);
      // Bob signs in for it, and is chosen away from again.
      const bobs = await signIn(browser, await browser.visit(`/login?pending=${pendingOf(chooser)}`), 'bob', 'builder');
      expect(bobs.url).toContain('/consent');
      const again = await browser.visit(`/select-account?pending=${pendingOf(chooser)}`);
      const accounts = [...again.body.matchAll(/value="([^"]*)">([\s\S]*?)<\/button>/g)];
      const alices = accounts.find(([, , text]) => text?.includes('alice'))?.[1] ?? '';
      const page = await browser.submit(formTo(again, '/select-account'), { account: alices });
      expect(new URL(page.url).pathname).toBe('/login');
    });

    it('is told with its own time where that is good enough', async () => {
      const browser = await signedIn();
      const at = Math.floor(world.clock.now().getTime() / 1000);
      world.clock.advance(120);
      const { path, verifier } = requestOf({ max_age: '600' });
      const claims = await idTokenOf(await browser.visit(path), verifier);
      expect(Math.abs(Number(claims.auth_time) - at)).toBeLessThanOrEqual(2);
    });
  });

  describe('nobody is asked (prompt=none), and nobody is told of', () => {
    const silent = (browser: TestBrowser, parameters: Record<string, string> = {}) =>
      refused(() => browser.visit(requestOf({ prompt: 'none', ...parameters }).path));

    it('who has no session', async () => {
      expect((await silent(new TestBrowser(world))).error).toBe('login_required');
    });

    it('who has signed out', async () => {
      const browser = await signedIn();
      const copy = browser.clone();
      await browser.submit(formTo(await browser.visit('/logout'), '/logout'));
      for (const one of [browser, copy]) expect((await silent(one)).error).toBe('login_required');
    });

    it('who has not consented to this client, or to this much', async () => {
      const browser = new TestBrowser(world);
      await world.user({ username: 'carol', password: 'x' });
      await signIn(browser, await browser.visit('/login'), 'carol', 'x');
      expect((await silent(browser)).error).toBe('consent_required');
      const more = { scope: 'openid photos.read photos.write' };
      expect((await silent(await signedIn(), more)).error).toBe('consent_required');
    });

    it('who is one of several', async () => {
      expect((await silent(await both())).error).toBe('account_selection_required');
    });

    it('who shows a consent that was given in another request', async () => {
      const browser = await signedIn();
      const page = await browser.visit(requestOf({ scope: 'openid photos.read photos.write' }).path);
      expect(page.url).toContain('/consent');
      const more = { scope: 'openid photos.read photos.write' };
      expect((await silent(browser, more)).error).toBe('consent_required');
    });
  });
});
