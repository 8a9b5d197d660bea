/** JWTs for client authentication: RFC 7523 and RFC 7521 §4.2, as the revision (rfc7523bis) and FAPI 2.0 narrow them. */
import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rawJws } from '../support/client-key.ts';
import {
  assertionClaims,
  assertionOf,
  type FapiWorld,
  pushAs,
  type Sending,
  seconds,
  sendAs,
  startFapiWorld,
} from '../support/fapi-world.ts';

describe.each(['oauth21', 'fapi2-security'])('RFC 7523 under %s', (profile) => {
  let world: FapiWorld;
  beforeAll(async () => {
    world = await startFapiWorld(profile);
  });
  afterAll(() => world.close());

  const statusOf = async (changes: Record<string, unknown> = {}, header: Record<string, unknown> = {}) => {
    const assertion = await assertionOf(world, world.app, changes, header);
    const { status, json } = await sendAs(world, world.app, '/revoke', { token: 'x' }, { assertion });
    expect(json.error).toBe(status === 200 ? undefined : 'invalid_client');
    return status;
  };
  const now = () => seconds(world);

  it('§2.2: client_assertion_type and client_assertion authenticate a client at every endpoint for clients', async () => {
    expect((await pushAs(world, world.app)).status).toBe(201);
    for (const path of ['/revoke', '/token_info', '/introspect'])
      expect((await sendAs(world, world.app, path, { token: 'x' })).status).toBe(200);
    const { json } = await sendAs(world, world.app, '/token', { grant_type: 'authorization_code', code: 'x' });
    expect(json.error).not.toBe('invalid_client');
  });

  it('§2.2, RFC 7521 §4.2: the type is this one, and the assertion a single JWT', async () => {
    for (const fields of [
      { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' },
      { client_assertion_type: undefined },
      { client_assertion: undefined },
      { client_assertion: 'a.b.c d.e.f' },
    ]) {
      const { status, json } = await sendAs(world, world.app, '/revoke', { token: 'x', ...fields });
      expect([status, json.error]).toEqual([401, 'invalid_client']);
    }
  });

  it('RFC 7521 §4.2: client_id is optional, and names the client of the assertion', async () => {
    for (const [client_id, expected] of [
      [undefined, 200],
      ['app', 200],
      ['evil', 401],
      ['nobody', 401],
    ] as const)
      expect((await sendAs(world, world.app, '/revoke', { token: 'x', client_id })).status).toBe(expected);
  });

  it('§3-1: iss is the client', async () => {
    for (const iss of [undefined, 'evil', world.issuer, ['app']]) expect(await statusOf({ iss })).toBe(401);
  });

  it('§3-2B: sub is the client', async () => {
    for (const sub of [undefined, 'evil', world.alice, ['app']]) expect(await statusOf({ sub })).toBe(401);
  });

  it('§3-3, rfc7523bis §4: aud is the issuer, and nobody else', async () => {
    expect(await statusOf({ aud: world.issuer })).toBe(200);
    const wrong = [undefined, `${world.issuer}/revoke`, `${world.issuer}/token`, 'https://other.example', []];
    for (const aud of [...wrong, [world.issuer, 'https://other.example']]) expect(await statusOf({ aud })).toBe(401);
  });

  it(`rfc7523bis §4, FAPI 2.0 SP §5.3.2.1-8: a list of the issuer alone is ${profile === 'oauth21' ? '' : 'not '}taken`, async () => {
    expect(await statusOf({ aud: [world.issuer] })).toBe(profile === 'oauth21' ? 200 : 401);
  });

  it('§3-4: exp is there, and to come, and not unreasonably far', async () => {
    for (const exp of [now() + 2, now() + 300]) expect(await statusOf({ exp })).toBe(200);
    for (const exp of [undefined, now(), now() - 300, now() + 3600, '9999999999', null, 1e300])
      expect(await statusOf({ exp })).toBe(401);
  });

  it('§3-5, FAPI 2.0 SP §5.3.2.1-13: nbf is held to, with ten seconds for a clock that is ahead and no minute', async () => {
    for (const nbf of [now() - 5, now() + 10]) expect(await statusOf({ nbf })).toBe(200);
    for (const nbf of [now() + 61, 'x']) expect(await statusOf({ nbf, exp: now() + 120 })).toBe(401);
  });

  it('§3-6, FAPI 2.0 SP §5.3.2.1-13: iat is held to as well, and not long ago', async () => {
    for (const iat of [undefined, now() - 60, now() + 10]) expect(await statusOf({ iat })).toBe(200);
    for (const iat of [now() + 61, now() - 3600, 'x']) expect(await statusOf({ iat, exp: now() + 120 })).toBe(401);
  });

  it('§3-7, OpenID Connect Core §9: jti is there, and good once', async () => {
    for (const jti of [undefined, '', 5]) expect(await statusOf({ jti })).toBe(401);
    const jti = randomUUID();
    expect([await statusOf({ jti }), await statusOf({ jti })]).toEqual([200, 401]);
  });

  it('§3-8: other claims are ignored', async () => {
    expect(await statusOf({ scope: 'everything', nonce: 'x', azp: 'evil' })).toBe(200);
  });

  it('§3-9: it is signed, with a key of the client', async () => {
    const send = async (sending: Sending) =>
      (await sendAs(world, world.app, '/revoke', { token: 'x' }, sending)).status;
    expect(await send({ assertion: rawJws({ alg: 'none' }, assertionClaims(world, world.app)) })).toBe(401);
    expect(await send({ assertion: await world.evil.key.sign(assertionClaims(world, world.app)) })).toBe(401);
  });

  it('§3-10: it is a JWT of this kind: without typ, as JWT, or as client-authentication+jwt (rfc7523bis)', async () => {
    for (const typ of [undefined, 'JWT', 'jwt', 'client-authentication+jwt', 'application/client-authentication+jwt'])
      expect(await statusOf({}, { typ })).toBe(200);
    for (const typ of ['at+jwt', 'dpop+jwt', 'oauth-authz-req+jwt', 'logout+jwt'])
      expect(await statusOf({}, { typ })).toBe(401);
  });

  it('§3.2: a refusal is invalid_client, in JSON, and says nothing of the reason', async () => {
    const assertion = await assertionOf(world, world.app, { aud: 'x' });
    const { status, json, headers } = await sendAs(world, world.app, '/revoke', { token: 'x' }, { assertion });
    expect([status, json]).toEqual([
      401,
      { error: 'invalid_client', error_description: 'Client authentication failed.' },
    ]);
    expect(headers.get('cache-control')).toContain('no-store');
  });
});
