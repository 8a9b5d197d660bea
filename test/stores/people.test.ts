import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createUser,
  findUser,
  hasUsers,
  holdsDemoData,
  listUsers,
  markDemoData,
  setPassword,
  setUserDisabled,
  updateUserClaims,
} from '../../src/postgres/people.pg.ts';
import { aUser, openStore, race, type Store } from './store.ts';

describe('people', () => {
  let store: Store;
  beforeAll(async () => {
    store = await openStore();
  });
  afterAll(() => store.close());

  const create = (username: string, email?: string) =>
    createUser(store.sql, { id: randomUUID(), username, claims: { ...(email && { email }) } }, 'no hash', store.now);

  it('are none in a new database, and no demo data is in it', async () => {
    expect([await hasUsers(store.sql), await holdsDemoData(store.sql)]).toEqual([false, false]);
    await aUser(store);
    await Promise.all([markDemoData(store.sql, store.now), markDemoData(store.sql, store.now)]);
    expect([await hasUsers(store.sql), await holdsDemoData(store.sql)]).toEqual([true, true]);
  });

  it('of twenty registrations of one name at once, however written, one is made', async () => {
    const spellings = ['racer', 'Racer', 'RACER', '\uFF32acer'];
    expect(await race(20, (index) => create(spellings[index % 4] ?? ''))).toEqual({ created: 1, taken: 19 });
    expect(await race(20, (index) => create(`racer${index}`, 'Racer@people.example'))).toEqual({
      created: 1,
      taken: 19,
    });
  });

  it('share no name and no address, nor one’s name as another one’s address', async () => {
    expect(await create('carol@people.example', 'carol@people.example')).toBe('created');
    const carol = await findUser(store.sql, 'carol@people.example');
    expect(await create('dave', 'Carol@People.example')).toBe('taken');
    // Carol moves on, but signs in with the old address still: it stays hers.
    expect(await updateUserClaims(store.sql, carol?.id ?? '', { email: 'carol@new.example' }, store.now)).toBe(
      'updated',
    );
    expect(await create('dave', 'carol@people.example')).toBe('taken');
    expect(await create('dave')).toBe('created');
    const dave = await findUser(store.sql, 'dave');
    for (const email of ['carol@people.example', 'carol@new.example']) {
      expect(await updateUserClaims(store.sql, dave?.id ?? '', { email }, store.now)).toBe('taken');
    }
    expect((await findUser(store.sql, 'carol@people.example'))?.id).toBe(carol?.id);
  });

  it('change their claims, and keep their own address while they do', async () => {
    const id = await aUser(store, 'erin', { email: 'erin@people.example', name: 'Erin' });
    expect(await updateUserClaims(store.sql, id, { email: 'erin@people.example', name: 'E.' }, store.now)).toBe(
      'updated',
    );
    expect(await findUser(store.sql, 'ERIN@people.example')).toMatchObject({ id, claims: { name: 'E.' } });
    expect(await updateUserClaims(store.sql, randomUUID(), {}, store.now)).toBe('unknown');
  });

  it('are found by id, name or address, disabled or not, and listed in order', async () => {
    const id = await aUser(store, 'Frank', { email: 'frank@people.example' });
    for (const name of [id, 'frank', 'FRANK', 'frank@people.example']) {
      expect(await findUser(store.sql, name)).toMatchObject({ id, username: 'Frank', disabled: false });
    }
    expect(await setUserDisabled(store.sql, id, true, store.now)).toBe('updated');
    expect(await findUser(store.sql, 'frank')).toMatchObject({ disabled: true, createdAt: store.now });
    for (const name of ['', '%', 'fran', randomUUID()]) expect(await findUser(store.sql, name)).toBeUndefined();
    const names = (await listUsers(store.sql, '', 100)).map(({ username }) => username.toLowerCase());
    expect(names).toEqual([...names].sort());
    expect((await listUsers(store.sql, 'Frank', 1)).map(({ username }) => username)).not.toContain('Frank');
  });

  it('that are unknown cannot be changed', async () => {
    expect(await setPassword(store.sql, randomUUID(), 'hash', store.now)).toBe('unknown');
    expect(await setUserDisabled(store.sql, randomUUID(), true, store.now)).toBe('unknown');
  });
});
