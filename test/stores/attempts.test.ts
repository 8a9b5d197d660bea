import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresAttempts } from '../../src/features/login/attempts.pg.ts';
import { ATTEMPT_WINDOW } from '../../src/features/login/index.ts';
import { setPassword, setUserDisabled } from '../../src/postgres/people.pg.ts';
import { sha256 } from '../../src/protocol/secrets.ts';
import { aUser, countOf, openStore, race, type Store } from './store.ts';

const keysOf = (source: string, account: string, person = `person ${account}`) => ({
  source: sha256(source),
  account: sha256(account),
  person: sha256(person),
});

describe('sign-in attempts', () => {
  let store: Store;
  let attempts: ReturnType<typeof postgresAttempts>;
  beforeAll(async () => {
    store = await openStore();
    attempts = postgresAttempts(store.sql);
  });
  afterAll(() => store.close());

  it('are counted by source and by account, each on its own', async () => {
    const begin = async (source: string, account: string) =>
      (await attempts.begin('nobody', keysOf(source, account), store.now)).failures;
    expect(await begin('s1', 'a1')).toEqual({ source: 1, account: 1, person: 1 });
    expect(await begin('s1', 'a2')).toEqual({ source: 2, account: 1, person: 1 });
    expect(await begin('s2', 'a1')).toEqual({ source: 1, account: 2, person: 2 });
  });

  it('are counted to the last one when they come at once, from two nodes, with keys that cross', async () => {
    const other = postgresAttempts(store.another({ poolMax: 20 }).sql);
    const outcomes = await race(200, async (index) => {
      const [a, b] = index % 2 ? ['cross 1', 'cross 2'] : ['cross 2', 'cross 1'];
      await (index % 4 < 2 ? attempts : other).begin('nobody', keysOf(a, b), store.now);
      return 'counted';
    });
    expect(outcomes).toEqual({ counted: 200 });
    expect((await attempts.begin('nobody', keysOf('cross 1', 'cross 2'), store.now)).failures).toEqual({
      source: 201,
      account: 201,
      person: 101,
    });
  });

  it('never wait for each other in a circle: failing, succeeding and being forgotten at once', async () => {
    const userId = await aUser(store);
    const outcomes = await race(300, async (index) => {
      // Whichever key sorts first, some of these take it second.
      const keys = index % 2 ? keysOf('circle 1', 'circle 2') : keysOf('circle 2', 'circle 1');
      if (index % 3 === 0) await attempts.succeeded(keys, { userId, epoch: 0, rehash: undefined });
      else if (index % 30 === 1) await attempts.forget(store.at(1));
      else await attempts.begin('nobody', keys, store.now);
      return 'done';
    });
    expect(outcomes).toEqual({ done: 300 });
  });

  it('count afresh in the next window', async () => {
    const begin = (now: Date) => attempts.begin('nobody', keysOf('window s', 'window a'), now);
    await begin(store.now);
    expect(await begin(store.at(ATTEMPT_WINDOW - 1))).toMatchObject({
      failures: { source: 2, account: 2, person: 2 },
      since: { source: store.now, account: store.now },
    });
    expect(await begin(store.at(ATTEMPT_WINDOW))).toMatchObject({
      failures: { source: 1, account: 1, person: 1 },
      since: { source: store.at(ATTEMPT_WINDOW), account: store.at(ATTEMPT_WINDOW) },
    });
  });

  it('add up by person, whichever name leads there, for each kind of browser; names of nobody stay apart', async () => {
    await aUser(store, 'twice', { email: 'Twice@People.example' });
    const begin = async (name: string, person = 'strangers') =>
      (await attempts.begin(name, keysOf('names s', `names ${name}`, person), store.now)).failures;
    expect(await begin('twice')).toMatchObject({ account: 1, person: 1 });
    expect(await begin('twice@people.example')).toMatchObject({ account: 1, person: 2 });
    expect(await begin('twice')).toMatchObject({ account: 2, person: 3 });
    expect(await begin('twice', 'a device')).toMatchObject({ account: 3, person: 1 });
    expect(await begin('none')).toMatchObject({ account: 1, person: 1 });
    expect(await begin('none@people.example')).toMatchObject({ account: 1, person: 1 });
    expect(await begin('none')).toMatchObject({ account: 2, person: 2 });
  });

  it('are taken back by a success: the account’s and the person’s all, the source’s one', async () => {
    const userId = await aUser(store, 'back');
    const keys = keysOf('back s', 'back a');
    for (let failures = 0; failures < 3; failures += 1) await attempts.begin('back', keys, store.now);
    await attempts.succeeded(keys, { userId, epoch: 0, rehash: undefined });
    expect((await attempts.begin('back', keys, store.now)).failures).toEqual({ source: 3, account: 1, person: 1 });
  });

  it('never count below nothing', async () => {
    const userId = await aUser(store);
    const keys = keysOf('below s', 'below a');
    await attempts.begin('nobody', keys, store.now);
    for (let successes = 0; successes < 3; successes += 1)
      await attempts.succeeded(keys, { userId, epoch: 0, rehash: undefined });
    expect((await attempts.begin('nobody', keys, store.now)).failures).toMatchObject({ source: 1, account: 1 });
  });

  it('find the person by user name and by e-mail address, unless disabled', async () => {
    const userId = await aUser(store, 'Alice', { email: 'Alice@People.example' });
    const find = async (name: string) =>
      (await attempts.begin(name, keysOf('find s', `find ${name}`), store.now)).person?.user.id;
    expect(await find('alice')).toBe(userId);
    expect(await find('alice@people.example')).toBe(userId);
    expect(await find('Alice')).toBeUndefined();
    expect(await find('bob')).toBeUndefined();
    await setUserDisabled(store.sql, userId, true, store.now);
    expect(await find('alice')).toBeUndefined();
  });

  it('store a hash with today’s parameters when they are given one', async () => {
    const userId = await aUser(store, 'rehashed');
    const keys = keysOf('hash s', 'hash a');
    const stored = async () => (await attempts.begin('rehashed', keys, store.now)).person?.passwordHash;
    await attempts.succeeded(keys, { userId, epoch: 0, rehash: undefined });
    expect(await stored()).toBe('no hash');
    await attempts.succeeded(keys, { userId, epoch: 0, rehash: 'a better hash' });
    expect(await stored()).toBe('a better hash');
    // The password was set anew meanwhile: the hash is one of the old password.
    await setPassword(store.sql, userId, 'a new password’s hash', store.now);
    await attempts.succeeded(keys, { userId, epoch: 0, rehash: 'an old password’s hash' });
    expect(await stored()).toBe('a new password’s hash');
  });

  it('of windows that are over are forgotten', async () => {
    await store.rows(sql`DELETE FROM sign_in_attempts`);
    await attempts.begin('nobody', keysOf('old', 'old account'), store.at(-ATTEMPT_WINDOW));
    await attempts.begin('nobody', keysOf('new', 'new account'), store.now);
    await attempts.forget(store.at(-1));
    expect(await countOf(store, 'sign_in_attempts')).toBe(3);
  });
});
