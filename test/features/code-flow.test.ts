import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { getCode, introspect, redeem, refresh, startWorld, type World } from '../support/world.ts';

describe('the whole code flow', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  it('signs in, consents, redeems, introspects and refreshes', async () => {
    const issued = await redeem(world, await getCode(world));
    expect(issued.json).toMatchObject({ token_type: 'Bearer', scope: 'openid photos.read' });
    expect(await introspect(world, issued.json.access_token as string)).toMatchObject({
      active: true,
      sub: world.alice,
      scope: 'openid photos.read',
    });
    const refreshed = await refresh(world, issued.json.refresh_token as string);
    // A confidential client keeps its refresh token (RFC 6749 §6).
    expect(refreshed.status).toBe(200);
    expect(refreshed.json.refresh_token).toBeUndefined();
  });
});
