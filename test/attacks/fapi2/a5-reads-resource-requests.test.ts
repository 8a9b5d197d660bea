/**
 * FAPI 2.0 attacker A5: reads requests to APIs after they were made, whole, out of a proxy's or an API's log: token, proof,
 * address. They have a client, keys and certificates of their own.
 *
 * Stopped by: tokens are bound to a key or a certificate, everywhere a token is taken, at our own endpoints too; a proof is for
 * one request, to one address, with one token, once, and for seconds.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Api, startApi } from '../../resource-server/api.ts';
import { pkce, responseOf, TestBrowser } from '../../support/browser.ts';
import type { CertificateFiles } from '../../support/certificate.ts';
import { pushedPath } from '../../support/dpop-world.ts';
import {
  askTokens,
  type FapiTokens,
  type FapiWorld,
  goThrough,
  introspectAs,
  PHOTOS,
  STORAGE,
  startFapiWorld,
  tokensFor,
  userinfoAs,
  userinfoWith,
} from '../../support/fapi-world.ts';
import { CALLBACK, type MtlsWorld, startMtlsWorld } from '../../support/mtls-world.ts';
import { type ProofKey, type ProofOptions, proofFor, proofKey } from '../../support/proof-key.ts';
import type { TestServer } from '../../support/server.ts';

describe('A5, who reads requests to APIs afterwards', () => {
  let world: FapiWorld;
  let node: TestServer;
  let api: Api;
  let theirs: ProofKey;
  /** Of the API, and of userinfo. */
  let photos: FapiTokens;
  let personal: FapiTokens;
  beforeAll(async () => {
    world = await startFapiWorld();
    node = await world.secondNode();
    api = await startApi({ issuer: world.issuer, resource: PHOTOS, token: { kind: 'jwt' }, bindings: ['dpop'] });
    theirs = await proofKey();
    photos = await tokensFor(world, world.app, { fields: { scope: 'photos.read' } });
    personal = await tokensFor(world, world.app, { fields: { scope: 'openid' } });
  });
  afterAll(async () => {
    await api.close();
    await node.close();
    await world.close();
  });

  const proof = (key: ProofKey, path: string, options: ProofOptions) =>
    proofFor({ issuer: PHOTOS, clock: world.clock }, key, ['GET', path], options);
  const atApi = async (headers: Record<string, string>, path = '/photos') =>
    (await api.ask('GET', path, headers)).status;

  it('A5-1 AZ: a token without its key opens nothing, neither the API nor userinfo', async () => {
    const token = photos.access_token;
    const good = await proof(world.app.proof, '/photos', { accessToken: token });
    expect(await atApi({ authorization: `DPoP ${token}`, dpop: good })).toBe(200);
    const byOther = await proof(theirs, '/photos', { accessToken: token });
    for (const headers of [
      { authorization: `Bearer ${token}` },
      { authorization: `DPoP ${token}` },
      { authorization: `DPoP ${token}`, dpop: byOther },
      { authorization: `Bearer ${token}`, dpop: byOther },
    ])
      expect(await atApi(headers)).toBe(401);

    const own = personal.access_token;
    expect((await userinfoAs(world, own, world.app.proof)).status).toBe(200);
    expect((await userinfoAs(world, own, theirs)).status).toBe(401);
    for (const authorization of [`Bearer ${own}`, `DPoP ${own}`])
      expect((await userinfoWith(world, { authorization })).status).toBe(401);
  });

  it('A5-2 AZ: a token with the proof that was logged beside it is not taken again, here or on another node', async () => {
    const token = photos.access_token;
    const logged = {
      authorization: `DPoP ${token}`,
      dpop: await proof(world.app.proof, '/photos', { accessToken: token }),
    };
    expect([await atApi(logged), await atApi(logged)]).toEqual([200, 401]);

    const own = personal.access_token;
    const dpop = await proofFor(world, world.app.proof, ['GET', '/userinfo'], { accessToken: own });
    const headers = { authorization: `DPoP ${own}`, dpop };
    expect((await userinfoWith(world, headers)).status).toBe(200);
    for (const origin of [world.issuer, node.running.address]) {
      const response = await fetch(`${origin}/userinfo`, { headers });
      expect([response.status, await response.text()]).toEqual([401, expect.stringContaining('invalid_dpop_proof')]);
    }
  });

  it('A5-2 AZ: nor for another address, method or token, nor later', async () => {
    const token = photos.access_token;
    const authorization = `DPoP ${token}`;
    const unused = (options: ProofOptions = {}) =>
      proof(world.app.proof, '/photos', { accessToken: token, ...options });
    expect(await atApi({ authorization, dpop: await unused() }, '/me')).toBe(401);
    const posted = await api.ask('POST', '/photos', { authorization, dpop: await unused() });
    expect(posted.status).toBe(401);
    const other = await unused({ accessToken: personal.access_token });
    expect(await atApi({ authorization, dpop: other })).toBe(401);
    const old = Math.floor(Date.now() / 1000) - 600;
    expect(await atApi({ authorization, dpop: await unused({ claims: { iat: old } }) })).toBe(401);
    // The same of userinfo, for a request that never arrived.
    const own = personal.access_token;
    const late = await proofFor(world, world.app.proof, ['GET', '/userinfo'], { accessToken: own });
    world.clock.advance(120);
    expect((await userinfoWith(world, { authorization: `DPoP ${own}`, dpop: late })).status).toBe(401);
    expect((await userinfoAs(world, own, world.app.proof)).status).toBe(200);
    world.clock.advance(-120);
  });

  it('A5-2 AZ: an API that asks sees whose key it must be', async () => {
    const { access_token } = await tokensFor(world, world.app, { fields: { scope: 'storage.read' } });
    const { cnf, token_type, aud } = await introspectAs(world, world.photosApi, access_token);
    expect([cnf, token_type, aud]).toEqual([{ jkt: world.app.proof.jkt }, 'DPoP', STORAGE]);
  });

  it('A5-4 AZ: a token is nothing to exchange: by no grant, and to no other client', async () => {
    const token = photos.access_token;
    const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
    const api = await world.fapiClient('another-api', { grant_types: [exchange], redirect_uris: [] });
    // Even an API that may exchange is neither who this token is for nor who holds it: it gets what garbage gets.
    for (const [client, refusal] of [
      [world.evil, 'unauthorized_client'],
      [world.app, 'unauthorized_client'],
      [api, 'invalid_request'],
    ] as const) {
      const asked = (subject_token: string) =>
        askTokens(world, client, {
          grant_type: exchange,
          subject_token,
          subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
          resource: PHOTOS,
        });
      const { status, json, text } = await asked(token);
      expect([status, json.error]).toEqual([400, refusal]);
      expect(text).toBe((await asked('garbage')).text);
    }
    for (const grant_type of ['authorization_code', 'refresh_token']) {
      const given = { grant_type, code: token, refresh_token: token, code_verifier: pkce().verifier };
      const { status, json } = await askTokens(world, world.evil, given);
      expect([status, json.error]).toEqual([400, 'invalid_grant']);
    }
    expect(await introspectAs(world, world.evil, token)).toEqual({ active: false });
  });
});

describe('A5, tokens bound to a certificate', () => {
  let world: MtlsWorld;
  let own: CertificateFiles;
  beforeAll(async () => {
    world = await startMtlsWorld('shared', { GATEHOUSE_PROFILE: 'fapi2-security' });
    own = await world.issued();
    await world.client({
      client_id: 'app',
      redirect_uris: [CALLBACK],
      token_endpoint_auth_method: 'tls_client_auth',
      tls_client_auth_subject_dn: 'CN=app,O=Example,C=DE',
      tls_client_certificate_bound_access_tokens: true,
      scope: 'openid things.read',
    });
  });
  afterAll(() => world.close());

  it('A5-3 AZ: a token is for its certificate, whatever connection it was read from', async () => {
    const { verifier, challenge } = pkce();
    const asked = { client_id: 'app', response_type: 'code', redirect_uri: CALLBACK, scope: 'openid' };
    const challenged = { ...asked, code_challenge: challenge, code_challenge_method: 'S256' };
    const pushed = await world.post('/par', challenged, own);
    const browser = new TestBrowser(world, world.fetchAs());
    const page = await goThrough(browser, pushedPath(String(pushed.json.request_uri), 'app'));
    const code = responseOf(page).get('code') ?? '';
    const redeemed = { client_id: 'app', grant_type: 'authorization_code', code, code_verifier: verifier };
    const { json } = await world.post('/token', { ...redeemed, redirect_uri: CALLBACK }, own);
    const token = json.access_token;
    expect((await world.userinfo(token, own)).status).toBe(200);
    // Another one of the same name by the same authority, one of nobody, and none.
    for (const certificate of [await world.issued(), await world.selfSigned(), undefined])
      expect((await world.userinfo(token, certificate)).status).toBe(401);
  });
});
