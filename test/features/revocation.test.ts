import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post } from '../support/browser.ts';
import { getCode, introspect, PHOTOS, redeem, refresh, STORAGE, startWorld, type World } from '../support/world.ts';

interface Issued {
  readonly access_token: string;
  readonly refresh_token: string;
}

describe('revocation (RFC 7009)', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const revoke = (token: string, as: { id: string; secret: string } = world.web, extra: Record<string, string> = {}) =>
    post(`${world.issuer}/revoke`, { token, ...extra }, { basic: as });
  const api = (resource: string) => (resource === PHOTOS ? world.photosApi : world.storageApi);

  async function issued(resource = PHOTOS): Promise<Issued> {
    const flow = await getCode(world, { scope: 'openid photos.read storage.read' });
    return (await redeem(world, flow, 'web', { resource })).json as unknown as Issued;
  }

  it.each([PHOTOS, STORAGE])('of an access token for %s ends that one only, at once', async (resource) => {
    const { access_token, refresh_token } = await issued(resource);
    const other = (await refresh(world, refresh_token, 'web', { resource })).json.access_token as string;
    const { status, text } = await revoke(access_token);
    expect([status, text]).toEqual([200, '']);
    expect(await introspect(world, access_token, api(resource))).toEqual({ active: false });
    expect((await introspect(world, other, api(resource))).active).toBe(true);
    expect((await refresh(world, refresh_token, 'web', { resource })).status).toBe(200);
  });

  it('of a refresh token ends all its grant gave', async () => {
    const { access_token, refresh_token } = await issued();
    const storage = (await refresh(world, refresh_token, 'web', { resource: STORAGE })).json.access_token as string;
    expect((await revoke(refresh_token)).status).toBe(200);
    expect(await introspect(world, access_token)).toEqual({ active: false });
    expect(await introspect(world, storage, world.storageApi)).toEqual({ active: false });
    expect((await refresh(world, refresh_token, 'web', { resource: PHOTOS })).json.error).toBe('invalid_grant');
  });

  it('of a token that was replaced ends the grant too: who signs out means it', async () => {
    const first = (await redeem(world, await getCode(world, { client: 'spa' }), 'spa')).json as unknown as Issued;
    const second = (await refresh(world, first.refresh_token, 'spa')).json as unknown as Issued;
    const spa = { token: first.refresh_token, client_id: world.spa.id };
    expect((await post(`${world.issuer}/revoke`, spa)).status).toBe(200);
    expect((await refresh(world, second.refresh_token, 'spa')).json.error).toBe('invalid_grant');
  });

  it.each(['access_token', 'refresh_token', 'nonsense'])(
    'finds the token whatever token_type_hint says: %s',
    async (hint) => {
      const { access_token } = await issued(STORAGE);
      await revoke(access_token, world.web, { token_type_hint: hint });
      expect(await introspect(world, access_token, world.storageApi)).toEqual({ active: false });
    },
  );

  it('of what is unknown, over or garbage is a success like any other (§2.2)', async () => {
    const { access_token, refresh_token } = await issued(STORAGE);
    for (const token of [access_token, access_token, refresh_token, refresh_token, 'garbage', 'ey.ey.ey']) {
      const { status, text } = await revoke(token);
      expect([status, text]).toEqual([200, '']);
    }
  });

  it('of another client’s token is refused without effect (§2.1)', async () => {
    for (const resource of [PHOTOS, STORAGE]) {
      const { access_token, refresh_token } = await issued(resource);
      for (const token of [access_token, refresh_token]) {
        const { status, json } = await revoke(token, world.batch);
        expect([status, json.error]).toEqual([400, 'unauthorized_client']);
      }
      expect((await introspect(world, access_token, api(resource))).active).toBe(true);
      expect((await refresh(world, refresh_token, 'web', { resource })).status).toBe(200);
    }
  });

  it('needs the client, and a token', async () => {
    const { access_token } = await issued();
    expect((await post(`${world.issuer}/revoke`, { token: access_token })).status).toBe(401);
    const spa = await post(`${world.issuer}/revoke`, { token: access_token, client_id: world.spa.id });
    expect(spa.json.error).toBe('unauthorized_client');
    const empty = await post(`${world.issuer}/revoke`, {}, { basic: world.web });
    expect([empty.status, empty.json.error]).toEqual([400, 'invalid_request']);
    expect((await introspect(world, access_token)).active).toBe(true);
  });

  it('on one node is seen by the next', async () => {
    const other = await world.node();
    try {
      const { access_token } = await issued();
      await revoke(access_token);
      const { json } = await post(`${other.issuer}/token_info`, { token: access_token }, { basic: world.photosApi });
      expect(json).toEqual({ active: false });
    } finally {
      await other.close();
    }
  });
});
