import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresRefreshTokens } from '../../src/features/refresh-token/refresh-tokens.pg.ts';
import { postgresLedger } from '../../src/postgres/ledger.pg.ts';
import { keepPartitions } from '../../src/postgres/partitions.ts';
import { postgresReplayMarks } from '../../src/postgres/replay-marks.pg.ts';
import type { ReplayMark } from '../../src/protocol/replay.ts';
import { mintCredential, sha256 } from '../../src/protocol/secrets.ts';
import { countOf, DAY, HOUR, minted, openStore, proofs, race, type Store, someTokens } from './store.ts';

describe('refresh tokens', () => {
  let store: Store;
  let tokens: ReturnType<typeof postgresRefreshTokens>;
  beforeAll(async () => {
    store = await openStore();
    tokens = postgresRefreshTokens(store.sql);
  });
  afterAll(() => store.close());

  it('of twenty rotations at once exactly one wins, and all find its successor', async () => {
    for (let round = 0; round < 10; round += 1) {
      const { refreshToken, clientId } = await someTokens(store);
      const before = [await countOf(store, 'access_tokens'), await countOf(store, 'refresh_tokens')];
      const successors = new Map<number, Buffer>();
      let winner = -1;
      const outcomes = await race(20, async (index) => {
        const successor = randomBytes(40);
        successors.set(index, successor);
        const outcome = await tokens.rotate(refreshToken, successor, minted(clientId, store.now).forStore, store.now);
        if (outcome === 'rotated') winner = index;
        return outcome;
      });
      expect(outcomes).toEqual({ rotated: 1, lost: 19 });
      expect((await tokens.find(refreshToken, store.now))?.successor).toEqual(successors.get(winner));
      expect([await countOf(store, 'access_tokens'), await countOf(store, 'refresh_tokens')]).toEqual(
        before.map((count) => count + 1),
      );
    }
  });

  it('are not rotated with another secret, after their idle time, or twice', async () => {
    const { refreshToken, clientId } = await someTokens(store);
    const { forStore } = minted(clientId, store.now);
    const guess = { ...refreshToken, hash: sha256('a guess') };
    expect(await tokens.rotate(guess, randomBytes(1), forStore, store.now)).toBe('lost');
    expect(await tokens.find(guess, store.now)).toBeUndefined();
    expect(await tokens.rotate(refreshToken, randomBytes(1), forStore, store.at(14 * DAY))).toBe('lost');
    expect(await tokens.find(refreshToken, store.now)).toMatchObject({ rotatedAt: undefined, successor: undefined });
    expect(await tokens.rotate(refreshToken, Buffer.from('one'), forStore, store.now)).toBe('rotated');
    expect(await tokens.rotate(refreshToken, Buffer.from('two'), minted(clientId, store.now).forStore, store.now)).toBe(
      'lost',
    );
    expect(await tokens.find(refreshToken, store.now)).toMatchObject({
      rotatedAt: store.now,
      successor: Buffer.from('one'),
    });
  });

  it('that stay give a new access token each time, and their idle time is written once an hour', async () => {
    const { refreshToken, clientId } = await someTokens(store);
    const use = async (now: Date) => {
      await keepPartitions(store.sql, now);
      const { accessToken, forStore } = minted(clientId, now);
      const idle = new Date(now.getTime() + 14 * DAY);
      expect(await tokens.use(refreshToken, { ...forStore, refreshToken: undefined }, idle, now)).toBe('used');
      expect(await postgresLedger(store.sql).findAccessToken(accessToken, now)).toBeDefined();
      return (await tokens.find(refreshToken, now))?.expiresAt;
    };
    expect(await use(store.at(HOUR - 1))).toEqual(store.at(14 * DAY));
    expect(await use(store.at(HOUR + 1))).toEqual(store.at(HOUR + 1 + 14 * DAY));
    expect(await use(store.at(2 * HOUR))).toEqual(store.at(HOUR + 1 + 14 * DAY));
    expect(await use(store.at(2 * HOUR + 2))).toEqual(store.at(2 * HOUR + 2 + 14 * DAY));
  });

  it('that stay are used also while somebody holds them, whose note of it is as good', async () => {
    const { refreshToken, clientId } = await someTokens(store);
    const later = store.at(2 * HOUR);
    await keepPartitions(store.sql, later);
    await store
      .another()
      .sql.transaction()
      .execute(async (transaction) => {
        await sql`SELECT FROM refresh_tokens WHERE id = ${refreshToken.id} FOR UPDATE`.execute(transaction);
        const { forStore } = minted(clientId, later);
        expect(
          await tokens.use(refreshToken, { ...forStore, refreshToken: undefined }, store.at(20 * DAY), later),
        ).toBe('used');
      });
    expect((await tokens.find(refreshToken, later))?.expiresAt).toEqual(store.at(14 * DAY));
  });

  it('are neither used nor rotated with a proof that was used, and are with another one', async () => {
    const { refreshToken, clientId } = await someTokens(store);
    const [used, ...fresh] = proofs(store.now, randomUUID(), randomUUID(), randomUUID());
    if (!used) throw new Error('three');
    await keepPartitions(store.sql, store.now);
    await postgresReplayMarks(store.sql).claim([used]);
    const before = await countOf(store, 'access_tokens');
    const use = (mark: ReplayMark) => {
      const { forStore } = minted(clientId, store.now);
      return tokens.use(
        refreshToken,
        { ...forStore, marks: [mark], refreshToken: undefined },
        store.at(DAY),
        store.now,
      );
    };
    const rotate = (mark: ReplayMark) =>
      tokens.rotate(
        refreshToken,
        randomBytes(1),
        { ...minted(clientId, store.now).forStore, marks: [mark] },
        store.now,
      );
    expect([await use(used), await rotate(used)]).toEqual([used, used]);
    expect(await countOf(store, 'access_tokens')).toBe(before);
    expect([await use(fresh[0] ?? used), await rotate(fresh[1] ?? used)]).toEqual(['used', 'rotated']);
    expect(await countOf(store, 'access_tokens')).toBe(before + 2);
  });

  it('of one request that comes twenty times at once, to two nodes, one is answered and the others are told of its proof', async () => {
    await keepPartitions(store.sql, store.now);
    const another = postgresRefreshTokens(store.another({ poolMax: 10 }).sql);
    const nodeOf = (index: number) => (index % 2 === 0 ? tokens : another);
    const { refreshToken, clientId } = await someTokens(store);
    const given = () => minted(clientId, store.now).forStore;
    for (let round = 0; round < 10; round += 1) {
      const before = await countOf(store, 'access_tokens');
      const marks = proofs(store.now, randomUUID(), randomUUID());
      const used = await race(20, (index) =>
        nodeOf(index).use(refreshToken, { ...given(), marks, refreshToken: undefined }, store.at(DAY), store.now),
      );
      expect(used).toEqual({ used: 1, 'a mark was used': 19 });
      expect(await countOf(store, 'access_tokens')).toBe(before + 1);
    }
    const marks = proofs(store.now, randomUUID(), randomUUID());
    // `lost` would be a token that was used again.
    expect(
      await race(20, (index) => nodeOf(index).rotate(refreshToken, randomBytes(1), { ...given(), marks }, store.now)),
    ).toEqual({ rotated: 1, 'a mark was used': 19 });
  });

  it('that somebody holds are waited for with their proofs, and hold up nobody else', async () => {
    await keepPartitions(store.sql, store.now);
    const [held, free] = [await someTokens(store), await someTokens(store)];
    const rotate = ({ refreshToken, clientId }: typeof held) => {
      const marks = proofs(store.now, randomUUID());
      return tokens.rotate(refreshToken, randomBytes(1), { ...minted(clientId, store.now).forStore, marks }, store.now);
    };
    let waiting: Promise<unknown> = Promise.resolve();
    await store
      .another()
      .sql.transaction()
      .execute(async (transaction) => {
        await sql`SELECT FROM refresh_tokens WHERE id = ${held.refreshToken.id} FOR UPDATE`.execute(transaction);
        waiting = rotate(held);
        expect(await rotate(free)).toBe('rotated');
        expect(await Promise.race([waiting, sleep(100, 'waiting')])).toBe('waiting');
      });
    expect(await waiting).toBe('rotated');
  });

  it('used by twenty at once give each an access token', async () => {
    const { refreshToken, clientId } = await someTokens(store);
    const before = await countOf(store, 'access_tokens');
    const outcomes = await race(20, () => {
      const { forStore } = minted(clientId, store.now);
      return tokens.use(refreshToken, { ...forStore, refreshToken: undefined }, store.at(14 * DAY), store.now);
    });
    expect(outcomes).toEqual({ used: 20 });
    expect(await countOf(store, 'access_tokens')).toBe(before + 20);
  });

  it('that never were are unknown, and nothing is stored for them', async () => {
    const before = await countOf(store, 'access_tokens');
    for (const time of [store.now, new Date(0), store.at(400 * DAY)]) {
      const token = mintCredential('refresh_token', time, randomBytes);
      const { forStore } = minted('nobody', store.now);
      expect(await tokens.find(token, store.now)).toBeUndefined();
      expect(await tokens.rotate(token, randomBytes(1), forStore, store.now)).toBe('lost');
      expect(await tokens.use(token, forStore, store.at(DAY), store.now)).toBe('lost');
    }
    expect(await countOf(store, 'access_tokens')).toBe(before);
  });

  it('used again after their window end the grant, with every token of it', async () => {
    const { refreshToken, accessToken, clientId, grantId } = await someTokens(store);
    const next = minted(clientId, store.now);
    await tokens.rotate(refreshToken, randomBytes(1), next.forStore, store.now);
    await tokens.revokeReused(grantId, store.now);
    const ledger = postgresLedger(store.sql);
    for (const token of [refreshToken, next.refreshToken]) {
      expect((await tokens.find(token, store.now))?.stands).toBe(false);
      expect(await ledger.findRefreshToken(token, store.now)).toBeUndefined();
    }
    for (const token of [accessToken, next.accessToken]) {
      expect(await ledger.findAccessToken(token, store.now)).toBeUndefined();
    }
  });
});
