import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post } from '../support/browser.ts';
import { getCode, introspect, PHOTOS, redeem, refresh, STORAGE, startWorld, type World } from '../support/world.ts';

/** docs/architecture.md has the table. */
describe('database round trips of each endpoint', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const nothing = async () => undefined;
  const batchToken = (resource: string) =>
    post(`${world.issuer}/token`, { grant_type: 'client_credentials', resource }, { basic: world.batch });
  const userToken = async (parameters: Record<string, string> = {}) =>
    (
      await redeem(world, await getCode(world, { scope: 'openid photos.read storage.read' }), 'web', {
        resource: PHOTOS,
        ...parameters,
      })
    ).json as {
      access_token: string;
      refresh_token: string;
    };

  it('client_credentials: none for a JWT, one for an opaque token', async () => {
    expect(await world.roundTripsOf(nothing, () => batchToken(PHOTOS))).toBe(0);
    expect(await world.roundTripsOf(nothing, () => batchToken(STORAGE))).toBe(1);
  });

  it('authorization_code: two', async () => {
    expect(
      await world.roundTripsOf(
        () => getCode(world),
        (flow) => redeem(world, flow),
      ),
    ).toBe(2);
  });

  it('refresh_token: one for a JWT where the token stays, two for an opaque one and with rotation', async () => {
    const { refresh_token } = await userToken();
    expect(await world.roundTripsOf(nothing, () => refresh(world, refresh_token, 'web', { resource: PHOTOS }))).toBe(1);
    expect(await world.roundTripsOf(nothing, () => refresh(world, refresh_token, 'web', { resource: STORAGE }))).toBe(
      2,
    );
    const rotating = async () => {
      const issued = await redeem(world, await getCode(world, { client: 'spa' }), 'spa');
      return issued.json.refresh_token as string;
    };
    expect(await world.roundTripsOf(rotating, (token) => refresh(world, token, 'spa'))).toBe(2);
  });

  it('introspection: one, of a JWT and of an opaque token', async () => {
    const jwt = await userToken();
    const opaque = await userToken({ resource: STORAGE });
    expect(await world.roundTripsOf(nothing, () => introspect(world, jwt.access_token))).toBe(1);
    expect(await world.roundTripsOf(nothing, () => introspect(world, opaque.access_token, world.storageApi))).toBe(1);
  });

  it('userinfo: one', async () => {
    const { access_token } = await userToken();
    const userinfo = () => fetch(`${world.issuer}/userinfo`, { headers: { authorization: `Bearer ${access_token}` } });
    expect((await userinfo()).status).toBe(200);
    expect(await world.roundTripsOf(nothing, userinfo)).toBe(1);
  });

  it('revocation: one', async () => {
    expect(
      await world.roundTripsOf(userToken, ({ refresh_token }) =>
        post(`${world.issuer}/revoke`, { token: refresh_token }, { basic: world.web }),
      ),
    ).toBe(1);
  });
});
