/** OpenID Connect Core: what an ID token says, requirement by requirement. Prompts are in test/features. */
import { createHash } from 'node:crypto';
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setUserDisabled } from '../../src/postgres/people.pg.ts';
import { authorizePath, pkce, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { getCode, redeem, refresh, SPA_REDIRECT, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

describe('OpenID Connect Core', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  async function tokens(parameters: Record<string, string> = {}, scope = 'openid photos.read') {
    return (await redeem(world, await getCode(world, { scope, parameters }))).json as Record<string, string>;
  }

  it('§2: the ID token has its claims, and none that nobody asked for', async () => {
    const { id_token = '', access_token = '' } = await tokens(
      { nonce: 'n-0S6_WzA2Mj' },
      'openid profile email photos.read',
    );
    const keys = createRemoteJWKSet(new URL(`${world.issuer}/jwks`));
    const { payload, protectedHeader } = await jwtVerify(id_token, keys, { currentDate: world.clock.now() });
    expect(protectedHeader).toEqual({ alg: 'RS256', typ: 'JWT', kid: expect.any(String) });
    expect(payload).toEqual({
      iss: world.issuer,
      sub: world.alice,
      aud: world.web.id,
      iat: expect.any(Number),
      exp: Number(payload.iat) + 300,
      auth_time: expect.any(Number),
      acr: 'urn:gatehouse:acr:password',
      amr: ['pwd'],
      nonce: 'n-0S6_WzA2Mj',
      sid: expect.stringMatching(/^[\w-]{43}$/),
      at_hash: createHash('sha256').update(access_token).digest().subarray(0, 16).toString('base64url'),
    });
  });

  it('§2: sub is at most 255 ASCII characters and the same for every client', async () => {
    const { sub = '' } = decodeJwt((await tokens()).id_token ?? '');
    expect(sub).toMatch(/^[\x21-\x7E]{1,255}$/);
    const spa = (await redeem(world, await getCode(world, { client: 'spa' }), 'spa')).json;
    expect(decodeJwt(String(spa.id_token)).sub).toBe(sub);
  });

  it.each(['x', 'a b', '"<>&é🗝', 'n'.repeat(512)])('§3.1.2.1: the nonce comes back unchanged: %j', async (nonce) => {
    expect(decodeJwt((await tokens({ nonce })).id_token ?? '').nonce).toBe(nonce);
  });

  it('§3.1.2.1: a nonce that is too long is refused, never cut', async () => {
    const { browser } = await getCode(world);
    const path = authorizePath({
      client_id: world.web.id,
      redirect_uri: WEB_REDIRECT,
      scope: 'openid photos.read',
      code_challenge: pkce().challenge,
      nonce: 'n'.repeat(513),
    });
    expect(responseOf(await browser.visit(path)).get('error')).toBe('invalid_request');
  });

  it('§3.1.3.7: no nonce was sent, so there is none in the ID token', async () => {
    expect(decodeJwt((await tokens()).id_token ?? '')).not.toHaveProperty('nonce');
  });

  it('§3.1.2.1: redirect_uri is required with openid', async () => {
    const { browser } = await getCode(world);
    const page = await browser.visit(
      authorizePath({ client_id: world.web.id, scope: 'openid', code_challenge: pkce().challenge }),
    );
    expect([page.status, page.location]).toEqual([400, undefined]);
  });

  it('§12.2: a refreshed ID token has the same iss, sub, aud and auth_time, a new iat, and no nonce', async () => {
    const first = await tokens({ nonce: 'once' });
    world.clock.advance(90);
    const second = (await refresh(world, first.refresh_token ?? '')).json;
    const [before, after] = [decodeJwt(first.id_token ?? ''), decodeJwt(String(second.id_token))];
    for (const claim of ['iss', 'sub', 'aud', 'auth_time', 'acr', 'amr', 'sid'])
      expect(after[claim]).toEqual(before[claim]);
    expect(Number(after.iat)).toBeGreaterThanOrEqual(Number(before.iat) + 90);
    expect(after).not.toHaveProperty('nonce');
    expect(after.at_hash).not.toBe(before.at_hash);
  });

  it('§3.1.2.2: a disabled person gets no tokens for a code that was issued before', async () => {
    const carol = await world.user({ username: 'carol', password: 'mushroom' });
    const browser = new TestBrowser(world);
    await signIn(browser, await browser.visit('/login'), 'carol', 'mushroom');
    const flow = await getCode(world, { browser });
    await setUserDisabled(world.running.database.sql, carol, true, world.clock.now());
    expect((await redeem(world, flow)).json.error).toBe('invalid_grant');
  });

  const userinfoOf = async (accessToken: string | undefined) => {
    const response = await fetch(`${world.issuer}/userinfo`, { headers: { authorization: `Bearer ${accessToken}` } });
    return (await response.json()) as Record<string, unknown>;
  };

  it('§5.1: claims have their types; what is not known of a person is left out, never null or empty', async () => {
    const { access_token } = await tokens({}, 'openid profile email address phone');
    const claims = await userinfoOf(access_token);
    expect(claims).toEqual({
      sub: world.alice,
      name: 'Alice Liddell',
      birthdate: '1992-05-04',
      email: 'alice@people.example',
      email_verified: true,
    });
  });

  it('§5.3.2: sub is always there, and the one of the ID token', async () => {
    const { access_token, id_token = '' } = await tokens({}, 'openid');
    expect(await userinfoOf(access_token)).toEqual({ sub: decodeJwt(id_token).sub });
  });

  it('§5.4: with a code, claims that scopes ask for are at userinfo and not in the ID token', async () => {
    const { access_token, id_token = '' } = await tokens({}, 'openid profile email');
    expect(await userinfoOf(access_token)).toMatchObject({ name: 'Alice Liddell', email: 'alice@people.example' });
    for (const name of ['name', 'birthdate', 'email', 'email_verified'])
      expect(decodeJwt(id_token)).not.toHaveProperty(name);
  });

  it('§5.5: claims are told where they were asked for by name', async () => {
    const claims = JSON.stringify({ userinfo: { birthdate: null }, id_token: { email: { essential: true } } });
    const { access_token, id_token = '' } = await tokens({ claims }, 'openid');
    expect(await userinfoOf(access_token)).toEqual({ sub: world.alice, birthdate: '1992-05-04' });
    expect(decodeJwt(id_token)).toMatchObject({ email: 'alice@people.example' });
    expect(decodeJwt(id_token)).not.toHaveProperty('birthdate');
  });

  it('§5.5.1: an essential claim that is not known is no error, and a value that is not the person’s is not told', async () => {
    const claims = JSON.stringify({ userinfo: { picture: { essential: true }, name: { value: 'Somebody Else' } } });
    const { access_token } = await tokens({ claims }, 'openid');
    expect(await userinfoOf(access_token)).toEqual({ sub: world.alice });
  });

  it('§8: a subject is never a client’s id: a token that stands for no person has the client’s', async () => {
    const { access_token = '' } = await tokens({}, 'openid photos.read');
    const fields = { grant_type: 'client_credentials', scope: 'photos.read' };
    const { json } = await post(`${world.issuer}/token`, fields, { basic: world.batch });
    expect(decodeJwt(String(json.access_token))).toMatchObject({ sub: world.batch.id, client_id: world.batch.id });
    expect(decodeJwt(access_token)).toMatchObject({ sub: world.alice, client_id: world.web.id });
  });

  it('§3.1.2.1: an ID token for one client is no hint for another', async () => {
    const { id_token = '' } = await tokens();
    const { browser } = await getCode(world, { client: 'spa' });
    const page = await browser.visit(
      authorizePath({
        client_id: world.spa.id,
        redirect_uri: SPA_REDIRECT,
        scope: 'openid photos.read',
        prompt: 'none',
        code_challenge: pkce().challenge,
        id_token_hint: id_token,
      }),
    );
    expect(responseOf(page).get('error')).toBe('invalid_request');
  });
});
