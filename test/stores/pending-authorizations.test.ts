import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresAccess } from '../../src/features/account/access.pg.ts';
import { postgresConsents } from '../../src/features/consent/consents.pg.ts';
import { postgresPendingAuthorizations } from '../../src/postgres/pending-authorizations.pg.ts';
import { Parameters } from '../../src/protocol/message.ts';
import { mintId, sha256 } from '../../src/protocol/secrets.ts';
import { aClient, aSignIn, aUser, DAY, openStore, race, type Store } from './store.ts';

const MINE = sha256('my browser');
const THEIRS = sha256('another browser');
const REGISTRATION = sha256('registration');

describe('pending authorizations', () => {
  let store: Store;
  let pendings: ReturnType<typeof postgresPendingAuthorizations>;
  beforeAll(async () => {
    store = await openStore();
    pendings = postgresPendingAuthorizations(store.sql);
  });
  afterAll(() => store.close());

  const parameters = new Parameters([
    ['client_id', 'client'],
    ['resource', 'https://b.example'],
    ['state', 'a&b=ü 🗝'],
    ['resource', 'https://a.example'],
  ]);

  async function open(browserHash: Buffer | undefined): Promise<string> {
    const id = mintId(store.now, randomBytes);
    await pendings.open({
      id,
      pushedRequestId: undefined,
      browserHash,
      clientId: 'client',
      parameters,
      registration: REGISTRATION,
      expiresAt: store.at(900_000),
    });
    return id;
  }

  it('keep the request as it came, for the browser it came from, for their time', async () => {
    const id = await open(MINE);
    const found = await pendings.find(id, MINE, store.now);
    expect(found?.parameters.pairs()).toEqual(parameters.pairs());
    expect(found).toMatchObject({
      id,
      bound: true,
      registration: REGISTRATION,
      signIn: undefined,
      consented: undefined,
      denied: false,
      closed: false,
    });
    expect(await pendings.find(id, THEIRS, store.now)).toBeUndefined();
    expect(await pendings.find(id, MINE, store.at(899_999))).toBeDefined();
    expect(await pendings.find(id, MINE, store.at(900_000))).toBeUndefined();
    for (const time of [store.now, new Date(0), store.at(400 * DAY)]) {
      expect(await pendings.find(mintId(time, randomBytes), MINE, store.now)).toBeUndefined();
    }
  });

  it('of before there were digests have none', async () => {
    const id = await open(MINE);
    await sql`UPDATE pending_authorizations SET registration = NULL WHERE id = ${id}`.execute(store.sql);
    expect((await pendings.find(id, MINE, store.now))?.registration).toBeUndefined();
  });

  it('that are nobody’s become one browser’s, of twenty at once', async () => {
    const id = await open(undefined);
    expect(await pendings.find(id, THEIRS, store.now)).toMatchObject({ bound: false });
    const outcomes = await race(20, async (index) =>
      (await pendings.bind(id, sha256(`browser ${index}`), store.now)) ? 'bound' : 'late',
    );
    expect(outcomes).toEqual({ bound: 1, late: 19 });
    expect(await pendings.find(id, THEIRS, store.now)).toBeUndefined();
  });

  it('are bound neither after their time nor after their answer', async () => {
    const late = await open(undefined);
    expect(await pendings.bind(late, MINE, store.at(900_000))).toBe(false);
    const answered = await open(undefined);
    await pendings.close(answered, store.now);
    expect(await pendings.bind(answered, MINE, store.now)).toBe(false);
  });

  it('are closed once, of twenty at once', async () => {
    const id = await open(MINE);
    const outcomes = await race(20, async () => ((await pendings.close(id, store.now)) ? 'closed' : 'late'));
    expect(outcomes).toEqual({ closed: 1, late: 19 });
    expect(await pendings.find(id, MINE, store.now)).toMatchObject({ closed: true });
  });

  it('take no answer of a person once they are closed', async () => {
    const [userId, clientId] = [await aUser(store), await aClient(store)];
    const id = await open(MINE);
    await pendings.close(id, store.now);
    await pendings.deny(id, store.now);
    await postgresConsents(store.sql).allow({ userId, clientId, scope: ['a'], claims: [], pendingId: id }, store.now);
    await pendings.choose(id, mintId(store.now, randomBytes), store.now);
    expect(await pendings.find(id, MINE, store.now)).toMatchObject({
      signIn: undefined,
      denied: false,
      consented: undefined,
    });
    expect(await postgresAccess(store.sql).list(userId)).toEqual([]);
  });

  it('record yes, by whom and to what, and no', async () => {
    const [userId, clientId] = [await aUser(store), await aClient(store)];
    const id = await open(MINE);
    const answer = { userId, clientId, scope: ['b', 'a'], claims: ['name'], pendingId: id };
    await postgresConsents(store.sql).allow(answer, store.now);
    expect((await pendings.find(id, MINE, store.now))?.consented).toEqual({
      userId,
      scope: ['b', 'a'],
      claims: ['name'],
    });
    await pendings.deny(id, store.now);
    expect(await pendings.find(id, MINE, store.now)).toMatchObject({ denied: true, closed: false });
  });

  it('take no yes after a no: it is remembered nowhere', async () => {
    const [userId, clientId] = [await aUser(store), await aClient(store)];
    const id = await open(MINE);
    await pendings.deny(id, store.now);
    const answer = { userId, clientId, scope: ['a'], claims: ['name'], pendingId: id };
    await postgresConsents(store.sql).allow(answer, store.now);
    expect(await pendings.find(id, MINE, store.now)).toMatchObject({ denied: true, consented: undefined });
    expect(await postgresAccess(store.sql).list(userId)).toEqual([]);
  });

  it('record who was chosen; another choice takes its place', async () => {
    const id = await open(MINE);
    const [alice, bob] = [mintId(store.now, randomBytes), mintId(store.now, randomBytes)];
    for (const signInId of [alice, bob]) {
      await pendings.choose(id, signInId, store.now);
      expect((await pendings.find(id, MINE, store.now))?.signIn).toEqual({ id: signInId, fresh: false });
    }
  });

  it('keep who signed in for them fresh when chosen, and nobody else', async () => {
    const [alice, bob] = [await aUser(store), await aUser(store)];
    const id = await open(MINE);
    const { signIn: before } = await aSignIn(store, bob);
    const { signIn } = await aSignIn(store, alice, { pendingId: id });
    const recorded = async () => (await pendings.find(id, MINE, store.now))?.signIn;
    expect(await recorded()).toEqual({ id: signIn.id, fresh: true });
    await pendings.choose(id, signIn.id, store.now);
    expect(await recorded()).toEqual({ id: signIn.id, fresh: true });
    await pendings.choose(id, before.id, store.now);
    expect(await recorded()).toEqual({ id: before.id, fresh: false });
    // Not even back again: the freshness was given up.
    await pendings.choose(id, signIn.id, store.now);
    expect(await recorded()).toEqual({ id: signIn.id, fresh: false });
  });

  it('take no choice after their time', async () => {
    const id = await open(MINE);
    await pendings.choose(id, mintId(store.now, randomBytes), store.at(900_000));
    expect((await pendings.find(id, MINE, store.now))?.signIn).toBeUndefined();
  });
});
