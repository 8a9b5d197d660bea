/**
 * JWTs as authorization grants: RFC 7523 §2.1, §3, §3.1 and RFC 7521 §4.1, §5.2, as the revision (rfc7523bis), ID-JAG and the profile of the
 * client narrow them. For JWTs that authenticate clients see rfc7523.test.ts.
 */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JWT_BEARER } from '../../src/protocol/exchanges.ts';
import { type ClientKey, clientKey, rawJws } from '../support/client-key.ts';
import { type FapiClient, type FapiWorld, PHOTOS, STORAGE, sendAs, startFapiWorld } from '../support/fapi-world.ts';
import { type ProofKey, proofFor, proofKey } from '../support/proof-key.ts';
import { exchangePolicy, grantClaims, now as nowOf, PARTNER, trustDomain } from '../support/trust-world.ts';

describe.each(['oauth21', 'fapi2-security'])('RFC 7523 §2.1 under %s', (profile) => {
  const isStrict = profile !== 'oauth21';
  let world: FapiWorld;
  let partner: ClientKey;
  let courier: FapiClient;
  beforeAll(async () => {
    world = await startFapiWorld(profile);
    partner = await clientKey('ES256', 'partner-key');
    const rs = await clientKey('RS256', 'rsa-key');
    await trustDomain(world, { issuer: PARTNER, name: 'Partner', jwks: { keys: [partner.jwk, rs.jwk] } });
    rsa = rs;
    courier = await world.fapiClient('courier', { grant_types: [JWT_BEARER], redirect_uris: [], scope: undefined });
    const policy = { client: courier.id, source: PARTNER, scopes: { '*': ['storage.read'] } };
    await exchangePolicy(world, { ...policy, name: 'partner-storage', target: STORAGE });
  });
  let rsa: ClientKey;
  afterAll(() => world.close());

  const now = () => nowOf(world);
  interface Bringing {
    readonly fields?: Record<string, string | undefined>;
    readonly proof?: ProofKey;
    readonly key?: ClientKey;
  }
  const bring = async (assertion: string | undefined, { fields, proof = courier.proof }: Bringing = {}) =>
    sendAs(
      world,
      courier,
      '/token',
      { grant_type: JWT_BEARER, assertion, ...fields },
      { dpop: await proofFor(world, proof, ['POST', '/token']) },
    );
  const outcomeOf = async (
    changes: Record<string, unknown> = {},
    header: Record<string, unknown> = {},
    { key = partner, ...bringing }: Bringing = {},
  ) => {
    const { status, json } = await bring(await key.sign(grantClaims(world, changes), header), bringing);
    return status === 200 ? 'taken' : json.error;
  };

  it('§2.1, RFC 7521 §4.1: grant_type and assertion give an access token, and no refresh token', async () => {
    const { status, json } = await bring(await partner.sign(grantClaims(world)));
    expect([status, Object.keys(json).sort()]).toEqual([200, ['access_token', 'expires_in', 'scope', 'token_type']]);
  });

  it('RFC 7521 §4.1: scope is optional, and within what the grant gives', async () => {
    expect(await outcomeOf({}, {}, { fields: { scope: 'storage.read' } })).toBe('taken');
    expect(await outcomeOf({}, {}, { fields: { scope: 'photos.read' } })).toBe('invalid_scope');
  });

  it('RFC 7521 §4.1: client_id is not needed, and names the client that authenticates', async () => {
    expect(await outcomeOf({}, {}, { fields: { client_id: 'courier' } })).toBe('taken');
    expect(await outcomeOf({}, {}, { fields: { client_id: 'evil' } })).toBe('invalid_client');
  });

  it('RFC 7521 §4.1.1: an assertion that is not good is invalid_grant; without one the request is not', async () => {
    expect((await bring('x.y.z')).json).toEqual({
      error: 'invalid_grant',
      error_description: 'The assertion is not good.',
    });
    expect((await bring(undefined)).json.error).toBe('invalid_request');
  });

  it('§3-1: iss names who issued it, compared as a string', async () => {
    for (const iss of [undefined, '', `${PARTNER}/`, 'https://other.example', world.issuer, [PARTNER]])
      expect(await outcomeOf({ iss })).toBe('invalid_grant');
  });

  it('§3-2A: sub names whom it speaks of', async () => {
    for (const sub of [undefined, '', 7, ['carol']]) expect(await outcomeOf({ sub })).toBe('invalid_grant');
  });

  it('§3-3, rfc7523bis §4: aud is the issuer, and nobody else', async () => {
    expect(await outcomeOf({ aud: world.issuer })).toBe('taken');
    const others = [undefined, `${world.issuer}/token`, 'https://other.example', [], [world.issuer, PHOTOS]];
    for (const aud of others) expect(await outcomeOf({ aud })).toBe('invalid_grant');
  });

  it(`rfc7523bis §4: a list of the issuer alone is ${isStrict ? 'not ' : ''}taken`, async () => {
    expect(await outcomeOf({ aud: [world.issuer] })).toBe(isStrict ? 'invalid_grant' : 'taken');
  });

  it('§3-4: exp is there, to come, and near', async () => {
    for (const exp of [now() + 2, now() + 590]) expect(await outcomeOf({ exp })).toBe('taken');
    for (const exp of [undefined, now(), now() - 1, now() + 700, '9999999999'])
      expect(await outcomeOf({ exp })).toBe('invalid_grant');
  });

  it('§3-5: nbf is held to', async () => {
    for (const nbf of [now() - 5, now() + 10]) expect(await outcomeOf({ nbf })).toBe('taken');
    expect(await outcomeOf({ nbf: now() + 61, exp: now() + 120 })).toBe('invalid_grant');
  });

  it('§3-6: iat is optional, and neither in the future nor long ago', async () => {
    for (const iat of [undefined, now() - 60, now() + 10]) expect(await outcomeOf({ iat })).toBe('taken');
    for (const iat of [now() + 61, now() - 700])
      expect(await outcomeOf({ iat, exp: now() + 90 })).toBe('invalid_grant');
  });

  it('§3-7: jti is there, and good once', async () => {
    expect(await outcomeOf({ jti: undefined })).toBe('invalid_grant');
    const jti = randomUUID();
    expect([await outcomeOf({ jti }), await outcomeOf({ jti })]).toEqual(['taken', 'invalid_grant']);
  });

  it('§3-8: other claims are ignored', async () => {
    expect(await outcomeOf({ nonce: 'x', azp: 'evil', email: 'carol@partner.example', events: 7 })).toBe('taken');
  });

  it('§3-9: it is signed, with a key of its issuer', async () => {
    expect((await bring(rawJws({ alg: 'none' }, grantClaims(world)))).json.error).toBe('invalid_grant');
    expect(await outcomeOf({}, {}, { key: await clientKey('ES256', 'partner-key') })).toBe('invalid_grant');
  });

  it(`§3-9, FAPI 2.0 SP §5.4.1: RS256 is ${isStrict ? 'not ' : ''}taken`, async () => {
    expect(await outcomeOf({}, {}, { key: rsa })).toBe(isStrict ? 'invalid_grant' : 'taken');
  });

  it('§3-10, rfc7523bis, RFC 8725 §3.11: its typ is none, JWT, or that of a grant', async () => {
    for (const typ of [undefined, 'JWT', 'authorization-grant+jwt', 'application/authorization-grant+jwt'])
      expect(await outcomeOf({}, { typ })).toBe('taken');
    for (const typ of ['at+jwt', 'client-authentication+jwt', 'dpop+jwt', 'logout+jwt'])
      expect(await outcomeOf({}, { typ })).toBe('invalid_grant');
  });

  it('ID-JAG §4.4.1: client_id of an oauth-id-jag+jwt is the client that authenticates; else it is who asked elsewhere', async () => {
    const typ = 'oauth-id-jag+jwt';
    expect(await outcomeOf({ client_id: 'courier' }, { typ })).toBe('taken');
    for (const client_id of [undefined, 'evil']) expect(await outcomeOf({ client_id }, { typ })).toBe('invalid_grant');
    expect(await outcomeOf({ client_id: 'evil' }, { typ: 'authorization-grant+jwt' })).toBe('taken');
  });

  it('RFC 7800 §3.1: with cnf, whoever brings it holds that key', async () => {
    const cnf = { jkt: courier.proof.jkt };
    expect(await outcomeOf({ cnf })).toBe('taken');
    expect(await outcomeOf({ cnf }, {}, { proof: await proofKey() })).toBe('invalid_grant');
  });

  it('RFC 8707 §2.2: resource names the API, and is one that is open', async () => {
    expect(await outcomeOf({}, {}, { fields: { resource: STORAGE } })).toBe('taken');
    expect(await outcomeOf({}, {}, { fields: { resource: PHOTOS } })).toBe('invalid_target');
  });

  it('RFC 9449 §5: what it gives is bound to the proof that came with it', async () => {
    const { json } = await bring(await partner.sign(grantClaims(world)));
    expect(json.token_type).toBe('DPoP');
  });
});
