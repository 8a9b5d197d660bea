import { createHash } from 'node:crypto';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import * as oauth from 'oauth4webapi';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SigningAlg } from '../../src/protocol/jose.ts';
import { decide, signIn, TestBrowser } from '../support/browser.ts';
import { PHOTOS, SPA_REDIRECT, STORAGE, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';
import { authorizationOf, relyingParty, tokensOf } from './relying-party.ts';

let world: World;
let web: oidc.Configuration;
beforeAll(async () => {
  world = await startWorld();
  web = await relyingParty(world, world.web);
});
afterAll(() => world.close());

describe('openid-client as the relying party', () => {
  it.each(['oidc', 'oauth2'] as const)('finds its way by the %s document', async (algorithm) => {
    const party = await relyingParty(world, world.web, { algorithm });
    expect(party.serverMetadata().issuer).toBe(world.issuer);
    expect(party.serverMetadata().supportsPKCE()).toBe(true);
    const { tokens } = await tokensOf(party, WEB_REDIRECT, 'openid photos.read');
    expect(tokens.claims()?.sub).toBe(world.alice);
  });

  it.each(['query', 'form_post'])('signs a person in with response_mode %s', async (mode) => {
    const { tokens, checks } = await tokensOf(web, WEB_REDIRECT, 'openid photos.read', {
      parameters: { response_mode: mode },
    });
    expect(tokens.claims()).toMatchObject({
      iss: world.issuer,
      sub: world.alice,
      aud: world.web.id,
      nonce: checks.expectedNonce,
      acr: 'urn:gatehouse:acr:password',
      amr: ['pwd'],
    });
    expect(tokens.token_type).toBe('bearer');
    expect(tokens.expiresIn()).toBeGreaterThan(290);
    expect(tokens.expiresIn()).toBeLessThanOrEqual(300);
    expect(tokens.refresh_token).toMatch(/^gate_rt_/);
    expect(tokens.scope).toBe('openid photos.read');
  });

  it('form_post answers stay out of the address and reach the client whole', async () => {
    const { callback } = await authorizationOf(web, WEB_REDIRECT, 'openid photos.read', {
      parameters: { response_mode: 'form_post' },
    });
    if (!(callback instanceof Request)) throw new Error('it came by GET');
    expect(callback.url).toBe(WEB_REDIRECT);
    expect([...(await callback.formData()).keys()].sort()).toEqual(['code', 'iss', 'session_state', 'state']);
  });

  it.each<[SigningAlg, typeof createHash extends (name: infer Name) => unknown ? Name : never]>([
    ['RS256', 'sha256'],
    ['ES256', 'sha256'],
    ['PS256', 'sha256'],
    ['EdDSA', 'sha512'],
  ])('gets ID tokens signed with %s when it registered that', async (alg, digest) => {
    const client = await world.client({
      redirect_uris: [WEB_REDIRECT],
      id_token_signed_response_alg: alg,
      scope: 'openid photos.read',
    });
    const party = await relyingParty(world, client, { metadata: { id_token_signed_response_alg: alg } });
    const { tokens } = await tokensOf(party, WEB_REDIRECT, 'openid photos.read');
    expect(decodeProtectedHeader(tokens.id_token ?? '')).toMatchObject({ alg, typ: 'JWT' });
    // OpenID Connect Core §3.1.3.6: the left half of the hash that goes with the algorithm.
    const hash = createHash(digest).update(tokens.access_token).digest();
    expect(tokens.claims()?.at_hash).toBe(hash.subarray(0, hash.length / 2).toString('base64url'));
    const keys = createRemoteJWKSet(new URL(`${world.issuer}/jwks`));
    await jwtVerify(tokens.id_token ?? '', keys, { issuer: world.issuer, audience: client.id, algorithms: [alg] });
  });

  it('gets RS256 when it registered nothing (OpenID Connect Registration §2)', async () => {
    const { tokens } = await tokensOf(web, WEB_REDIRECT, 'openid photos.read');
    expect(decodeProtectedHeader(tokens.id_token ?? '').alg).toBe('RS256');
  });

  it('gets no ID token without openid', async () => {
    const { tokens } = await tokensOf(web, WEB_REDIRECT, 'photos.read');
    expect(tokens.id_token).toBeUndefined();
    expect(tokens.refresh_token).toBeDefined();
  });

  it('tells its own answer from another server’s by iss (RFC 9207), and its own request’s by state', async () => {
    const { callback, checks } = await authorizationOf(web, WEB_REDIRECT, 'openid photos.read');
    const foreign = new URL((callback as URL).href);
    foreign.searchParams.set('iss', 'https://evil.example');
    await expect(oidc.authorizationCodeGrant(web, foreign, checks)).rejects.toThrow();
    const without = new URL((callback as URL).href);
    without.searchParams.delete('iss');
    await expect(oidc.authorizationCodeGrant(web, without, checks)).rejects.toThrow();
    const mixed = { ...checks, expectedState: oidc.randomState() };
    await expect(oidc.authorizationCodeGrant(web, callback, mixed)).rejects.toThrow();
    await expect(oidc.authorizationCodeGrant(web, callback, checks)).resolves.toMatchObject({ token_type: 'bearer' });
  });

  it('hears "no" as access_denied, with its state and the issuer', async () => {
    const { callback, checks } = await authorizationOf(web, WEB_REDIRECT, 'openid photos.read', {
      who: ['bob', 'builder'],
      decision: 'deny',
    });
    const answer = (callback as URL).searchParams;
    expect([answer.get('error'), answer.get('state'), answer.get('iss')]).toEqual([
      'access_denied',
      checks.expectedState,
      world.issuer,
    ]);
    expect(answer.has('code')).toBe(false);
    await expect(oidc.authorizationCodeGrant(web, callback, checks)).rejects.toMatchObject({ error: 'access_denied' });
  });

  it('refreshes, introspects its own token, asks for claims, and revokes', async () => {
    const { tokens } = await tokensOf(web, WEB_REDIRECT, 'openid email photos.read');
    const refreshed = await oidc.refreshTokenGrant(web, tokens.refresh_token ?? '');
    expect(refreshed.claims()).toMatchObject({ sub: world.alice, auth_time: tokens.claims()?.auth_time });
    expect(refreshed.claims()).not.toHaveProperty('nonce');
    expect(refreshed.refresh_token).toBeUndefined();
    expect(await oidc.tokenIntrospection(web, refreshed.access_token)).toMatchObject({
      active: true,
      sub: world.alice,
      client_id: world.web.id,
      scope: 'openid email photos.read',
    });
    expect(await oidc.fetchUserInfo(web, refreshed.access_token, world.alice)).toEqual({
      sub: world.alice,
      email: 'alice@people.example',
      email_verified: true,
    });
    await oidc.tokenRevocation(web, tokens.refresh_token ?? '');
    expect(await oidc.tokenIntrospection(web, refreshed.access_token)).toEqual({ active: false });
    await expect(oidc.refreshTokenGrant(web, tokens.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    });
  });

  it('without a secret (a browser app) rotates its refresh token at each use', async () => {
    const spa = await relyingParty(world, world.spa);
    const { tokens } = await tokensOf(spa, SPA_REDIRECT, 'openid photos.read');
    const second = await oidc.refreshTokenGrant(spa, tokens.refresh_token ?? '');
    expect(second.refresh_token).toMatch(/^gate_rt_/);
    expect(second.refresh_token).not.toBe(tokens.refresh_token);
    const third = await oidc.refreshTokenGrant(spa, second.refresh_token ?? '');
    expect(third.refresh_token).not.toBe(second.refresh_token);
    expect(third.claims()?.sub).toBe(world.alice);
  });

  it('as a backend gets tokens for itself, opaque and signed', async () => {
    const batch = await relyingParty(world, world.batch);
    const opaque = await oidc.clientCredentialsGrant(batch, { resource: STORAGE });
    expect(opaque).toMatchObject({ scope: 'storage.read' });
    expect(opaque.access_token).toMatch(/^gate_at_/);
    expect(opaque).not.toHaveProperty('refresh_token');
    expect(opaque).not.toHaveProperty('id_token');
    const signed = await oidc.clientCredentialsGrant(batch, { scope: 'photos.read' });
    expect(decodeProtectedHeader(signed.access_token)).toMatchObject({ typ: 'at+jwt', alg: 'ES256' });
  });
});

describe('oauth4webapi as the relying party', () => {
  const insecure = { [oauth.allowInsecureRequests]: true };

  async function discover(algorithm: 'oidc' | 'oauth2') {
    const issuer = new URL(world.issuer);
    return oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm, ...insecure }));
  }

  it.each([
    ['client_secret_basic', oauth.ClientSecretBasic],
    ['client_secret_post', oauth.ClientSecretPost],
  ])('goes through the code flow step by step, authenticated by %s', async (method, authentication) => {
    const as = await discover('oidc');
    const registered = await world.client({
      redirect_uris: [WEB_REDIRECT],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: method,
      scope: 'openid profile photos.read',
    });
    const client: oauth.Client = { client_id: registered.id };
    const auth = authentication(registered.secret);
    const verifier = oauth.generateRandomCodeVerifier();
    const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
    const url = new URL(as.authorization_endpoint ?? '');
    url.search = new URLSearchParams({
      client_id: client.client_id,
      redirect_uri: WEB_REDIRECT,
      response_type: 'code',
      scope: 'openid profile photos.read',
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      state,
      nonce,
      max_age: '600',
    }).toString();
    const browser = new TestBrowser(world);
    const page = await decide(browser, await signIn(browser, await browser.visit(url.href)));
    const answer = oauth.validateAuthResponse(as, client, new URL(page.location ?? ''), state);
    const response = await oauth.authorizationCodeGrantRequest(
      as,
      client,
      auth,
      answer,
      WEB_REDIRECT,
      verifier,
      insecure,
    );
    expect(response.headers.get('cache-control')).toBe('no-store');
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, response, {
      expectedNonce: nonce,
      maxAge: 600,
      requireIdToken: true,
    });
    await oauth.validateApplicationLevelSignature(as, response, insecure);
    const claims = oauth.getValidatedIdTokenClaims(tokens);
    expect(claims).toMatchObject({ sub: world.alice, aud: client.client_id });

    const userinfo = await oauth.userInfoRequest(as, client, tokens.access_token, insecure);
    expect(await oauth.processUserInfoResponse(as, client, world.alice, userinfo)).toMatchObject({
      name: 'Alice Liddell',
    });

    const refreshing = await oauth.refreshTokenGrantRequest(as, client, auth, tokens.refresh_token ?? '', insecure);
    const refreshed = await oauth.processRefreshTokenResponse(as, client, refreshing);
    const introspecting = await oauth.introspectionRequest(as, client, auth, refreshed.access_token, insecure);
    expect(await oauth.processIntrospectionResponse(as, client, introspecting)).toMatchObject({ active: true });
    await oauth.processRevocationResponse(
      await oauth.revocationRequest(as, client, auth, refreshed.access_token, insecure),
    );
    const again = await oauth.introspectionRequest(as, client, auth, refreshed.access_token, insecure);
    expect(await oauth.processIntrospectionResponse(as, client, again)).toEqual({ active: false });
  });

  it('as a public client authenticates by its id alone', async () => {
    const as = await discover('oauth2');
    const client: oauth.Client = { client_id: world.spa.id };
    const spa = await relyingParty(world, world.spa);
    const { tokens } = await tokensOf(spa, SPA_REDIRECT, 'openid photos.read');
    const response = await oauth.refreshTokenGrantRequest(
      as,
      client,
      oauth.None(),
      tokens.refresh_token ?? '',
      insecure,
    );
    expect(await oauth.processRefreshTokenResponse(as, client, response)).toMatchObject({ token_type: 'bearer' });
  });

  it('as an API takes the signed access tokens for what they are (RFC 9068)', async () => {
    const as = await discover('oidc');
    const { tokens } = await tokensOf(web, WEB_REDIRECT, 'openid photos.read');
    const call = new Request(`${PHOTOS}/albums`, { headers: { authorization: `Bearer ${tokens.access_token}` } });
    expect(await oauth.validateJwtAccessToken(as, call, PHOTOS, insecure)).toMatchObject({
      iss: world.issuer,
      sub: world.alice,
      client_id: world.web.id,
      scope: 'openid photos.read',
    });
    await expect(oauth.validateJwtAccessToken(as, call, STORAGE, insecure)).rejects.toThrow();
    const idToken = new Request(PHOTOS, { headers: { authorization: `Bearer ${tokens.id_token}` } });
    await expect(oauth.validateJwtAccessToken(as, idToken, world.web.id, insecure)).rejects.toThrow();
  });

  it('as a backend gets tokens for itself', async () => {
    const as = await discover('oauth2');
    const client: oauth.Client = { client_id: world.batch.id };
    const auth = oauth.ClientSecretBasic(world.batch.secret);
    const parameters = { resource: STORAGE, scope: 'storage.read' };
    const response = await oauth.clientCredentialsGrantRequest(as, client, auth, parameters, insecure);
    expect(await oauth.processClientCredentialsResponse(as, client, response)).toMatchObject({
      token_type: 'bearer',
      expires_in: 300,
      scope: 'storage.read',
    });
  });
});
