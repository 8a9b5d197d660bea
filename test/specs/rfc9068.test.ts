/** JWT access tokens: one test for each requirement of RFC 9068, judged with jose and the published keys. */
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { signingAlgs } from '../../src/protocol/jose.ts';
import { post } from '../support/browser.ts';
import { getCode, PHOTOS, redeem, refresh, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

describe('RFC 9068', () => {
  let world: World;
  let keys: ReturnType<typeof createRemoteJWKSet>;
  beforeAll(async () => {
    world = await startWorld();
    for (const alg of signingAlgs) {
      await world.resource({
        resource: `https://${alg.toLowerCase()}.example`,
        name: alg,
        scopes: { [`${alg}.read`]: 'Read' },
        signing_alg: alg,
      });
    }
    keys = createRemoteJWKSet(new URL(`${world.issuer}/jwks`));
  });
  afterAll(() => world.close());

  const verify = (token: string, audience = PHOTOS) =>
    jwtVerify(token, keys, { issuer: world.issuer, audience, typ: 'at+jwt' });

  async function userTokens(scope = 'openid photos.read', parameters: Record<string, string> = {}) {
    return (await redeem(world, await getCode(world, { scope, parameters }))).json;
  }
  async function clientToken(fields: Record<string, string>, client = world.batch) {
    const answer = await post(
      `${world.issuer}/token`,
      { grant_type: 'client_credentials', ...fields },
      { basic: client },
    );
    return String(answer.json.access_token);
  }

  it.each(signingAlgs)(
    '§2.1: signed with %s where the resource wants it, by a published key of that algorithm',
    async (alg) => {
      const scope = `${alg}.read`;
      const client = await world.client({ grant_types: ['client_credentials'], scope });
      const token = await clientToken({ scope }, client);
      const { protectedHeader, key } = await jwtVerify(token, keys, {
        issuer: world.issuer,
        audience: `https://${alg.toLowerCase()}.example`,
        algorithms: [alg],
      });
      expect(protectedHeader).toEqual({ alg, typ: 'at+jwt', kid: expect.any(String) });
      expect(key).toBeDefined();
    },
  );

  it('§2.1: the type says what it is, so no ID token passes for it nor it for one', async () => {
    const { access_token, id_token } = await userTokens();
    expect(decodeProtectedHeader(String(access_token)).typ).toBe('at+jwt');
    expect(decodeProtectedHeader(String(id_token)).typ).toBe('JWT');
    await expect(verify(String(id_token), world.web.id)).rejects.toThrow(/typ/);
  });

  it('§2.2: has the required claims, and those of the sign-in', async () => {
    const { payload } = await verify(String((await userTokens()).access_token));
    const now = Math.floor(Date.now() / 1000);
    expect(payload).toEqual({
      iss: world.issuer,
      sub: world.alice,
      aud: [PHOTOS, world.issuer],
      client_id: world.web.id,
      scope: 'openid photos.read',
      iat: expect.any(Number),
      exp: Number(payload.iat) + 300,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
      txn: payload.jti,
      grant_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      auth_time: expect.any(Number),
      acr: 'urn:gatehouse:acr:password',
      amr: ['pwd'],
    });
    expect(Math.abs(Number(payload.iat) - now)).toBeLessThanOrEqual(5);
  });

  it('§2.2: the subject is the client where no person is involved, and can be taken for none', async () => {
    const { payload } = await verify(await clientToken({ scope: 'photos.read' }));
    expect(payload).toMatchObject({
      sub: world.batch.id,
      client_id: world.batch.id,
      aud: PHOTOS,
      scope: 'photos.read',
    });
    for (const claim of ['auth_time', 'acr', 'amr', 'grant_id']) expect(payload).not.toHaveProperty(claim);
    for (const client_id of [world.alice, world.alice.toUpperCase()]) {
      await expect(world.client({ client_id, redirect_uris: [WEB_REDIRECT] })).rejects.toThrow(/client_id/);
    }
  });

  it('§2.2.1: a refresh keeps when and how the person signed in', async () => {
    const first = await userTokens();
    world.clock.advance(60);
    const second = (await refresh(world, String(first.refresh_token))).json;
    const before = (await verify(String(first.access_token))).payload;
    const after = (
      await jwtVerify(String(second.access_token), keys, { audience: PHOTOS, currentDate: world.clock.now() })
    ).payload;
    for (const claim of ['auth_time', 'acr', 'amr', 'sub', 'grant_id']) expect(after[claim]).toEqual(before[claim]);
    expect(after.jti).not.toBe(before.jti);
    expect(after.iat).toBeGreaterThanOrEqual(Number(before.iat) + 60);
  });

  it('§2.2.3: carries the scope it has, not the one that was granted', async () => {
    const tokens = await userTokens('openid photos.read photos.write storage.read', { resource: PHOTOS });
    const narrowed = (await refresh(world, String(tokens.refresh_token), 'web', { scope: 'photos.write' })).json;
    const { payload } = await jwtVerify(String(narrowed.access_token), keys, { currentDate: world.clock.now() });
    expect(payload).toMatchObject({ scope: 'photos.write', aud: PHOTOS });
  });

  it('§3: is for the resource that was asked for, and for one API only', async () => {
    const token = String((await userTokens()).access_token);
    await expect(
      jwtVerify(token, keys, { audience: 'https://storage.example', currentDate: world.clock.now() }),
    ).rejects.toThrow(/aud/);
  });

  it('§6: says nothing of the person but who it is', async () => {
    const { access_token } = await userTokens('openid profile email photos.read');
    const { payload } = await jwtVerify(String(access_token), keys, { currentDate: world.clock.now() });
    for (const claim of ['name', 'email', 'username', 'preferred_username', 'birthdate']) {
      expect(payload).not.toHaveProperty(claim);
    }
  });
});
