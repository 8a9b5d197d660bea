/**
 * The attacker has seen a code that was redeemed already (a log, a history, a proxy) and perhaps everything that goes
 * with it, or sends one code many times at once hoping that two win (RFC 9700 §4.5, OAuth 2.1 §7.5.2).
 * Stopped by: one guarded UPDATE that redeems; a replay that passes every other check ends the grant. A replay that
 * fails another check does nothing, or it would be a way to have somebody's tokens revoked.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, tally } from '../support/attack-aftermath.ts';
import { ALIVE, DEAD, type Issued, refreshed, worth } from '../support/attack-tokens.ts';
import type { TestServer } from '../support/server.ts';
import { getCode, redeem, STORAGE, startWorld, type World } from '../support/world.ts';

describe('a code presented twice', () => {
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

  it.each(['web', 'spa'] as const)('ends everything it gave (%s)', async (client) => {
    const flow = await getCode(world, { client, scope: 'openid photos.read storage.read' });
    const first = (await redeem(world, flow, client, { resource: STORAGE })).json as unknown as Issued;
    expect(await worth(world, first.access_token, world.storageApi)).toEqual(ALIVE);

    const before = await tally(world);
    const replay = async () => {
      const second = await redeem(onOtherNode(), flow, client, { resource: STORAGE });
      expect([second.status, second.json.error]).toEqual([400, 'invalid_grant']);
    };
    const trail = await auditOf(world, 'code_replayed', replay, [world.issuer, other.issuer]);
    expect(trail.map(({ event, client_id, times }) => [event, client_id, times])).toEqual([
      ['code_replayed', client, 1],
    ]);
    expect(await tally(world)).toEqual(before);
    expect(await worth(world, first.access_token, world.storageApi)).toEqual(DEAD);
    expect(await refreshed(world, first.refresh_token, client)).toBe('invalid_grant');
  });

  it('does nothing when the replay has not all it takes', async () => {
    const flow = await getCode(world);
    const first = (await redeem(world, flow)).json as unknown as Issued;
    const attempts = [
      redeem(world, { ...flow, verifier: 'w'.repeat(43) }),
      redeem(world, { ...flow, redirectUri: 'https://evil.example/callback' }),
      redeem(world, flow, 'spa'),
    ];
    for (const attempt of attempts) expect((await attempt).json.error).toBe('invalid_grant');
    expect(await worth(world, first.access_token)).toEqual(ALIVE);
    expect(await refreshed(world, first.refresh_token)).toBe(200);
  });

  it('is noticed as long as its row is kept, and plainly refused after', async () => {
    const flow = await getCode(world, { scope: 'openid photos.read offline_access' });
    const first = (await redeem(world, flow)).json as unknown as Issued;
    world.clock.advance(120);
    expect((await redeem(world, flow)).json.error).toBe('invalid_grant');
    expect(await refreshed(world, first.refresh_token)).toBe('invalid_grant');
  });

  it('gives one success among fifty at once on two nodes, and ends that one too', async () => {
    const flow = await getCode(world, { client: 'spa' });
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) => redeem(index % 2 ? onOtherNode() : world, flow, 'spa')),
    );
    const [won, ...others] = answers.filter(({ status }) => status === 200);
    expect(others).toEqual([]);
    expect(answers.filter(({ json }) => json.error === 'invalid_grant')).toHaveLength(49);
    const tokens = won?.json as unknown as Issued;
    expect(await worth(world, tokens.access_token)).toEqual(DEAD);
    expect(await refreshed(world, tokens.refresh_token, 'spa')).toBe('invalid_grant');
  });
});
