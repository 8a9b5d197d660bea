/**
 * Two Gatehouses, two databases, one call (draft-ietf-oauth-identity-chaining): alice's web app calls the photos API of domain A, which needs
 * something of the storage API of domain B, which asks its archive. Each API is told the whole story, and nobody's secrets left home.
 */
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { drawTrees } from '../../src/cli/call-drawing.ts';
import { growTrees } from '../../src/operator/call-tree.ts';
import { findCalls, readClue } from '../../src/operator/calls.ts';
import { JWT_BEARER } from '../../src/protocol/exchanges.ts';
import { query } from '../support/attack-aftermath.ts';
import { post } from '../support/browser.ts';
import {
  ARCHIVE,
  appTokens,
  type ExchangeWorld,
  exchange,
  introspected,
  type SecretClient,
  startExchangeWorld,
  step,
  webTokens,
} from '../support/exchange-world.ts';
import { type FapiClient, sendAs } from '../support/fapi-world.ts';
import { type ProofKey, proofFor, proofKey } from '../support/proof-key.ts';
import { stepsOf } from '../support/trust-world.ts';
import { PHOTOS, STORAGE } from '../support/world.ts';

let a: ExchangeWorld;
let b: ExchangeWorld;
/** What domain A's photos API is called at domain B, with a secret and with its key. */
let visitor: SecretClient;
let keyedVisitor: FapiClient;

beforeAll(async () => {
  a = await startExchangeWorld();
  b = await startExchangeWorld({ env: { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' } });
  await a.trustDomain({ issuer: b.issuer, jwks: await (await fetch(`${b.issuer}/jwks`)).json() });
  await b.trustDomain({ issuer: a.issuer, jwks_uri: `${a.issuer}/jwks` });
  for (const client of ['photos-api', 'photos-keyed']) {
    const scopes = { 'photos.read': ['files.read'] };
    await a.policy({ name: `${client}-to-b`, client, source: PHOTOS, target: b.issuer, scopes });
  }
  visitor = await b.client({ client_id: 'visitor', client_name: 'Photos of A', grant_types: [JWT_BEARER] });
  const { key, proof, redirectUri } = a.keyed.photos;
  keyedVisitor = { id: 'keyed-visitor', key, proof, redirectUri };
  await b.client({
    client_id: keyedVisitor.id,
    client_name: 'Photos of A, with its key',
    grant_types: [JWT_BEARER],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [key.jwk] },
  });
  for (const client of [visitor.id, keyedVisitor.id]) {
    const scopes = { 'files.read': ['storage.read'] };
    await b.policy({ name: `${client}-from-a`, client, source: a.issuer, target: STORAGE, scopes });
  }
});
afterAll(async () => {
  await b.close();
  await a.close();
});

const redeemAt = (world: ExchangeWorld, assertion: string, fields: Record<string, string> = {}) =>
  post(`${world.issuer}/token`, { grant_type: JWT_BEARER, assertion, ...fields }, { basic: visitor });

const forB = (fields: Record<string, string> = {}) => ({ audience: b.issuer, ...fields });

describe('a call over two domains', () => {
  it('is one call on both sides: the same txn, the first token, and everybody’s hands in between', async () => {
    const { access_token: first } = await webTokens(a);
    const beginning = decodeJwt(first);
    const txn = String(beginning.jti);

    // A: the photos API asks for a word of its own server to B.
    const granted = await exchange(a, a.apis.photos, first, forB());
    expect([granted.status, granted.json]).toEqual([
      200,
      {
        access_token: expect.any(String),
        issued_token_type: 'urn:ietf:params:oauth:token-type:jwt',
        token_type: 'N_A',
        expires_in: 60,
        scope: 'files.read',
      },
    ]);
    const grant = String(granted.json.access_token);
    expect(decodeProtectedHeader(grant).typ).toBe('authorization-grant+jwt');
    expect(decodeJwt(grant)).toMatchObject({
      iss: a.issuer,
      aud: b.issuer,
      sub: a.alice,
      client_id: 'photos-api',
      txn,
    });

    // B: under its name there, it gets a token for the storage API.
    const { status, json } = await redeemAt(b, grant);
    expect([status, json.scope, json.token_type]).toEqual([200, 'storage.read', 'Bearer']);
    const told = await introspected(b, b.apis.storage, String(json.access_token));
    const origin = {
      iss: a.issuer,
      client_id: 'web',
      sub: a.alice,
      jti: txn,
      iat: beginning.iat,
      grant_type: 'authorization_code',
    };
    expect(told).toMatchObject({
      active: true,
      iss: b.issuer,
      sub: `${a.issuer}|${a.alice}`,
      client_id: 'visitor',
      aud: STORAGE,
      txn,
      origin,
      act: { sub: 'visitor', act: { sub: 'photos-api', iss: a.issuer } },
      auth_time: beginning.auth_time,
      acr: beginning.acr,
      amr: beginning.amr,
    });

    // And on within B.
    const last = await step(b, b.apis.storage, String(json.access_token), ARCHIVE);
    expect(decodeJwt(last)).toMatchObject({
      sub: `${a.issuer}|${a.alice}`,
      txn,
      origin,
      act: { sub: 'storage-api', act: { sub: 'visitor', act: { sub: 'photos-api', iss: a.issuer } } },
      auth_time: beginning.auth_time,
    });

    // Both kept their part of it, and the grant's jti is what ties them.
    const [atA, atB] = [await stepsOf(a, txn), await stepsOf(b, txn)];
    expect(atA.map(({ client_id, source, target }) => [client_id, source, target])).toEqual([
      ['photos-api', PHOTOS, b.issuer],
    ]);
    expect(atB.map(({ client_id, source, target }) => [client_id, source, target])).toEqual([
      ['visitor', a.issuer, STORAGE],
      ['storage-api', STORAGE, ARCHIVE],
    ]);
    expect(atB[0]?.parent).toBe(atA[0]?.id);
  });

  it('is good once, at the one it is for', async () => {
    const { access_token: first } = await webTokens(a);
    const grant = await step(a, a.apis.photos, first, b.issuer);
    // A would be redeeming its own word (ID-JAG §7.3); and nobody else is its audience.
    const self = await post(`${a.issuer}/token`, { grant_type: JWT_BEARER, assertion: grant }, { basic: a.batch });
    expect(self.json.error).toBe('unauthorized_client');
    const courier = await a.client({ client_id: 'courier', grant_types: [JWT_BEARER] });
    const own = await post(`${a.issuer}/token`, { grant_type: JWT_BEARER, assertion: grant }, { basic: courier });
    expect([own.status, own.json.error]).toEqual([400, 'invalid_grant']);
    expect((await redeemAt(b, grant)).status).toBe(200);
    const again = await redeemAt(b, grant);
    expect([again.status, again.json.error]).toEqual([400, 'invalid_grant']);
  });

  it('is over before long', async () => {
    const { access_token: first } = await webTokens(a);
    const grant = await step(a, a.apis.photos, first, b.issuer);
    b.clock.advance(61);
    expect((await redeemAt(b, grant)).json.error).toBe('invalid_grant');
    b.clock.advance(-61);
    expect((await redeemAt(b, grant)).status).toBe(200);
  });

  it('is no access token, and no ID token or access token is a grant', async () => {
    const { access_token: first, id_token } = await webTokens(a);
    const grant = await step(a, a.apis.photos, first, b.issuer);
    for (const world of [a, b]) {
      const authorization = `Bearer ${grant}`;
      expect((await fetch(`${world.issuer}/userinfo`, { headers: { authorization } })).status).toBe(401);
      expect(await introspected(world, world.apis.photos, grant)).toEqual({ active: false });
    }
    for (const token of [first, id_token]) expect((await redeemAt(b, token)).json.error).toBe('invalid_grant');
  });

  it('has no more scope there than A’s policy and B’s policy give', async () => {
    const { access_token: first } = await webTokens(a);
    expect((await exchange(a, a.apis.photos, first, forB({ scope: 'files.write' }))).json.error).toBe('invalid_scope');
    const grant = await step(a, a.apis.photos, first, b.issuer);
    expect((await redeemAt(b, grant, { scope: 'storage.write' })).json.error).toBe('invalid_scope');
    expect((await redeemAt(b, grant, { resource: ARCHIVE })).json.error).toBe('invalid_target');
    expect((await stepsOf(b, String(decodeJwt(first).jti))).map(({ refused }) => refused).sort()).toEqual([
      'policy',
      'scope',
    ]);
  });

  it('is not begun once its beginning was withdrawn', async () => {
    const { access_token: first } = await webTokens(a);
    await post(`${a.issuer}/revoke`, { token: first }, { basic: a.web });
    expect((await exchange(a, a.apis.photos, first, forB())).json.error).toBe('invalid_request');
    expect(
      await query(a, 'SELECT 1 FROM exchanges WHERE txn = $1 AND refused IS NULL', [decodeJwt(first).jti]),
    ).toEqual([]);
  });

  it('bound to a key at A stays bound to it at B', async () => {
    const { access_token: first } = await appTokens(a);
    const redeemWith = async (key: ProofKey | undefined) => {
      const grant = await step(a, a.keyed.photos, first, b.issuer);
      expect(decodeJwt(grant).cnf).toEqual({ jkt: a.keyed.photos.proof.jkt });
      const dpop = key && (await proofFor(b, key, ['POST', '/token']));
      return sendAs(b, keyedVisitor, '/token', { grant_type: JWT_BEARER, assertion: grant }, { dpop });
    };
    const good = await redeemWith(keyedVisitor.proof);
    expect([good.status, good.json.token_type]).toEqual([200, 'DPoP']);
    expect((await introspected(b, b.apis.storage, String(good.json.access_token))).cnf).toEqual({
      jkt: a.keyed.photos.proof.jkt,
    });
    expect((await redeemWith(await proofKey())).json.error).toBe('invalid_grant');
    expect((await redeemWith(undefined)).json.error).toBe('invalid_grant');
  });

  it('does not come home: what began at A is A’s to tell', async () => {
    const policies = [
      ['photos-api', PHOTOS, 'photos.read'],
      ['storage-api', STORAGE, 'storage.read'],
    ] as const;
    for (const [client, source, scope] of policies) {
      const scopes = { [scope]: ['pictures.read'] };
      await b.policy({ name: `${client}-to-a`, client, source, target: a.issuer, scopes });
    }
    const returner = await a.client({ client_id: 'returner', grant_types: [JWT_BEARER] });
    const scopes = { 'pictures.read': ['photos.read'] };
    await a.policy({ name: 'from-b', client: returner.id, source: b.issuer, target: PHOTOS, scopes });
    const redeemAtA = (assertion: string) =>
      post(`${a.issuer}/token`, { grant_type: JWT_BEARER, assertion }, { basic: returner });

    const { access_token: ofB } = await webTokens(b);
    expect((await redeemAtA(await step(b, b.apis.photos, ofB, a.issuer))).status).toBe(200);

    const { access_token: ofA } = await webTokens(a);
    const { json } = await redeemAt(b, await step(a, a.apis.photos, ofA, b.issuer));
    const home = await step(b, b.apis.storage, String(json.access_token), a.issuer);
    expect(decodeJwt(home).origin).toMatchObject({ iss: a.issuer });
    expect((await redeemAtA(home)).json.error).toBe('invalid_grant');
    const logged = JSON.parse(a.log.findLast((line) => line.includes('"/token"')) ?? '{}');
    expect(logged.reason).toBe('assertion: its origin is here');
  });

  it('is drawn on both sides, from any token of it', async () => {
    const { access_token: first } = await webTokens(a);
    const grant = await step(a, a.apis.photos, first, b.issuer);
    const { json } = await redeemAt(b, grant);
    const drawn = async ({ running, clock }: ExchangeWorld, what: string) => {
      const clue = await readClue(what, running.database.sql, clock.now());
      return drawTrees(growTrees(await findCalls(clue, running.database.sql, clock.now()), clock.now()));
    };
    expect(await drawn(a, first)).toContain(b.issuer);
    const atB = await drawn(b, String(json.access_token));
    for (const part of [a.issuer, 'web', 'visitor', STORAGE]) expect(atB).toContain(part);
    expect(await drawn(b, String(decodeJwt(first).jti))).toBe(atB);
  });
});
