/** `offline_access`: OpenID Connect Core §11. What it takes to get it, and what it is worth. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  authorizePath,
  decide,
  formsOf,
  formTo,
  pkce,
  post,
  responseOf,
  signIn,
  TestBrowser,
  type Visit,
} from '../support/browser.ts';
import { PHOTOS, startWorld, type World } from '../support/world.ts';

const WORDS = 'Keep this access when you are signed out';

describe('offline_access', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  interface Party {
    readonly id: string;
    readonly secret: string;
    readonly redirectUri: string;
  }
  let parties = 0;
  async function party(metadata: Record<string, unknown> = {}): Promise<Party> {
    parties += 1;
    const redirectUri = `https://offline${parties}.example/callback`;
    const client = await world.client({
      redirect_uris: [redirectUri],
      grant_types: ['authorization_code', 'refresh_token'],
      scope: 'openid offline_access photos.read',
      ...metadata,
    });
    return { ...client, redirectUri };
  }

  async function signedIn(): Promise<TestBrowser> {
    const browser = new TestBrowser(world);
    await signIn(browser, await browser.visit('/login'));
    return browser;
  }

  const { verifier, challenge } = pkce();
  const ask = (browser: TestBrowser, client: Party, scope: string, more: Record<string, string> = {}) =>
    browser.visit(
      authorizePath({
        client_id: client.id,
        redirect_uri: client.redirectUri,
        scope,
        code_challenge: challenge,
        ...more,
      }),
    );
  const isAsked = (page: Visit) => page.url.includes('/consent?');

  async function redeem(client: Party, page: Visit): Promise<Record<string, unknown>> {
    const code = responseOf(page).get('code') ?? '';
    const fields = { grant_type: 'authorization_code', code, code_verifier: verifier, resource: PHOTOS };
    return (await post(`${world.issuer}/token`, fields, { basic: client })).json;
  }
  async function tokens(browser: TestBrowser, client: Party, scope: string) {
    const page = await ask(browser, client, scope);
    return redeem(client, isAsked(page) ? await decide(browser, page) : page);
  }
  async function refreshed(client: Party, { refresh_token }: Record<string, unknown>): Promise<unknown> {
    const fields = { grant_type: 'refresh_token', refresh_token: String(refresh_token) };
    const { status, json } = await post(`${world.issuer}/token`, fields, { basic: client });
    return status === 200 ? 'goes on' : json.error;
  }
  async function signOut(browser: TestBrowser): Promise<void> {
    await browser.submit(formTo(await browser.visit('/logout'), '/logout'));
  }

  describe('is asked for', () => {
    it('on the consent page, in words, and given when the person allows it', async () => {
      const [browser, client] = [await signedIn(), await party()];
      const page = await ask(browser, client, 'openid offline_access photos.read');
      expect(isAsked(page)).toBe(true);
      expect(page.body).toContain(WORDS);
      const issued = await redeem(client, await decide(browser, page));
      expect(String(issued.scope).split(' ')).toContain('offline_access');
      expect(issued.refresh_token).toMatch(/^gate_rt_/);
    });

    it('again with prompt=consent, and not given when the person says no then', async () => {
      const [browser, client] = [await signedIn(), await party()];
      const scope = 'openid offline_access';
      await tokens(browser, client, scope);
      const page = await ask(browser, client, scope, { prompt: 'consent' });
      expect(page.body).toContain(WORDS);
      expect(responseOf(await decide(browser, page, 'deny')).get('error')).toBe('access_denied');
    });

    it('when the rest was allowed before without it', async () => {
      const [browser, client] = [await signedIn(), await party()];
      await tokens(browser, client, 'openid photos.read');
      expect(isAsked(await ask(browser, client, 'openid photos.read'))).toBe(false);
      const page = await ask(browser, client, 'openid offline_access photos.read');
      expect(isAsked(page)).toBe(true);
      expect(page.body).toContain(WORDS);
    });

    it('not with prompt=none, but it is given where it was allowed before', async () => {
      const [browser, client] = [await signedIn(), await party()];
      const scope = 'openid offline_access photos.read';
      const silently = (asked: string) => ask(browser, client, asked, { prompt: 'none' });
      expect(responseOf(await silently(scope)).get('error')).toBe('consent_required');
      await tokens(browser, client, 'openid photos.read');
      expect(responseOf(await silently(scope)).get('error')).toBe('consent_required');
      await tokens(browser, client, scope);
      const issued = await redeem(client, await silently(scope));
      expect(issued.scope).toBe(scope);
      await signOut(browser);
      expect(await refreshed(client, issued)).toBe('goes on');
    });

    it('not of a client that need not ask: its operator has answered', async () => {
      const [browser, client] = [await signedIn(), await party({ skip_consent: true })];
      const page = await ask(browser, client, 'openid offline_access photos.read');
      expect(isAsked(page)).toBe(false);
      const issued = await redeem(client, page);
      expect(issued.scope).toBe('openid offline_access photos.read');
      await signOut(browser);
      expect(await refreshed(client, issued)).toBe('goes on');
    });
  });

  it.each<[string, string, Record<string, unknown>]>([
    ['without openid', 'offline_access photos.read', {}],
    [
      'of a client without the refresh_token grant',
      'openid offline_access photos.read',
      { grant_types: ['authorization_code'] },
    ],
  ])('is ignored %s: nobody is asked for it, nothing is given', async (_when, scope, metadata) => {
    const [browser, client] = [await signedIn(), await party(metadata)];
    const page = await ask(browser, client, scope);
    expect(isAsked(page)).toBe(true);
    expect(page.body).toContain('See your photos');
    expect(page.body).not.toContain(WORDS);
    const issued = await redeem(client, await decide(browser, page));
    expect(String(issued.scope).split(' ')).not.toContain('offline_access');
    expect('refresh_token' in issued).toBe(metadata.grant_types === undefined);
  });

  it('alone is nothing that could be granted', async () => {
    const page = await ask(await signedIn(), await party(), 'offline_access');
    expect(responseOf(page).get('error')).toBe('invalid_scope');
  });

  it('is refused to a client that is not registered for it', async () => {
    const client = await party({ scope: 'openid photos.read' });
    const page = await ask(await signedIn(), client, 'openid offline_access');
    expect(responseOf(page).get('error')).toBe('invalid_scope');
  });

  describe('is worth', () => {
    const cases: [scope: string, after: string][] = [
      ['openid offline_access photos.read', 'goes on'],
      ['openid photos.read', 'invalid_grant'],
      // Plain OAuth: the access is the client's, the sign-in was only how the person allowed it.
      ['photos.read', 'goes on'],
    ];

    it.each(cases)('this after signing out: with %s the refresh token %s', async (scope, after) => {
      const [browser, client] = [await signedIn(), await party()];
      const issued = await tokens(browser, client, scope);
      expect(await refreshed(client, issued)).toBe('goes on');
      await signOut(browser);
      expect(await refreshed(client, issued)).toBe(after);
      const told = await post(
        `${world.issuer}/token_info`,
        { token: String(issued.access_token) },
        { basic: world.photosApi },
      );
      expect(told.json.active).toBe(after === 'goes on');
    });

    it.each<[string, string | undefined]>([
      ['openid offline_access photos.read', 'invalid_grant'],
      ['openid photos.read', 'invalid_grant'],
      ['photos.read', undefined],
    ])('this as a code that nobody redeemed before the sign-out: with %s the error is %s', async (scope, error) => {
      for (const how of ['signed out', 'over by itself']) {
        const [browser, client] = [await signedIn(), await party({ skip_consent: true })];
        // A code lives a minute: it is made when the sign-in has only seconds left.
        if (how === 'over by itself') world.clock.advance(8 * 3600 - 10);
        await browser.visit('/account');
        if (how === 'over by itself') world.clock.advance(4 * 3600);
        const page = await ask(browser, client, scope);
        if (how === 'over by itself') world.clock.advance(20);
        else await signOut(browser);
        const issued = await redeem(client, page);
        expect(issued.error, how).toBe(error);
        expect('access_token' in issued, how).toBe(error === undefined);
      }
    });

    it.each(cases)('this when the sign-in is over by itself: with %s the refresh token %s', async (scope, after) => {
      const [browser, client] = [await signedIn(), await party()];
      const issued = await tokens(browser, client, scope);
      world.clock.advance(12 * 3600 + 60);
      expect(await refreshed(client, issued)).toBe(after);
    });

    it('no more than the person’s consent: taken back, it ends', async () => {
      const [browser, client] = [await signedIn(), await party()];
      const issued = await tokens(browser, client, 'openid offline_access photos.read');
      await signOut(browser);
      const account = await signedIn();
      const page = await account.visit('/account');
      const form = formsOf(page).find(({ fields }) => Object.values(fields).includes(client.id));
      if (!form) throw new Error('the account page does not show the client');
      await account.submit(form);
      expect(await refreshed(client, issued)).toBe('invalid_grant');
    });

    it('nothing to the next refresh: what was left out there is not lost', async () => {
      const [browser, client] = [await signedIn(), await party()];
      const issued = await tokens(browser, client, 'openid offline_access photos.read');
      const fields = { grant_type: 'refresh_token', refresh_token: String(issued.refresh_token), scope: 'photos.read' };
      expect((await post(`${world.issuer}/token`, fields, { basic: client })).json.scope).toBe('photos.read');
      await signOut(browser);
      expect(await refreshed(client, issued)).toBe('goes on');
    });
  });
});
