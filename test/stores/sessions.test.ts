import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { keepPartitions } from '../../src/postgres/partitions.ts';
import { postgresPendingAuthorizations } from '../../src/postgres/pending-authorizations.pg.ts';
import { setPassword, setUserDisabled } from '../../src/postgres/people.pg.ts';
import { endSession, listSessions, postgresSessions } from '../../src/postgres/sessions.pg.ts';
import { Parameters } from '../../src/protocol/message.ts';
import { type Credential, mintCredential, mintId, sha256 } from '../../src/protocol/secrets.ts';
import { aClient, aCode, aSignIn, aUser, consented, DAY, HOUR, IDLE, openStore, race, type Store } from './store.ts';

describe('sessions', () => {
  let store: Store;
  let sessions: ReturnType<typeof postgresSessions>;
  beforeAll(async () => {
    store = await openStore();
    sessions = postgresSessions(store.sql, IDLE);
  });
  afterAll(() => store.close());

  const people = async (session: Credential, now = store.now) =>
    (await sessions.find(session, now))?.signIns.map(({ user }) => user.id);

  it('hold the person who signed in', async () => {
    const userId = await aUser(store, 'alice', { name: 'Alice' });
    const { session } = await aSignIn(store, userId);
    expect(await sessions.find(session, store.now)).toEqual({
      id: session.id,
      signIns: [
        {
          id: expect.any(String),
          user: { id: userId, username: 'alice', claims: { name: 'Alice' } },
          authentication: { time: store.now, acr: 'urn:gatehouse:acr:password', amr: ['pwd'] },
          consentedScope: [],
          consentedClaims: [],
        },
      ],
    });
  });

  it('are nobody’s by a guess, or of a time without a partition', async () => {
    const { session } = await aSignIn(store, await aUser(store));
    expect(await sessions.find({ ...session, hash: sha256('a guess') }, store.now)).toBeUndefined();
    for (const time of [new Date(0), store.at(400 * DAY)]) {
      expect(await sessions.find(mintCredential('session', time, randomBytes), store.now)).toBeUndefined();
    }
  });

  it('tell what the person let the client do, unless that was taken back', async () => {
    const [userId, clientId] = [await aUser(store), await aClient(store)];
    const { session } = await aSignIn(store, userId);
    const allow = (scope: string[], claims: string[]) => consented(store, userId, clientId, scope, { claims });
    const seen = async (client?: string) => {
      const [signIn] = (await sessions.find(session, store.now, client))?.signIns ?? [];
      return [signIn?.consentedScope, signIn?.consentedClaims];
    };
    await allow(['b', 'a'], ['name']);
    await allow(['c', 'a'], ['email', 'name']);
    const all = [
      ['a', 'b', 'c'],
      ['email', 'name'],
    ];
    expect(await seen(clientId)).toEqual(all);
    expect(await seen('another')).toEqual([[], []]);
    expect(await seen()).toEqual([[], []]);
    await store.rows(sql`UPDATE consents SET revoked_at = ${store.now} WHERE user_id = ${userId}`);
    expect(await seen(clientId)).toEqual([[], []]);
    await allow(['d'], []);
    expect(await seen(clientId)).toEqual([['d'], []]);
  });

  it('are renewed at each sign-in: the old cookie is worth nothing', async () => {
    const userId = await aUser(store);
    const first = await aSignIn(store, userId);
    const second = await aSignIn(store, userId, { previous: first.session, now: store.at(60_000) });
    expect(await people(first.session)).toBeUndefined();
    expect(await people(second.session)).toEqual([userId]);
  });

  it('keep the sign-in’s id when the same person signs in again, and tell the new time', async () => {
    const userId = await aUser(store);
    const first = await aSignIn(store, userId);
    const second = await aSignIn(store, userId, { previous: first.session, now: store.at(60_000) });
    expect(second.signIn.id).toBe(first.signIn.id);
    expect(second.signIn.authentication.time).toEqual(store.at(60_000));
    const stranger = await aSignIn(store, userId, { now: store.at(60_000) });
    expect(stranger.signIn.id).not.toBe(first.signIn.id);
  });

  it('hold several people, the latest first, each with a time of their own', async () => {
    const [alice, bob] = [await aUser(store), await aUser(store)];
    const first = await aSignIn(store, alice);
    const second = await aSignIn(store, bob, { previous: first.session, now: store.at(60_000) });
    expect(await people(second.session)).toEqual([bob, alice]);
    const third = await aSignIn(store, alice, { previous: second.session, now: store.at(120_000) });
    expect(await people(third.session)).toEqual([alice, bob]);
    const found = await sessions.find(third.session, store.at(120_000));
    expect(found?.signIns.map(({ authentication }) => authentication.time)).toEqual([
      store.at(120_000),
      store.at(60_000),
    ]);
  });

  it('take nobody over from a session that was ended, or by a guessed cookie', async () => {
    const [alice, bob] = [await aUser(store), await aUser(store)];
    const ended = await aSignIn(store, alice);
    await sessions.end(ended.session, store.now);
    expect(await people((await aSignIn(store, bob, { previous: ended.session })).session)).toEqual([bob]);
    const other = await aSignIn(store, alice);
    const guess = { ...other.session, hash: sha256('a guess') };
    expect(await people((await aSignIn(store, bob, { previous: guess })).session)).toEqual([bob]);
    expect(await people(other.session)).toEqual([alice]);
  });

  it('leave out who was disabled, or has a new password, since', async () => {
    const [alice, bob, carol] = [await aUser(store), await aUser(store), await aUser(store)];
    const first = await aSignIn(store, alice);
    const second = await aSignIn(store, bob, { previous: first.session });
    const { session } = await aSignIn(store, carol, { previous: second.session });
    await setUserDisabled(store.sql, alice, true, store.now);
    await setUserDisabled(store.sql, alice, false, store.now);
    await setPassword(store.sql, bob, 'new hash', store.now);
    expect(await people(session)).toEqual([carol]);
  });

  it('are over when unused for their idle time, and last as long as they are used', async () => {
    const { session } = await aSignIn(store, await aUser(store), { expiresIn: 3 * DAY });
    expect(await people(session, store.at(IDLE - 1))).toHaveLength(1);
    // That was a use, written since the last one was more than an hour ago.
    expect(await people(session, store.at(2 * IDLE - 2))).toHaveLength(1);
    expect(await people(session, store.at(3 * IDLE - 2))).toBeUndefined();
  });

  it('outlive a sign-in whose time is over, but hold it no more', async () => {
    const { session } = await aSignIn(store, await aUser(store), { expiresIn: HOUR });
    expect(await people(session, store.at(HOUR - 1))).toHaveLength(1);
    expect(await people(session, store.at(HOUR))).toEqual([]);
  });

  it.each([
    ['signing out', (session: Credential) => sessions.end(session, store.now)],
    ['an operator', (session: Credential) => endSession(store.sql, session.id, store.now)],
  ])('end with all their sign-ins by %s', async (_who, end) => {
    const [alice, bob] = [await aUser(store), await aUser(store)];
    const { session } = await aSignIn(store, bob, { previous: (await aSignIn(store, alice)).session });
    await end(session);
    expect(await people(session)).toBeUndefined();
    const [row] = await store.rows(sql`
      SELECT count(*)::int AS standing FROM sign_ins WHERE session_id = ${session.id} AND ended_at IS NULL`);
    expect(row).toEqual({ standing: 0 });
    expect(await endSession(store.sql, session.id, store.now)).toBe('unknown');
  });

  it('tell, when they end, also of a client whose code was being issued just then', async () => {
    const clientId = await aClient(store);
    const { session, signIn } = await aSignIn(store, await aUser(store));
    const elsewhere = store.another({ poolMax: 1 });
    const ending = await elsewhere.sql.transaction().execute(async (transaction) => {
      await aCode({ ...store, sql: transaction }, clientId, signIn, { scope: ['openid'] });
      const begun = sessions.end(session, store.now);
      // It waits for the row that the code holds.
      await expect
        .poll(async () => {
          const [row] = await store.rows(sql<{ waiting: number }>`
            SELECT count(*)::int AS waiting FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'`);
          return row?.waiting;
        })
        .toBe(1);
      return { begun };
    });
    expect(await ending.begun).toEqual([{ id: signIn.id, userId: signIn.user.id, clientIds: [clientId] }]);
  });

  it('leave no sign-in behind that nothing can end: what does not move on to the new session is over', async () => {
    const later = await openStore();
    const [alice, bob] = [await aUser(later), await aUser(later)];
    // Renewed in time again and again, both are older than a day in the end.
    let { session } = await aSignIn(later, bob, { previous: (await aSignIn(later, alice)).session });
    for (const hour of [10, 20, 30]) {
      const now = later.at(hour * HOUR);
      await keepPartitions(later.sql, now);
      const again = await aSignIn(later, bob, { previous: session, now });
      session = (await aSignIn(later, alice, { previous: again.session, now })).session;
    }
    const now = later.at(30 * HOUR);
    await postgresSessions(later.sql, IDLE).end(session, now);
    const standing = await later.rows(sql`SELECT id FROM sign_ins WHERE ended_at IS NULL AND expires_at > ${now}`);
    await later.close();
    expect(standing).toEqual([]);
  });

  it('of twenty sign-ins at once with one cookie each gets a session, and one of them the people of the old one', async () => {
    const [alice, bob] = [await aUser(store), await aUser(store)];
    const { session: previous } = await aSignIn(store, alice);
    const outcomes = await race(20, async () => {
      const { session } = await aSignIn(store, bob, { previous });
      return (await people(session))?.includes(alice) ? 'with alice' : 'alone';
    });
    expect(outcomes).toEqual({ 'with alice': 1, alone: 19 });
  });

  it('record a sign-in for the request it answers, unless that has been answered', async () => {
    const [alice, clientId] = [await aUser(store), await aClient(store)];
    const pendings = postgresPendingAuthorizations(store.sql);
    const browserHash = sha256('browser');
    const open = async () => {
      const id = mintId(store.now, randomBytes);
      await pendings.open({
        id,
        pushedRequestId: undefined,
        browserHash,
        clientId,
        parameters: new Parameters([]),
        registration: sha256('registration'),
        expiresAt: store.at(HOUR),
      });
      return id;
    };
    const [pendingId, closed] = [await open(), await open()];
    await pendings.close(closed, store.now);
    const first = await aSignIn(store, alice, { pendingId });
    const recorded = async (id: string) => (await pendings.find(id, browserHash, store.now))?.signIn;
    expect(await recorded(pendingId)).toEqual({ id: first.signIn.id, fresh: true });
    // Signing in makes a choice fresh again.
    await pendings.choose(pendingId, mintId(store.now, randomBytes), store.now);
    // The same person again: the id that stays is the one that is recorded.
    const again = await aSignIn(store, alice, { previous: first.session, pendingId, now: store.at(60_000) });
    expect(await recorded(pendingId)).toEqual({ id: again.signIn.id, fresh: true });
    await aSignIn(store, alice, { pendingId: closed });
    expect(await recorded(closed)).toBeUndefined();
  });

  it('are listed for operators, all or a person’s', async () => {
    const [alice, bob] = [await aUser(store), await aUser(store)];
    const { session } = await aSignIn(store, alice);
    await aSignIn(store, bob);
    const listed = await listSessions(store.sql, alice, store.now, 10);
    expect(listed).toMatchObject([{ session_id: session.id, user_id: alice }]);
    expect((await listSessions(store.sql, undefined, store.now, 1000)).length).toBeGreaterThan(1);
    await endSession(store.sql, session.id, store.now);
    expect(await listSessions(store.sql, alice, store.now, 10)).toEqual([]);
  });
});
