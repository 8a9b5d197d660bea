import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresAccess } from '../../src/features/account/access.pg.ts';
import { listLogoutDeliveries, postgresDeliveries } from '../../src/features/backchannel-logout/deliveries.pg.ts';
import type { Deliveries, Delivery } from '../../src/features/backchannel-logout/outbox.ts';
import { createClient, deleteClient } from '../../src/postgres/clients.pg.ts';
import { revokeGrant, revokeGrantAndTell } from '../../src/postgres/ledger.pg.ts';
import { keepPartitions } from '../../src/postgres/partitions.ts';
import { setPassword, setUserDisabled } from '../../src/postgres/people.pg.ts';
import { endSession, postgresSessions } from '../../src/postgres/sessions.pg.ts';
import { clientOf } from '../protocol/samples.ts';
import {
  aClient,
  aCode,
  aSignIn,
  aUser,
  consented,
  countOf,
  DAY,
  type GrantOptions,
  HOUR,
  IDLE,
  openStore,
  race,
  type SignedIn,
  type Store,
} from './store.ts';

describe('logout deliveries', () => {
  let store: Store;
  let deliveries: Deliveries;
  beforeAll(async () => {
    store = await openStore();
    deliveries = postgresDeliveries(store.sql);
  });
  afterAll(() => store.close());

  /** A client that wants to be told. */
  async function aReceiver(): Promise<string> {
    const id = `receiver-${randomUUID()}`;
    const { metadata, origins } = clientOf({ backchannel_logout_uri: 'https://app.example/logout' });
    await createClient(store.sql, { id, metadata, origins, secret: undefined }, store.now);
    return id;
  }
  const grant = async (clientId: string, { signIn }: SignedIn, options: GrantOptions = {}, database = store.sql) =>
    (await aCode({ ...store, sql: database }, clientId, signIn, { scope: ['openid'], ...options })).grantId;
  const queuedFor = (clientId: string) => listLogoutDeliveries(store.sql, { clientId }, 100);
  async function announce(now = store.now): Promise<void> {
    while ((await deliveries.announce(now)) === 'more');
  }
  /** Claims everything that is due. */
  async function claimAll(now: Date, lease = HOUR, crowded: string[] = []): Promise<Delivery[]> {
    const claimed: Delivery[] = [];
    for (;;) {
      const delivery = await deliveries.claim(crowded, now, new Date(now.getTime() + lease));
      if (!delivery) return claimed;
      claimed.push(delivery);
    }
  }
  const claimed = async (clientId: string, now: Date) =>
    (await claimAll(now)).filter((delivery) => delivery.clientId === clientId);

  it('are queued when a sign-in is over, for each client that had an ID token of it and wants to be told', async () => {
    const userId = await aUser(store);
    const signedIn = await aSignIn(store, userId);
    const [one, two, oauth] = [await aReceiver(), await aReceiver(), await aReceiver()];
    const deaf = await aClient(store);
    for (const clientId of [one, two, deaf]) await grant(clientId, signedIn);
    await grant(oauth, signedIn, { scope: ['photos.read'] });
    const another = await aSignIn(store, userId);
    const elsewhere = await aReceiver();
    await grant(elsewhere, another);

    await announce();
    expect(await queuedFor(one)).toEqual([]);
    await postgresSessions(store.sql, IDLE).end(signedIn.session, store.now);
    await announce(store.at(1000));
    for (const clientId of [one, two]) {
      expect(await queuedFor(clientId)).toMatchObject([
        { user_id: userId, sign_in_id: signedIn.signIn.id, state: 'pending', attempts: 0, queued_at: store.at(1000) },
      ]);
    }
    for (const clientId of [deaf, oauth, elsewhere]) expect(await queuedFor(clientId)).toEqual([]);
  });

  it.each<[string, (signedIn: SignedIn, userId: string) => Promise<unknown>, number]>([
    ['signs out', ({ session }) => postgresSessions(store.sql, IDLE).end(session, store.now), 0],
    ['is signed out by an operator', ({ session }) => endSession(store.sql, session.id, store.now), 0],
    ['is disabled', (_signedIn, userId) => setUserDisabled(store.sql, userId, true, store.now), 0],
    ['gets a new password', (_signedIn, userId) => setPassword(store.sql, userId, 'hash', store.now), 0],
    ['stays longer than a sign-in lasts', async () => undefined, 12 * HOUR],
  ])('are queued when the person %s, once, and not before', async (_how, end, later) => {
    const userId = await aUser(store);
    const signedIn = await aSignIn(store, userId);
    const clientId = await aReceiver();
    const grantId = await grant(clientId, signedIn);
    await announce(store.at(later - 1));
    expect(await queuedFor(clientId)).toEqual([]);
    await end(signedIn, userId);
    for (const after of [0, 1, HOUR]) await announce(store.at(later + after));
    expect(await queuedFor(clientId)).toMatchObject([{ queued_at: store.at(later), state: 'pending' }]);
    expect(await claimed(clientId, store.at(later))).toEqual([
      { grantId, clientId, userId, signInId: signedIn.signIn.id, queuedAt: store.at(later), attempt: 1 },
    ]);
  });

  it('leave nobody of an operator’s victims out, and nobody else in', async () => {
    const [alice, bob] = [await aUser(store), await aUser(store)];
    const clientId = await aReceiver();
    const [first, second, other] = [
      await aSignIn(store, alice),
      await aSignIn(store, alice),
      await aSignIn(store, bob),
    ];
    for (const signedIn of [first, second, other]) await grant(clientId, signedIn);
    await setUserDisabled(store.sql, alice, true, store.now);
    await announce();
    const told = (await queuedFor(clientId)).map(({ sign_in_id }) => sign_in_id);
    expect(told.sort()).toEqual([first.signIn.id, second.signIn.id].sort());
  });

  it('are one for a client with several grants of one sign-in', async () => {
    const signedIn = await aSignIn(store, await aUser(store));
    const clientId = await aReceiver();
    for (const seconds of [0, 1, 2]) await grant(clientId, signedIn, { now: store.at(seconds * 1000) });
    await endSession(store.sql, signedIn.session.id, store.at(5000));
    await announce(store.at(5000));
    expect(await queuedFor(clientId)).toHaveLength(1);
  });

  it('are one when twenty notice the end at once', async () => {
    const signedIn = await aSignIn(store, await aUser(store));
    const clientId = await aReceiver();
    const grantId = await grant(clientId, signedIn);
    await endSession(store.sql, signedIn.session.id, store.now);
    const other = postgresDeliveries(store.another().sql);
    await race(20, async (index) => {
      if (index % 4 === 3) return revokeGrantAndTell(store.sql, grantId, 'test', store.now);
      return (index % 2 ? deliveries : other).announce(store.now);
    });
    await announce();
    expect(await queuedFor(clientId)).toHaveLength(1);
  });

  it('include the client that is just getting its code', async () => {
    const signedIn = await aSignIn(store, await aUser(store));
    const clientId = await aReceiver();
    let ending: Promise<void> | undefined;
    await store
      .another()
      .sql.transaction()
      .execute(async (transaction) => {
        await grant(clientId, signedIn, {}, transaction);
        ending = endSession(store.sql, signedIn.session.id, store.now).then(() => announce());
        // Were the end not to wait for the code, it would be told of by then, without this client.
        await Promise.race([ending, delay(500)]);
      });
    await ending;
    expect(await queuedFor(clientId)).toHaveLength(1);
  });

  it('come in batches when many sign-ins end together, and all of them come', async () => {
    const own = await openStore();
    const outbox = postgresDeliveries(own.sql);
    const userId = await aUser(own);
    const { metadata, origins } = clientOf({ backchannel_logout_uri: 'https://app.example/logout' });
    await createClient(own.sql, { id: 'app', metadata, origins, secret: undefined }, own.now);
    const { signIn } = await aSignIn(own, userId);
    await aCode(own, 'app', signIn, { scope: ['openid'] });
    // The same five hundred times, each with an id of its own.
    const id = (n: string, of: string) => sql.raw(`(left(${of}.id::text, 24) || lpad(to_hex(${n}), 12, '0'))::uuid`);
    await own.rows(sql`
      INSERT INTO sign_ins (id, session_id, user_id, user_epoch, auth_time, acr, amr, expires_at)
      SELECT ${id('n', 'i')}, session_id, user_id, user_epoch, auth_time, acr, amr, expires_at
      FROM sign_ins i, generate_series(1, 500) AS n`);
    await own.rows(sql`
      INSERT INTO grants (id, client_id, user_id, user_epoch, consent_epoch, sign_in_id, session_bound, scope, resources,
                          auth_time, acr, amr, created_at, expires_at)
      SELECT ${id('n', 'g')}, g.client_id, g.user_id, g.user_epoch, g.consent_epoch, ${id('n', 'i')}, g.session_bound,
             g.scope, g.resources, g.auth_time, g.acr, g.amr, g.created_at, g.expires_at
      FROM grants g JOIN sign_ins i ON i.id = ${signIn.id}, generate_series(1, 500) AS n`);
    await setPassword(own.sql, userId, 'hash', own.now);
    const outcomes: string[] = [];
    do outcomes.push(await outbox.announce(own.now));
    while (outcomes.at(-1) === 'more');
    expect(outcomes).toEqual(['more', 'more', 'done']);
    expect(await countOf(own, 'logout_deliveries')).toBe(501);
    await own.close();
  });

  it('end a sign-in for good: one that expired here cannot be renewed by a node whose clock is behind', async () => {
    const userId = await aUser(store);
    const { session, signIn } = await aSignIn(store, userId, { expiresIn: HOUR });
    await announce(store.at(HOUR));
    const again = await aSignIn(store, userId, { previous: session, now: store.at(HOUR - 1000) });
    expect(again.signIn.id).not.toBe(signIn.id);
  });

  it('tell of one grant’s end too, if the sign-in still stands', async () => {
    const userId = await aUser(store);
    const signedIn = await aSignIn(store, userId);
    const [one, two] = [await aReceiver(), await aReceiver()];
    const grantId = await grant(one, signedIn);
    await grant(two, signedIn);
    expect(await revokeGrantAndTell(store.sql, grantId, 'by hand', store.now)).toBe('revoked');
    expect(await revokeGrantAndTell(store.sql, grantId, 'by hand', store.now)).toBe('unknown');
    expect(await queuedFor(one)).toMatchObject([{ user_id: userId, sign_in_id: signedIn.signIn.id, state: 'pending' }]);
    expect(await queuedFor(two)).toEqual([]);

    // At its own end the sign-in has nothing new to say to that client.
    await endSession(store.sql, signedIn.session.id, store.now);
    await announce();
    expect(await queuedFor(one)).toHaveLength(1);
    expect(await queuedFor(two)).toHaveLength(1);
  });

  it('tell a client again that came back after it was told', async () => {
    const signedIn = await aSignIn(store, await aUser(store));
    const clientId = await aReceiver();
    await revokeGrantAndTell(store.sql, await grant(clientId, signedIn), 'by hand', store.now);
    const again = await grant(clientId, signedIn, { now: store.at(1000) });
    await endSession(store.sql, signedIn.session.id, store.at(2000));
    await announce(store.at(2000));
    expect(await queuedFor(clientId)).toHaveLength(2);
    expect((await claimed(clientId, store.at(2000))).map(({ grantId }) => grantId)).toContain(again);
  });

  it.each<[string, (grantId: string) => Promise<unknown>]>([
    ['a grant without openid', (grantId) => revokeGrantAndTell(store.sql, grantId, 'by hand', store.now)],
    ['a refresh token that was reused', (grantId) => revokeGrant(store.sql, grantId, 'reused', store.now)],
  ])('tell nothing of %s', async (what, end) => {
    const clientId = await aReceiver();
    const signedIn = await aSignIn(store, await aUser(store));
    await end(await grant(clientId, signedIn, what.includes('without') ? { scope: ['photos.read'] } : {}));
    expect(await queuedFor(clientId)).toEqual([]);
  });

  it('tell nothing of a grant whose sign-in has long been told of, whether its row is still there or not', async () => {
    const clientId = await aReceiver();
    const signedIn = await aSignIn(store, await aUser(store));
    const grants = [await grant(clientId, signedIn), await grant(clientId, signedIn, { now: store.at(1) })];
    await endSession(store.sql, signedIn.session.id, store.now);
    await announce();
    await revokeGrantAndTell(store.sql, grants[0] ?? '', 'by hand', store.now);
    await store.rows(sql`DELETE FROM sign_ins WHERE id = ${signedIn.signIn.id}`);
    expect(await revokeGrantAndTell(store.sql, grants[1] ?? '', 'by hand', store.at(60 * DAY))).toBe('revoked');
    expect(await queuedFor(clientId)).toHaveLength(1);
  });

  it('tell a client that the person took its access away, for each browser they signed in with', async () => {
    const [alice, bob] = [await aUser(store), await aUser(store)];
    const [clientId, kept] = [await aReceiver(), await aReceiver()];
    const own = [await aSignIn(store, alice), await aSignIn(store, alice)];
    for (const userId of [alice, bob]) await consented(store, userId, clientId, ['openid']);
    for (const signedIn of own) await grant(clientId, signedIn, { firstParty: false });
    await grant(kept, own[0] as SignedIn);
    await grant(clientId, await aSignIn(store, bob), { firstParty: false });
    const access = postgresAccess(store.sql);
    expect(await access.remove(alice, clientId, store.now)).toBe('removed');
    expect(await access.remove(alice, clientId, store.now)).toBe('unknown');
    const told = await queuedFor(clientId);
    expect(told.map(({ sign_in_id }) => sign_in_id).sort()).toEqual(own.map(({ signIn }) => signIn.id).sort());
    expect(await queuedFor(kept)).toEqual([]);
  });

  describe('in the outbox', () => {
    async function queued(): Promise<Delivery & { now: Date }> {
      const clientId = await aReceiver();
      const signedIn = await aSignIn(store, await aUser(store));
      await grant(clientId, signedIn);
      await endSession(store.sql, signedIn.session.id, store.now);
      await announce();
      const [delivery] = await claimed(clientId, store.now);
      if (!delivery) throw new Error('nothing was queued');
      return { ...delivery, now: store.now };
    }

    it('are claimed by one of twenty, and by the next when the lease is over', async () => {
      const { grantId } = await queued();
      await store.rows(sql`UPDATE logout_deliveries SET next_attempt_at = NULL WHERE grant_id <> ${grantId}`);
      const other = postgresDeliveries(store.another().sql);
      for (const attempt of [2, 3]) {
        const now = store.at(attempt * DAY);
        const outcomes = await race(20, async (index) => {
          const taken = await (index % 2 ? deliveries : other).claim([], now, new Date(now.getTime() + HOUR));
          return taken ? `attempt ${taken.attempt}` : 'nothing';
        });
        expect(outcomes).toEqual({ [`attempt ${attempt}`]: 1, nothing: 19 });
      }
    });

    it('pass over clients that are crowded', async () => {
      const { clientId, now } = await queued();
      const later = new Date(now.getTime() + 2 * HOUR);
      const passed = await claimAll(later, HOUR, [clientId]);
      expect(passed.map((delivery) => delivery.clientId)).not.toContain(clientId);
      expect(await claimed(clientId, later)).toHaveLength(1);
    });

    it('are done with when they are delivered or have failed, and come again when they are put off', async () => {
      const states = async ({ clientId }: Delivery) => {
        const [row] = await queuedFor(clientId);
        return [row?.state, row?.last_error, row?.next_attempt_at];
      };
      const [good, bad, slow] = [await queued(), await queued(), await queued()];
      const retryAt = store.at(10 * DAY);
      expect(await deliveries.settle(slow, { kind: 'retry', error: 'no answer', at: retryAt }, store.now)).toBe(
        'settled',
      );
      expect(await deliveries.settle(good, { kind: 'delivered' }, store.now)).toBe('settled');
      expect(await deliveries.settle(bad, { kind: 'failed', error: 'refused' }, store.now)).toBe('settled');
      expect(await states(good)).toEqual(['delivered', null, null]);
      expect(await states(bad)).toEqual(['failed', 'refused', null]);
      expect(await states(slow)).toEqual(['pending', 'no answer', retryAt]);
      const due = async (now: Date) => (await claimAll(now)).map(({ grantId }) => grantId);
      expect(await due(store.at(10 * DAY - 1))).not.toContain(slow.grantId);
      const after = await due(retryAt);
      expect(after).toContain(slow.grantId);
      expect(after).not.toContain(good.grantId);
      expect(after).not.toContain(bad.grantId);
    });

    it('are not settled by an attempt that was overtaken', async () => {
      const first = await queued();
      const [second] = await claimed(first.clientId, store.at(20 * DAY));
      if (!second) throw new Error('the lease did not end');
      expect(await deliveries.settle(first, { kind: 'failed', error: 'late' }, store.now)).toBe('overtaken');
      expect(await deliveries.settle(second, { kind: 'delivered' }, store.now)).toBe('settled');
      expect(await deliveries.settle(second, { kind: 'failed', error: 'twice' }, store.now)).toBe('overtaken');
      expect(await queuedFor(first.clientId)).toMatchObject([{ state: 'delivered', attempts: 2, last_error: null }]);
    });
  });

  it('are listed by client and state, the latest first, also when the client has gone', async () => {
    const clientId = await aReceiver();
    const userId = await aUser(store, 'walter');
    for (const minute of [1, 2, 3]) {
      const now = store.at(minute * 60_000);
      const signedIn = await aSignIn(store, userId, { now });
      await grant(clientId, signedIn, { now });
      await endSession(store.sql, signedIn.session.id, now);
      await announce(now);
    }
    const [first] = await claimed(clientId, store.at(60_000));
    if (first) await deliveries.settle(first, { kind: 'delivered' }, store.now);
    await deleteClient(store.sql, clientId, store.now);
    const states = async (state?: 'pending' | 'delivered' | 'failed', limit = 10) =>
      (await listLogoutDeliveries(store.sql, { clientId, state }, limit)).map((row) => row.state);
    expect(await states()).toEqual(['pending', 'pending', 'delivered']);
    expect(await states(undefined, 2)).toEqual(['pending', 'pending']);
    expect(await states('delivered')).toEqual(['delivered']);
    expect(await states('failed')).toEqual([]);
    expect((await queuedFor(clientId))[0]).toMatchObject({ client_id: clientId, username: 'walter', user_id: userId });
  });

  it('have a partition for every sign-in that is there, however late its end is seen', async () => {
    const own = await openStore();
    const outbox = postgresDeliveries(own.sql);
    const { metadata, origins } = clientOf({ backchannel_logout_uri: 'https://app.example/logout' });
    await createClient(own.sql, { id: 'app', metadata, origins, secret: undefined }, own.now);
    const userId = await aUser(own);
    for (const hour of [0, 12, 24, 36, 48]) {
      const now = own.at(hour * HOUR);
      await keepPartitions(own.sql, now);
      await aCode(own, 'app', (await aSignIn(own, userId, { now })).signIn, { now, scope: ['openid'] });
    }
    // As after an upgrade: the table is new, with a partition for nothing yet.
    for (const { name } of await own.rows(sql<{ name: string }>`
      SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'logout_deliveries'::regclass`)) {
      await own.rows(sql`DROP TABLE ${sql.table(name)}`);
    }
    await keepPartitions(own.sql, own.at(48 * HOUR));
    await setPassword(own.sql, userId, 'hash', own.at(48 * HOUR));
    await outbox.announce(own.at(48 * HOUR));
    expect(await countOf(own, 'logout_deliveries')).toBe(5);
    await own.close();
  });
});
