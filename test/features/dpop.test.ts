import * as oauth from 'oauth4webapi';
import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post } from '../support/browser.ts';
import { askToken, askUserinfo, boundTokens, redeemWith, refreshWith, TOKEN } from '../support/dpop-world.ts';
import { type ProofKey, proofFor, proofKey } from '../support/proof-key.ts';
import { getCode, introspect, SPA_REDIRECT, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';
import { authorizationOf, relyingParty } from './relying-party.ts';

const insecure = { [oauth.allowInsecureRequests]: true } as const;

describe('DPoP with clients of others', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  it('a browser app (oauth4webapi) gets tokens bound to its key, uses and refreshes them', async () => {
    const as = await oauth
      .discoveryRequest(new URL(world.issuer), insecure)
      .then((response) => oauth.processDiscoveryResponse(new URL(world.issuer), response));
    const client: oauth.Client = { client_id: world.spa.id };
    const handle = oauth.DPoP(client, await oauth.generateKeyPair('ES256', { extractable: true }));
    const flow = await getCode(world, { client: 'spa', scope: 'openid email' });
    const parameters = oauth.validateAuthResponse(
      as,
      client,
      new URLSearchParams({ code: flow.code, iss: world.issuer }),
    );
    const options = { ...insecure, DPoP: handle };
    const answer = await oauth.authorizationCodeGrantRequest(
      as,
      client,
      oauth.None(),
      parameters,
      SPA_REDIRECT,
      flow.verifier,
      options,
    );
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, answer);
    expect(tokens.token_type).toBe('dpop');
    const claims = await oauth.userInfoRequest(as, client, tokens.access_token, options);
    expect(await oauth.processUserInfoResponse(as, client, world.alice, claims)).toMatchObject({
      email: 'alice@people.example',
    });
    const again = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), tokens.refresh_token ?? '', options);
    expect((await oauth.processRefreshTokenResponse(as, client, again)).token_type).toBe('dpop');
  });

  it('a web app (openid-client) likewise, its code bound by dpop_jkt', async () => {
    const party = await relyingParty(world, world.web);
    const handle = oidc.getDPoPHandle(party, await oidc.randomDPoPKeyPair('ES256', { extractable: true }));
    const parameters = { dpop_jkt: await handle.calculateThumbprint() };
    const { callback, checks } = await authorizationOf(party, WEB_REDIRECT, 'openid', { parameters });
    const tokens = await oidc.authorizationCodeGrant(party, callback, checks, undefined, { DPoP: handle });
    expect(tokens.token_type).toBe('dpop');
    const claims = await oidc.fetchUserInfo(party, tokens.access_token, world.alice, { DPoP: handle });
    expect(claims.sub).toBe(world.alice);
  });
});

describe('DPoP', () => {
  let world: World;
  let key: ProofKey;
  let another: ProofKey;
  beforeAll(async () => {
    world = await startWorld();
    [key, another] = [await proofKey(), await proofKey('EdDSA')];
  });
  afterAll(() => world.close());

  it('binds access tokens of both forms, and introspection tells to which key', async () => {
    const { access_token: jwt } = await boundTokens(world, key, 'web', 'openid photos.read');
    expect(await introspect(world, jwt)).toMatchObject({ token_type: 'DPoP', cnf: { jkt: key.jkt } });
    expect(JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString())).toMatchObject({
      cnf: { jkt: key.jkt },
    });
    const opaque = (await askToken(world, await proofFor(world, key, TOKEN))).json;
    expect(opaque.token_type).toBe('DPoP');
    expect(await introspect(world, String(opaque.access_token), world.storageApi)).toMatchObject({
      token_type: 'DPoP',
      cnf: { jkt: key.jkt },
    });
  });

  it.each(['ES256', 'EdDSA', 'Ed25519', 'RS256', 'PS256'])('takes proofs signed with %s', async (alg) => {
    const proof = await proofFor(world, await proofKey(alg), TOKEN);
    expect((await askToken(world, proof)).json.token_type).toBe('DPoP');
  });

  it('without a proof tokens stay bearer tokens, unless the client is registered otherwise', async () => {
    const { id, secret } = await world.client({
      grant_types: ['client_credentials'],
      scope: 'storage.read',
      dpop_bound_access_tokens: true,
    });
    const ask = (basic: { id: string; secret: string }, headers = {}) =>
      post(`${world.issuer}/token`, { grant_type: 'client_credentials' }, { basic, headers });
    expect(await redeemWith(world, await getCode(world), undefined)).toMatchObject({ json: { token_type: 'Bearer' } });
    expect(await ask({ id, secret })).toMatchObject({ status: 400, json: { error: 'invalid_request' } });
    const dpop = await proofFor(world, key, TOKEN);
    expect((await ask({ id, secret }, { dpop })).json.token_type).toBe('DPoP');
  });

  it('a public client’s refresh token is bound to the key, and stays so when it is replaced', async () => {
    const first = await boundTokens(world, key, 'spa');
    for (const wrong of [another, undefined]) {
      const { status, json } = await refreshWith(world, first.refresh_token, wrong, 'spa');
      expect([status, json.error]).toEqual([400, 'invalid_grant']);
    }
    const second = await refreshWith(world, first.refresh_token, key, 'spa');
    expect(second).toMatchObject({ status: 200, json: { token_type: 'DPoP' } });
    expect(await refreshWith(world, String(second.json.refresh_token), another, 'spa')).toMatchObject({ status: 400 });
    expect(await refreshWith(world, String(second.json.refresh_token), key, 'spa')).toMatchObject({ status: 200 });
  });

  it('whoever lacks the key cannot end a public client’s grant by using an old refresh token', async () => {
    const first = await boundTokens(world, key, 'spa');
    const second = await refreshWith(world, first.refresh_token, key, 'spa');
    world.clock.advance(60);
    expect(await refreshWith(world, first.refresh_token, another, 'spa')).toMatchObject({ status: 400 });
    expect(await refreshWith(world, String(second.json.refresh_token), key, 'spa')).toMatchObject({ status: 200 });
  });

  it('a confidential client may change its key: its refresh token is bound by its authentication', async () => {
    const { refresh_token } = await boundTokens(world, key);
    const { json } = await refreshWith(world, refresh_token, another);
    expect(json.token_type).toBe('DPoP');
    expect((await askUserinfo(world, String(json.access_token), another)).status).toBe(200);
    expect((await askUserinfo(world, String(json.access_token), key)).status).toBe(401);
  });

  it('takes two round trips at most where a token is used, and none more where one is issued', async () => {
    const { access_token } = await boundTokens(world, key);
    expect(
      await world.roundTripsOf(
        async () => undefined,
        () => askUserinfo(world, access_token, key),
      ),
    ).toBe(2);
    expect(
      await world.roundTripsOf(
        () => proofFor(world, key, TOKEN),
        (proof) => askToken(world, proof),
      ),
    ).toBe(1);
    expect(
      await world.roundTripsOf(
        () => getCode(world),
        (flow) => redeemWith(world, flow, key),
      ),
    ).toBe(2);
  });

  it('what is refused for another reason does not use the proof up', async () => {
    const dpop = await proofFor(world, key, TOKEN);
    const ask = (code: string, code_verifier: string) =>
      post(
        `${world.issuer}/token`,
        { grant_type: 'authorization_code', code, code_verifier },
        { basic: world.web, headers: { dpop } },
      );
    const flow = await getCode(world);
    expect((await ask(flow.code, 'w'.repeat(43))).json.error).toBe('invalid_grant');
    expect((await ask(flow.code, flow.verifier)).status).toBe(200);
    const next = await getCode(world);
    expect((await ask(next.code, next.verifier)).json.error).toBe('invalid_dpop_proof');
    // And the refused proof did not use the code up.
    expect((await redeemWith(world, next, key)).status).toBe(200);
  });

  it('browser code may read what is wrong, and the nonce', async () => {
    const origin = new URL(SPA_REDIRECT).origin;
    const refused = await fetch(`${world.issuer}/userinfo`, { headers: { authorization: 'DPoP x', origin } });
    expect(refused.headers.get('access-control-expose-headers')).toMatch(/WWW-Authenticate.*DPoP-Nonce/);
    const token = await post(`${world.issuer}/token`, { client_id: world.spa.id }, { headers: { origin } });
    expect(token.headers.get('access-control-expose-headers')).toContain('DPoP-Nonce');
  });
});

describe('DPoP with nonces (GATEHOUSE_DPOP_NONCE=on)', () => {
  let world: World;
  let key: ProofKey;
  beforeAll(async () => {
    world = await startWorld({ env: { GATEHOUSE_DPOP_NONCE: 'on' } });
    key = await proofKey();
  });
  afterAll(() => world.close());

  it('a client of others (openid-client) finds its way, at every endpoint', async () => {
    const party = await relyingParty(world, world.web);
    const handle = oidc.getDPoPHandle(party, await oidc.randomDPoPKeyPair('ES256', { extractable: true }));
    const { callback, checks } = await authorizationOf(party, WEB_REDIRECT, 'openid');
    const tokens = await oidc.authorizationCodeGrant(party, callback, checks, undefined, { DPoP: handle });
    const claims = await oidc.fetchUserInfo(party, tokens.access_token, world.alice, { DPoP: handle });
    expect(claims.sub).toBe(world.alice);
  });

  const withNonce = async (nonce?: string) => askToken(world, await proofFor(world, key, TOKEN, { claims: { nonce } }));
  const newNonce = async () => (await withNonce()).headers.get('dpop-nonce') ?? '';

  it('every node takes the nonces of every other', async () => {
    const node = await world.node();
    const nonce = await newNonce();
    const proof = await proofFor(world, key, TOKEN, { claims: { nonce, htu: `${node.issuer}/token` } });
    expect((await askToken({ ...world, issuer: node.issuer }, proof)).status).toBe(200);
    await node.close();
  });

  it('a nonce lasts for minutes; the next one comes along before it ends', async () => {
    const nonce = await newNonce();
    expect((await withNonce(nonce)).headers.get('dpop-nonce')).toBeNull();
    world.clock.advance(150);
    const renewed = await withNonce(nonce);
    expect(renewed.status).toBe(200);
    const next = renewed.headers.get('dpop-nonce') ?? '';
    expect(next).not.toBe(nonce);
    world.clock.advance(150);
    expect((await withNonce(next)).status).toBe(200);
    const refused = await withNonce(nonce);
    expect([refused.status, refused.json.error]).toEqual([400, 'use_dpop_nonce']);
  });

  it('the refusal has used nothing up: the same code is good with the nonce', async () => {
    const flow = await getCode(world);
    const refused = await redeemWith(world, flow, key);
    expect(refused.json.error).toBe('use_dpop_nonce');
    const nonce = refused.headers.get('dpop-nonce');
    const dpop = await proofFor(world, key, TOKEN, { claims: { nonce } });
    const fields = { grant_type: 'authorization_code', code: flow.code, code_verifier: flow.verifier };
    expect((await post(`${world.issuer}/token`, fields, { basic: world.web, headers: { dpop } })).status).toBe(200);
  });
});
