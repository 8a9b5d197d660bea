import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorizePath, pkce, responseOf, type TestBrowser } from '../support/browser.ts';
import { getCode, introspect, redeem, refresh, startWorld, type World } from '../support/world.ts';

describe('the whole code flow', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  it('signs in, consents, redeems, introspects and refreshes', async () => {
    const issued = await redeem(world, await getCode(world));
    expect(issued.json).toMatchObject({ token_type: 'Bearer', scope: 'openid photos.read' });
    expect(await introspect(world, issued.json.access_token as string)).toMatchObject({
      active: true,
      sub: world.alice,
      scope: 'openid photos.read',
    });
    const refreshed = await refresh(world, issued.json.refresh_token as string);
    // A confidential client keeps its refresh token (RFC 6749 §6).
    expect(refreshed.status).toBe(200);
    expect(refreshed.json.refresh_token).toBeUndefined();
  });
});

describe('a client registered with require_pkce: false (OAuth 2.1 §7.5.1)', () => {
  const REDIRECT = 'https://plain.example/callback';
  let world: World;
  let plain: World;
  let browser: TestBrowser;
  beforeAll(async () => {
    world = await startWorld();
    const web = await world.client({
      client_name: 'Plain',
      redirect_uris: [REDIRECT],
      scope: 'openid photos.read',
      skip_consent: true,
      require_pkce: false,
    });
    // As `web`, so that the steps of the usual client are its own.
    plain = { ...world, web };
    browser = (await getCode(world)).browser;
  });
  afterAll(() => world.close());

  const ask = (parameters: Record<string, string | undefined> = {}) =>
    browser.clone().visit(
      authorizePath({
        client_id: plain.web.id,
        redirect_uri: REDIRECT,
        scope: 'openid photos.read',
        code_challenge_method: undefined,
        ...parameters,
      }),
    );
  const codeOf = async (parameters?: Record<string, string>) => responseOf(await ask(parameters)).get('code') ?? '';
  const { verifier, challenge } = pkce();
  const S256 = { code_challenge: challenge, code_challenge_method: 'S256' };
  const redeemWith = (code: string, code_verifier?: string) =>
    redeem(plain, { code, verifier: code_verifier ?? '', redirectUri: REDIRECT });

  it.each([{}, { nonce: 'n-0S6_WzA2Mj' }])('needs neither challenge nor verifier: %j', async (parameters) => {
    expect((await redeemWith(await codeOf(parameters))).status).toBe(200);
  });

  it('is held to a challenge it sends', async () => {
    const code = await codeOf(S256);
    for (const wrong of [undefined, pkce().verifier, 'short'])
      expect((await redeemWith(code, wrong)).json).toMatchObject({ error: 'invalid_grant' });
    expect((await redeemWith(code, verifier)).status).toBe(200);
  });

  it('that sends a verifier for a code without a challenge was downgraded: refused, the code unspent', async () => {
    const code = await codeOf();
    expect((await redeemWith(code, verifier)).json).toMatchObject({ error: 'invalid_grant' });
    expect((await redeemWith(code)).status).toBe(200);
  });

  it.each<[string, Record<string, string>]>([
    ['plain', { code_challenge: challenge, code_challenge_method: 'plain' }],
    ['no method', { code_challenge: challenge }],
    ['a method alone', { code_challenge_method: 'S256' }],
    ['a malformed one', { code_challenge: 'x', code_challenge_method: 'S256' }],
  ])('gets no further with a challenge that is none: %s', async (_what, parameters) => {
    expect(responseOf(await ask(parameters)).get('error')).toBe('invalid_request');
  });

  it('is the only one: another client is refused as ever', async () => {
    const answer = await ask({ client_id: world.web.id, redirect_uri: 'https://web.example/callback' });
    expect(responseOf(answer).get('error')).toBe('invalid_request');
  });

  it('cannot be public', async () => {
    const metadata = { redirect_uris: ['https://spa2.example/'], token_endpoint_auth_method: 'none' };
    await expect(world.client({ ...metadata, require_pkce: false })).rejects.toThrow(/require_pkce/);
    await expect(world.client({ ...metadata, require_pkce: true })).resolves.toBeDefined();
  });
});
