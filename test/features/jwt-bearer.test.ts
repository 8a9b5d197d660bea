/** The room of JWT authorization grants: another domain's word becomes a token for an API, by a policy, with its story. */
import { randomUUID } from 'node:crypto';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JWT_BEARER, TOKEN_EXCHANGE } from '../../src/protocol/exchanges.ts';
import { query, tally } from '../support/attack-aftermath.ts';
import { post } from '../support/browser.ts';
import {
  exchangePolicy,
  grantOf,
  now,
  PARTNER,
  present,
  RIVAL,
  startTrustWorld,
  stepsOf,
  type TrustWorld,
} from '../support/trust-world.ts';
import { introspect, PHOTOS, STORAGE } from '../support/world.ts';

let world: TrustWorld;
beforeAll(async () => {
  world = await startTrustWorld();
});
afterAll(() => world.close());

const CAROL = `${PARTNER}|carol`;
const outcome = ({ status, json }: { status: number; json: Record<string, unknown> }) => [status, json.error];

describe('a JWT authorization grant', () => {
  it('gives an opaque token for an API that takes those, without refresh token or ID token', async () => {
    const jti = randomUUID();
    const before = await tally(world);
    const { status, json, headers } = await present(world, await grantOf(world, { jti }));
    expect([status, json]).toEqual([
      200,
      {
        access_token: expect.stringMatching(/^gate_ex_/),
        token_type: 'Bearer',
        expires_in: 300,
        scope: 'storage.read',
      },
    ]);
    expect(headers.get('cache-control')).toContain('no-store');
    expect(await tally(world)).toEqual(before);
    expect(await introspect(world, String(json.access_token), world.storageApi)).toEqual({
      active: true,
      iss: world.issuer,
      sub: CAROL,
      aud: STORAGE,
      client_id: 'courier',
      scope: 'storage.read',
      token_type: 'Bearer',
      iat: expect.any(Number),
      exp: expect.any(Number),
      jti: expect.any(String),
      txn: jti,
      act: { sub: 'courier' },
      origin: {
        iss: PARTNER,
        client_id: PARTNER,
        sub: 'carol',
        jti,
        iat: expect.any(Number),
        grant_type: JWT_BEARER,
      },
    });
  });

  it('gives a JWT for an API that takes those, which says the same and stands at introspection', async () => {
    const assertion = await grantOf(world, { txn: 'call-17', client_id: 'mailer' });
    const { json } = await present(world, assertion, { resource: PHOTOS });
    expect(json).toMatchObject({ scope: 'photos.read', expires_in: 120 });
    const claims = decodeJwt(String(json.access_token));
    expect(claims).toMatchObject({
      iss: world.issuer,
      sub: CAROL,
      aud: PHOTOS,
      client_id: 'courier',
      scope: 'photos.read',
      txn: 'call-17',
      act: { sub: 'courier' },
      origin: { iss: PARTNER, client_id: 'mailer', sub: 'carol' },
    });
    expect(claims.exp).toBe(Number(claims.iat) + 120);
    expect(await introspect(world, String(json.access_token))).toMatchObject({
      active: true,
      sub: CAROL,
      txn: 'call-17',
    });
  });

  it('is recorded as a step of a call, with where it came from', async () => {
    const txn = randomUUID();
    const act = { sub: 'mailer', act: { sub: 'gateway', iss: 'https://edge.example' } };
    const signedIn = { auth_time: now(world) - 30, acr: 'urn:partner:mfa', amr: ['pwd', 'otp'] };
    const assertion = await grantOf(world, { txn, act, jti: 'grant-1', ...signedIn });
    const { json } = await present(world, assertion);
    expect(await stepsOf(world, txn)).toEqual([
      {
        id: expect.any(String),
        txn,
        parent: 'grant-1',
        client_id: 'courier',
        subject: CAROL,
        hops: [expect.objectContaining({ client: 'courier', target: STORAGE, policy: 'partner-storage' })],
        // Whoever acted there keeps that domain's name.
        act: {
          sub: 'courier',
          act: { sub: 'mailer', iss: PARTNER, act: { sub: 'gateway', iss: 'https://edge.example' } },
        },
        origin: expect.objectContaining({ iss: PARTNER, jti: 'grant-1' }),
        authentication: { time: signedIn.auth_time, acr: 'urn:partner:mfa', amr: ['pwd', 'otp'] },
        policy: 'partner-storage',
        source: PARTNER,
        target: STORAGE,
        scope: ['storage.read'],
        refused: null,
        times: 1,
      },
    ]);
    expect(await introspect(world, String(json.access_token), world.storageApi)).toMatchObject(signedIn);
  });

  it('keeps the origin that the other domain says, and adds whose it is where it does not', async () => {
    const origin = {
      client_id: 'shop',
      sub: 'carol',
      jti: 'first',
      iat: 1_700_000_000,
      grant_type: 'authorization_code',
    };
    const originOf = async (said: unknown) => {
      const { json } = await present(world, await grantOf(world, { origin: said }));
      return (await introspect(world, String(json.access_token), world.storageApi)).origin;
    };
    expect(await originOf(origin)).toEqual({ ...origin, iss: PARTNER });
    expect(await originOf({ ...origin, iss: 'https://third.example' })).toEqual({
      ...origin,
      iss: 'https://third.example',
    });
    // What another vendor calls so is not ours to read.
    for (const other of ['https://app.example', 7, { client_id: 'shop' }, { ...origin, jti: 'a\u0000b' }])
      expect(await originOf(other)).toMatchObject({ iss: PARTNER, grant_type: expect.stringContaining('jwt-bearer') });
  });

  it('takes the place of who acts under impersonation: who acted before stays', async () => {
    const ghost = await world.client({
      client_id: 'ghost',
      grant_types: [JWT_BEARER],
    });
    await exchangePolicy(world, {
      name: 'ghost-storage',
      client: 'ghost',
      source: PARTNER,
      target: STORAGE,
      scopes: { '*': ['storage.read'] },
      mode: 'impersonation',
    });
    const actOf = async (act?: unknown) => {
      const { json } = await present(world, await grantOf(world, { act, scope: undefined }), {}, { as: ghost });
      return (await introspect(world, String(json.access_token), world.storageApi)).act;
    };
    expect(await actOf()).toBeUndefined();
    expect(await actOf({ sub: 'mailer' })).toEqual({ sub: 'mailer', iss: PARTNER });
  });

  describe('its target', () => {
    it('is what resource or audience names, where a policy leads', async () => {
      for (const fields of [
        { resource: STORAGE },
        { resource: '', audience: STORAGE },
        { resource: STORAGE, audience: STORAGE },
      ])
        expect((await present(world, await grantOf(world), fields)).json.scope).toBe('storage.read');
    });

    it.each<[string, Record<string, string>]>([
      ['not named where policies lead to several', { resource: '' }],
      ['two', { resource: STORAGE, audience: PHOTOS }],
      ['unknown', { resource: 'https://nowhere.example' }],
      ['the issuer', { resource: PARTNER }],
    ])('is refused when it is %s', async (_what, fields) => {
      expect(outcome(await present(world, await grantOf(world), fields))).toEqual([400, 'invalid_target']);
    });

    it('needs no name where one policy leads to one', async () => {
      const runner = await world.client({
        client_id: 'runner',
        grant_types: [JWT_BEARER],
      });
      const policy = { client: 'runner', target: STORAGE, scopes: { '*': ['storage.read'] } };
      await exchangePolicy(world, { ...policy, name: 'runner-partner', source: PARTNER });
      await exchangePolicy(world, {
        ...policy,
        name: 'runner-rival',
        source: RIVAL,
        target: PHOTOS,
        scopes: { '*': ['photos.read'] },
      });
      const { json } = await present(world, await grantOf(world), { resource: '' }, { as: runner });
      expect(json).toMatchObject({ scope: 'storage.read' });
    });

    it('is within what the assertion itself is limited to', async () => {
      const one = await grantOf(world, { resource: STORAGE });
      expect((await present(world, one, { resource: '' })).json.scope).toBe('storage.read');
      const both = await grantOf(world, { resource: [STORAGE, PHOTOS] });
      expect((await present(world, both, { resource: PHOTOS })).json.scope).toBe('photos.read');
      const other = await grantOf(world, { resource: [PHOTOS] });
      expect(outcome(await present(world, other))).toEqual([400, 'invalid_target']);
    });

    it('is no other domain: from here there is no grant for one', async () => {
      const grant_types = [JWT_BEARER, TOKEN_EXCHANGE];
      const relay = await world.client({ client_id: 'relay', grant_types });
      const policy = { client: 'relay', source: PARTNER, target: RIVAL, scopes: { '*': ['x'] } };
      await exchangePolicy(world, { ...policy, name: 'relay-rival' });
      const answer = await present(world, await grantOf(world), { resource: RIVAL }, { as: relay });
      expect(outcome(answer)).toEqual([400, 'invalid_target']);
    });
  });

  describe('its scope', () => {
    it('is what the policy gives to what the assertion has', async () => {
      const scopeOf = async (scope: string | undefined, fields: Record<string, string> = {}) =>
        outcomeOrScope(await present(world, await grantOf(world, { scope }), { resource: PHOTOS, ...fields }));
      expect(await scopeOf('pictures.read pictures.write')).toBe('photos.read photos.write');
      expect(await scopeOf('pictures.read pictures.write', { scope: 'photos.write' })).toBe('photos.write');
      expect(await scopeOf('pictures.read other')).toBe('photos.read');
      expect(await scopeOf('other')).toBe('invalid_scope');
      expect(await scopeOf(undefined)).toBe('invalid_scope');
      expect(await scopeOf('pictures.read', { scope: 'photos.write' })).toBe('invalid_scope');
      expect(await scopeOf('pictures.read', { scope: 'pictures.read' })).toBe('invalid_scope');
      expect(await scopeOf('pictures.read', { scope: 'photos.read storage.read' })).toBe('invalid_scope');
      expect(await scopeOf('pictures.read', { scope: 'photos."read"' })).toBe('invalid_scope');
    });
  });

  it('needs a policy of this client', async () => {
    const stranger = await world.client({
      client_id: 'stranger',
      grant_types: [JWT_BEARER],
    });
    expect(outcome(await present(world, await grantOf(world), {}, { as: stranger }))).toEqual([
      400,
      'unauthorized_client',
    ]);
  });

  it('is for clients that are registered for it', async () => {
    expect(outcome(await present(world, await grantOf(world), {}, { as: world.batch }))).toEqual([
      400,
      'unauthorized_client',
    ]);
  });

  it('refused by a rule is a step of its call, and is not used up', async () => {
    const txn = randomUUID();
    const assertion = await grantOf(world, { txn });
    for (let time = 0; time < 3; time += 1)
      expect(outcome(await present(world, assertion, { scope: 'photos.read' }))).toEqual([400, 'invalid_scope']);
    expect((await present(world, assertion)).status).toBe(200);
    expect(
      (await stepsOf(world, txn)).map(({ refused, times, target, policy }) => [refused, times, target, policy]),
    ).toEqual(
      expect.arrayContaining([
        ['scope', 3, STORAGE, null],
        [null, 1, STORAGE, 'partner-storage'],
      ]),
    );
  });

  it('gives tokens that end with their policy, and when they are revoked', async () => {
    const temporary = { name: 'temporary', client: 'batch-courier', source: PARTNER, target: STORAGE };
    const client = await world.client({
      client_id: 'batch-courier',
      grant_types: [JWT_BEARER],
    });
    await exchangePolicy(world, { ...temporary, scopes: { '*': ['storage.read'] } });
    const tokenOf = async () =>
      String((await present(world, await grantOf(world), {}, { as: client })).json.access_token);
    const [first, second] = [await tokenOf(), await tokenOf()];
    const isActive = async (token: string) => (await introspect(world, token, world.storageApi)).active;
    expect([await isActive(first), await isActive(second)]).toEqual([true, true]);
    await post(`${world.issuer}/revoke`, { token: first }, { basic: client });
    expect([await isActive(first), await isActive(second)]).toEqual([false, true]);
    await query(world, "DELETE FROM exchange_policies WHERE name = 'temporary'");
    await query(world, 'UPDATE catalogue SET version = version + 1');
    await expect.poll(() => isActive(second), { timeout: 5000 }).toBe(false);
  });

  it('lives as long as the policy says, not as its assertion', async () => {
    const { json } = await present(world, await grantOf(world, { exp: now(world) + 5 }));
    expect(json.expires_in).toBe(300);
  });

  it('costs one round trip', async () => {
    const trips = await world.roundTripsOf(
      () => grantOf(world),
      (assertion) => present(world, assertion),
    );
    expect(trips).toBe(1);
  });
});

describe('registration', () => {
  it('is not for public clients', async () => {
    await expect(
      world.client({
        client_id: 'public',
        token_endpoint_auth_method: 'none',
        grant_types: [JWT_BEARER],
      }),
    ).rejects.toThrow(/needs a client that authenticates/);
  });

  it('is announced', async () => {
    const answer = await fetch(`${world.issuer}/.well-known/oauth-authorization-server`);
    const metadata = (await answer.json()) as { grant_types_supported: string[] };
    expect(metadata.grant_types_supported).toContain(JWT_BEARER);
  });
});

function outcomeOrScope({ json }: { json: Record<string, unknown> }) {
  return json.error ?? json.scope;
}
