/**
 * The attacker has a copy of a refresh token (a browser's storage, a backup, a proxy) and races or follows its owner
 * (RFC 9700 §4.14, OAuth 2.1 §4.3). Stopped by: binding to the client; for public clients rotation in one guarded
 * statement with one successor, sealed under the presented token. Inside the window a retry costs nothing; after it
 * a second use ends the family, for good.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, query, tally } from '../support/attack-aftermath.ts';
import { ALIVE, DEAD, type Issued, refreshed, worth } from '../support/attack-tokens.ts';
import { post } from '../support/browser.ts';
import type { TestServer } from '../support/server.ts';
import { getCode, PHOTOS, redeem, refresh, STORAGE, startWorld, type World } from '../support/world.ts';

describe('a copied refresh token', () => {
  let world: World;
  let other: TestServer;
  beforeAll(async () => {
    world = await startWorld();
    other = await world.node();
  });
  afterAll(async () => {
    await other.close();
    await world.close();
  });

  const onOtherNode = (): World => ({ ...world, issuer: other.issuer });
  const issue = async (client: 'web' | 'spa' = 'spa', scope = 'openid photos.read') =>
    (await redeem(world, await getCode(world, { client, scope }), client)).json as unknown as Issued;

  it('used 100 times at once on two nodes gives one successor, the same to all', async () => {
    const { refresh_token } = await issue();
    const before = await tally(world);
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => refresh(index % 2 ? onOtherNode() : world, refresh_token, 'spa')),
    );
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
    const successors = new Set(answers.map(({ json }) => json.refresh_token));
    expect(successors.size).toBe(1);
    expect(successors.has(refresh_token)).toBe(false);
    expect((await tally(world)).refresh_tokens).toBe(before.refresh_tokens + 1);
    // And it works: nobody was logged out.
    const [successor] = successors;
    expect(await refreshed(world, successor as string, 'spa')).toBe(200);
  });

  it('inside the window gives the same successor even when that one has been used', async () => {
    const { refresh_token } = await issue();
    const first = (await refresh(world, refresh_token, 'spa')).json;
    await refresh(world, first.refresh_token as string, 'spa');
    world.clock.advance(9);
    expect((await refresh(onOtherNode(), refresh_token, 'spa')).json.refresh_token).toBe(first.refresh_token);
  });

  it('after the window ends the whole family, on every node and after a restart', async () => {
    const { refresh_token } = await issue();
    const rotated = (await refresh(world, refresh_token, 'spa')).json as unknown as Issued;
    expect(await worth(world, rotated.access_token)).toEqual(ALIVE);
    world.clock.advance(11);

    const before = await tally(world);
    const reuse = async () => expect(await refreshed(world, refresh_token, 'spa')).toBe('invalid_grant');
    const trail = await auditOf(world, 'refresh_token_reused', reuse, [world.issuer, other.issuer]);
    expect(trail.map(({ event, client_id, times }) => [event, client_id, times])).toEqual([
      ['refresh_token_reused', 'spa', 1],
    ]);
    expect(await tally(world)).toEqual(before);
    for (const node of [world, onOtherNode()]) {
      expect(await worth(node, rotated.access_token)).toEqual(DEAD);
      expect(await refreshed(node, rotated.refresh_token, 'spa')).toBe('invalid_grant');
    }
    const restarted = await world.node();
    try {
      const fresh = { ...world, issuer: restarted.issuer };
      expect(await worth(fresh, rotated.access_token)).toEqual(DEAD);
      expect(await refreshed(fresh, rotated.refresh_token, 'spa')).toBe('invalid_grant');
      expect(await refreshed(fresh, refresh_token, 'spa')).toBe('invalid_grant');
    } finally {
      await restarted.close();
    }
  });

  it('does not live longer by being rotated', async () => {
    let { refresh_token } = await issue('spa', 'openid photos.read offline_access');
    const [granted] = await query<{ expires_at: Date }>(
      world,
      'SELECT expires_at FROM grants ORDER BY id DESC LIMIT 1',
    );
    for (let week = 0; week < 2; week += 1) {
      world.clock.advance(7 * 86_400);
      refresh_token = (await refresh(world, refresh_token, 'spa')).json.refresh_token as string;
    }
    const [still] = await query<{ expires_at: Date }>(
      world,
      "SELECT g.expires_at FROM grants g WHERE g.client_id = 'spa' ORDER BY g.id DESC LIMIT 1",
    );
    expect(still).toEqual(granted);
    world.clock.advance(15 * 86_400);
    expect(await refreshed(world, refresh_token, 'spa')).toBe('invalid_grant');
  });

  describe('used by or for somebody else', () => {
    type Use = (token: string) => ReturnType<typeof post>;
    const uses: [string, 'web' | 'spa', Use, number, string][] = [
      ['another confidential client', 'spa', (token) => refresh(world, token, 'web'), 400, 'invalid_grant'],
      ['another public client', 'web', (token) => refresh(world, token, 'spa'), 400, 'invalid_grant'],
      [
        'its confidential client without the secret',
        'web',
        (refresh_token) =>
          post(`${world.issuer}/token`, { grant_type: 'refresh_token', refresh_token, client_id: 'web' }),
        401,
        'invalid_client',
      ],
      [
        'wider scope',
        'spa',
        (token) => refresh(world, token, 'spa', { scope: 'openid photos.read photos.write' }),
        400,
        'invalid_scope',
      ],
      ['another API', 'spa', (token) => refresh(world, token, 'spa', { resource: STORAGE }), 400, 'invalid_target'],
      [
        'an unknown API',
        'spa',
        (token) => refresh(world, token, 'spa', { resource: 'https://evil.example' }),
        400,
        'invalid_target',
      ],
      [
        'a client without that grant',
        'spa',
        (refresh_token) =>
          post(`${world.issuer}/token`, { grant_type: 'refresh_token', refresh_token }, { basic: world.batch }),
        400,
        'unauthorized_client',
      ],
    ];
    it.each(uses)('%s: refused, and the token stays good for its owner', async (_name, client, use, status, error) => {
      const { refresh_token } = await issue(client);
      const before = await tally(world);
      const answer = await use(refresh_token);
      expect([answer.status, answer.json.error]).toEqual([status, error]);
      expect(await tally(world)).toEqual(before);
      expect(await refreshed(world, refresh_token, client)).toBe(200);
    });
  });

  it('narrowed once is not narrowed for ever, and never wider than granted', async () => {
    const flow = await getCode(world, { scope: 'openid photos.read storage.read' });
    const { refresh_token } = (await redeem(world, flow, 'web', { resource: STORAGE })).json as unknown as Issued;
    const narrowed = await refresh(world, refresh_token, 'web', { scope: 'photos.read' });
    expect(narrowed.json.scope).toBe('photos.read');
    const full = await refresh(world, refresh_token, 'web', { resource: PHOTOS });
    expect(full.json.scope).toBe('openid photos.read');
    expect((await refresh(world, refresh_token, 'web', { scope: 'photos.write' })).json.error).toBe('invalid_scope');
  });

  it('is no access token', async () => {
    const { refresh_token } = await issue();
    expect(await worth(world, refresh_token)).toEqual(DEAD);
  });
});
