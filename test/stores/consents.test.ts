import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresAccess } from '../../src/features/account/access.pg.ts';
import { aClient, aUser, consented, openStore, race, type Store } from './store.ts';

describe('consents', () => {
  let store: Store;
  beforeAll(async () => {
    store = await openStore();
  });
  afterAll(() => store.close());

  const allow = (userId: string, clientId: string, scope: string[], now = store.now, claims: string[] = []) =>
    consented(store, userId, clientId, scope, { now, claims });
  const access = () => postgresAccess(store.sql);
  const epochOf = async (userId: string) =>
    (await store.rows(sql<{ epoch: number }>`SELECT epoch FROM consents WHERE user_id = ${userId}`))[0]?.epoch;

  it('add up, each scope and claim once', async () => {
    const [userId, clientId] = [await aUser(store), await aClient(store)];
    await allow(userId, clientId, ['b', 'a'], store.now, ['name']);
    await allow(userId, clientId, ['c', 'b'], store.at(1000), ['birthdate', 'name']);
    expect(await access().list(userId)).toEqual([
      { clientId, scope: ['a', 'b', 'c'], claims: ['birthdate', 'name'], grantedAt: store.at(1000) },
    ]);
  });

  it('given at once from several tabs are all kept', async () => {
    const [userId, clientId] = [await aUser(store), await aClient(store)];
    await race(20, async (index) => {
      await allow(userId, clientId, [`scope${index}`, 'common']);
      return 'allowed';
    });
    expect((await access().list(userId))[0]?.scope).toHaveLength(21);
  });

  it('are taken back once, and what is given afterwards does not bring the old ones back', async () => {
    const [userId, clientId] = [await aUser(store), await aClient(store)];
    await allow(userId, clientId, ['a', 'b'], store.now, ['name']);
    expect(await race(20, () => access().remove(userId, clientId, store.now))).toEqual({ removed: 1, unknown: 19 });
    expect(await epochOf(userId)).toBe(1);
    expect(await access().list(userId)).toEqual([]);
    await allow(userId, clientId, ['c']);
    expect((await access().list(userId))[0]).toMatchObject({ scope: ['c'], claims: [] });
    expect(await epochOf(userId)).toBe(1);
  });

  it('are each person’s own, the latest first', async () => {
    const [alice, bob] = [await aUser(store), await aUser(store)];
    const [first, second] = [await aClient(store), await aClient(store)];
    await allow(alice, first, ['a'], store.at(1));
    await allow(alice, second, ['a'], store.at(2));
    await allow(bob, first, ['a'], store.at(3));
    expect((await access().list(alice)).map(({ clientId }) => clientId)).toEqual([second, first]);
    expect(await access().remove(bob, second, store.now)).toBe('unknown');
    await access().remove(alice, first, store.now);
    expect(await access().list(bob)).toHaveLength(1);
  });
});
