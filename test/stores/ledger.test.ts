import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresAccess } from '../../src/features/account/access.pg.ts';
import { deleteClient, setClientDisabled } from '../../src/postgres/clients.pg.ts';
import { listGrants, postgresLedger, revokeGrant } from '../../src/postgres/ledger.pg.ts';
import { setPassword, setUserDisabled } from '../../src/postgres/people.pg.ts';
import { endSession, postgresSessions } from '../../src/postgres/sessions.pg.ts';
import { NO_CLAIMS, parseClaimsRequest } from '../../src/protocol/claims-request.ts';
import { mintCredential, mintId, sha256 } from '../../src/protocol/secrets.ts';
import {
  aClient,
  aUser,
  consented,
  countOf,
  DAY,
  HOUR,
  IDLE,
  minted,
  openStore,
  proofs,
  race,
  type Store,
  someTokens,
  type Tokens,
} from './store.ts';

describe('the ledger', () => {
  let store: Store;
  let ledger: ReturnType<typeof postgresLedger>;
  beforeAll(async () => {
    store = await openStore();
    ledger = postgresLedger(store.sql);
  });
  afterAll(() => store.close());

  const signedOf = ({ grantId, clientId }: Pick<Tokens, 'grantId' | 'clientId'>) => ({
    jti: mintId(store.now, randomBytes),
    grantId,
    clientId,
  });

  /** Which of the three forms stand: opaque access token, refresh token, signed access token. */
  async function standing(tokens: Tokens, now = store.now): Promise<boolean[]> {
    const found = await Promise.all([
      ledger.findAccessToken(tokens.accessToken, now),
      ledger.findRefreshToken(tokens.refreshToken, now),
      ledger.confirm(signedOf(tokens), now),
    ]);
    return found.map((token) => token !== undefined);
  }
  const ALL = [true, true, true];
  const NONE = [false, false, false];

  const consent = (userId: string, clientId: string) => consented(store, userId, clientId, ['photos.read']);

  it('tells of a token that stands what was granted', async () => {
    const tokens = await someTokens(store);
    expect(await ledger.findAccessToken(tokens.accessToken, store.now)).toEqual({
      kind: 'access_token',
      jti: tokens.accessToken.id,
      grantId: tokens.grantId,
      clientId: tokens.clientId,
      scope: ['photos.read'],
      authorizationDetails: [],
      audience: ['https://photos.example'],
      issuedAt: store.now,
      expiresAt: store.at(300_000),
      user: tokens.signIn.user,
      claims: NO_CLAIMS,
      authentication: tokens.signIn.authentication,
    });
    expect(await ledger.findRefreshToken(tokens.refreshToken, store.now)).toMatchObject({
      kind: 'refresh_token',
      clientId: tokens.clientId,
      expiresAt: store.at(14 * DAY),
      user: tokens.signIn.user,
    });
    expect(await ledger.confirm(signedOf(tokens), store.now)).toEqual({ user: tokens.signIn.user, claims: NO_CLAIMS });
  });

  it('tells of the claims that were asked for by name', async () => {
    const claims = parseClaimsRequest(
      '{"userinfo":{"name":{"essential":true,"value":"A"}},"id_token":{"sub":{"values":[]}}}',
      ['profile', 'email', 'address', 'phone'],
    );
    const tokens = await someTokens(store, { claims });
    expect(await ledger.findAccessToken(tokens.accessToken, store.now)).toMatchObject({ claims });
    expect(await ledger.findRefreshToken(tokens.refreshToken, store.now)).toMatchObject({ claims });
    expect(await ledger.confirm(signedOf(tokens), store.now)).toMatchObject({ claims });
  });

  it.each<[string, (tokens: Tokens) => Promise<unknown>]>([
    ['the grant', ({ grantId }) => ledger.revokeGrant(grantId, 'test', store.now)],
    ['the person, disabled', ({ userId }) => setUserDisabled(store.sql, userId, true, store.now)],
    ['the person’s password', ({ userId }) => setPassword(store.sql, userId, 'new hash', store.now)],
    ['the client, disabled', ({ clientId }) => setClientDisabled(store.sql, clientId, true, store.now)],
    ['the client, deleted', ({ clientId }) => deleteClient(store.sql, clientId, store.now)],
    ['the consent', ({ userId, clientId }) => postgresAccess(store.sql).remove(userId, clientId, store.now)],
  ])('all tokens of a grant end by one row: %s', async (_what, end) => {
    const [userId, clientId] = [await aUser(store), await aClient(store)];
    await consent(userId, clientId);
    const tokens = await someTokens(store, { userId, clientId });
    const others = await someTokens(store);
    expect(await standing(tokens)).toEqual(ALL);
    await end(tokens);
    expect(await standing(tokens)).toEqual(NONE);
    expect(await standing(others)).toEqual(ALL);
  });

  it('what ended stays over when its cause is undone: consent withdrawn and given again', async () => {
    const [userId, clientId] = [await aUser(store), await aClient(store)];
    await consent(userId, clientId);
    const before = await someTokens(store, { userId, clientId });
    await postgresAccess(store.sql).remove(userId, clientId, store.now);
    await consent(userId, clientId);
    expect(await standing(before)).toEqual(NONE);
    const after = await someTokens(store, { userId, clientId });
    expect(await standing(after)).toEqual(ALL);
    await postgresAccess(store.sql).remove(userId, clientId, store.now);
    expect([await standing(before), await standing(after)]).toEqual([NONE, NONE]);
  });

  it('what ended stays over when its cause is undone: the person disabled and enabled', async () => {
    const before = await someTokens(store);
    await setUserDisabled(store.sql, before.userId, true, store.now);
    await setUserDisabled(store.sql, before.userId, false, store.now);
    expect(await standing(before)).toEqual(NONE);
    expect(await standing(await someTokens(store, { userId: before.userId }))).toEqual(ALL);
  });

  it('a grant made without consent (first-party) ends with a consent given later and withdrawn', async () => {
    const [userId, clientId] = [await aUser(store), await aClient(store)];
    const tokens = await someTokens(store, { userId, clientId });
    await consent(userId, clientId);
    expect(await standing(tokens)).toEqual(ALL);
    await postgresAccess(store.sql).remove(userId, clientId, store.now);
    expect(await standing(tokens)).toEqual(NONE);
  });

  it.each<[string, (tokens: Tokens) => Promise<unknown>, boolean[]]>([
    ['signing out', ({ session }) => postgresSessions(store.sql, IDLE).end(session, store.now), NONE],
    [
      'an operator ending the session',
      async ({ session }) => expect(await endSession(store.sql, session.id, store.now)).toBe('ended'),
      NONE,
    ],
  ])('what is bound to the session ends by %s, what is not outlives it', async (_what, end, expected) => {
    const bound = await someTokens(store, { sessionBound: true });
    const free = await someTokens(store);
    expect([await standing(bound), await standing(free)]).toEqual([ALL, ALL]);
    await end(bound);
    await end(free);
    expect([await standing(bound), await standing(free)]).toEqual([expected, ALL]);
  });

  it('what is bound to the session ends with the sign-in’s time', async () => {
    const bound = await someTokens(store, { sessionBound: true });
    expect((await standing(bound, store.at(12 * HOUR - 1)))[2]).toBe(true);
    expect((await standing(bound, store.at(12 * HOUR)))[2]).toBe(false);
  });

  it('tokens end with their own time and with their grant’s', async () => {
    const tokens = await someTokens(store, { grantExpiresIn: HOUR });
    expect(await standing(tokens, store.at(299_999))).toEqual(ALL);
    expect(await standing(tokens, store.at(300_000))).toEqual([false, true, true]);
    expect(await standing(tokens, store.at(HOUR))).toEqual(NONE);
  });

  it('knows nobody by a guess, by another kind, or of a time without a partition', async () => {
    const { accessToken, refreshToken } = await someTokens(store);
    const guess = { ...accessToken, hash: sha256('a guess') };
    expect(await ledger.findAccessToken(guess, store.now)).toBeUndefined();
    expect(await ledger.findAccessToken(refreshToken, store.now)).toBeUndefined();
    expect(await ledger.findRefreshToken(accessToken, store.now)).toBeUndefined();
    for (const time of [new Date(0), store.at(-400 * DAY), store.at(400 * DAY)]) {
      const token = mintCredential('access_token', time, randomBytes);
      expect(await ledger.findAccessToken(token, store.now)).toBeUndefined();
      expect(await ledger.revokeAccessToken(token, 'client', store.now)).toBe('unknown');
      expect(await ledger.revokeRefreshToken(token, 'client', store.now)).toBe('unknown');
    }
  });

  it('a client’s own token has no grant and no person, and ends with the client', async () => {
    const clientId = await aClient(store);
    const token = mintCredential('access_token', store.now, randomBytes);
    const signed = { jti: mintId(store.now, randomBytes), grantId: undefined, clientId };
    const record = {
      id: token.id,
      hash: token.hash,
      grantId: undefined,
      clientId,
      scope: [],
      authorizationDetails: [],
      audience: ['https://storage.example'],
      cnf: undefined,
      issuedAt: store.now,
      expiresAt: store.at(300_000),
    };
    await ledger.record(record, []);
    expect(await ledger.findAccessToken(token, store.now)).toMatchObject({
      user: undefined,
      authentication: undefined,
      grantId: undefined,
    });
    expect(await ledger.confirm(signed, store.now)).toEqual({ user: undefined, claims: NO_CLAIMS });
    await setClientDisabled(store.sql, clientId, true, store.now);
    expect(await ledger.findAccessToken(token, store.now)).toBeUndefined();
    expect(await ledger.confirm(signed, store.now)).toBeUndefined();
  });

  it('records no token for a proof that was used, also where both come together', async () => {
    const clientId = await aClient(store);
    const [used, fresh, twice] = proofs(store.now, randomUUID(), randomUUID(), randomUUID());
    if (!used || !fresh || !twice) throw new Error('three');
    await ledger.record(undefined, [used]);
    const recorded = await Promise.all(
      [[], [used], [fresh], [twice], [twice]].map(async (marks) => {
        const { accessToken, forStore } = minted(clientId, store.now);
        const answer = await ledger.record(forStore.accessToken, marks);
        return { answer, stands: (await ledger.findAccessToken(accessToken, store.now)) !== undefined };
      }),
    );
    expect(recorded).toEqual([
      { answer: undefined, stands: true },
      { answer: used, stands: false },
      { answer: undefined, stands: true },
      { answer: undefined, stands: true },
      { answer: twice, stands: false },
    ]);
    expect(await ledger.record(undefined, [fresh])).toBe(fresh);
  });

  it('confirms no signed token of a grant or client that never was', async () => {
    const tokens = await someTokens(store);
    expect(
      await ledger.confirm({ ...signedOf(tokens), grantId: mintId(store.now, randomBytes) }, store.now),
    ).toBeUndefined();
    expect(await ledger.confirm({ ...signedOf(tokens), clientId: 'nobody' }, store.now)).toBeUndefined();
  });

  describe('revocation (RFC 7009)', () => {
    it('of an access token ends that one only', async () => {
      const tokens = await someTokens(store);
      expect(await ledger.revokeAccessToken(tokens.accessToken, tokens.clientId, store.now)).toBe('revoked');
      expect(await standing(tokens)).toEqual([false, true, true]);
      // Again is no error (§2.2).
      expect(await ledger.revokeAccessToken(tokens.accessToken, tokens.clientId, store.now)).toBe('revoked');
    });

    it('of a signed access token ends that one only, whoever says it first', async () => {
      const tokens = await someTokens(store);
      const [signed, other] = [signedOf(tokens), signedOf(tokens)];
      expect(await race(20, () => ledger.revokeSigned(signed, tokens.clientId, store.now))).toEqual({ revoked: 20 });
      expect(await ledger.confirm(signed, store.now)).toBeUndefined();
      expect(await ledger.confirm(other, store.now)).toBeDefined();
    });

    it('of a refresh token ends its grant', async () => {
      const tokens = await someTokens(store);
      expect(await ledger.revokeRefreshToken(tokens.refreshToken, tokens.clientId, store.now)).toBe('revoked');
      expect(await standing(tokens)).toEqual(NONE);
      expect(await ledger.revokeRefreshToken(tokens.refreshToken, tokens.clientId, store.now)).toBe('revoked');
    });

    it('by another client changes nothing', async () => {
      const tokens = await someTokens(store);
      const marks = await countOf(store, 'revocation_marks');
      expect(await ledger.revokeAccessToken(tokens.accessToken, 'another', store.now)).toBe('foreign');
      expect(await ledger.revokeRefreshToken(tokens.refreshToken, 'another', store.now)).toBe('foreign');
      expect(await ledger.revokeSigned(signedOf(tokens), 'another', store.now)).toBe('foreign');
      expect(await standing(tokens)).toEqual(ALL);
      expect(await countOf(store, 'revocation_marks')).toBe(marks);
    });

    it('of a grant is told once, of twenty at once', async () => {
      const { grantId } = await someTokens(store);
      expect(await race(20, () => revokeGrant(store.sql, grantId, 'test', store.now))).toEqual({
        revoked: 1,
        unknown: 19,
      });
    });
  });

  it('lists grants for operators: those that stand, or all, of a person or a client', async () => {
    const [first, second] = [await someTokens(store), await someTokens(store)];
    await revokeGrant(store.sql, second.grantId, 'by hand', store.now);
    const list = async (filter: Omit<Parameters<typeof listGrants>[1], 'all'>, all: boolean) =>
      (await listGrants(store.sql, { ...filter, all }, store.now, 100)).map(({ id, stands }) => [id, stands]);
    expect(await list({ userId: first.userId }, false)).toEqual([[first.grantId, true]]);
    expect(await list({ clientId: second.clientId }, false)).toEqual([]);
    expect(await list({ clientId: second.clientId }, true)).toEqual([[second.grantId, false]]);
    expect((await list({}, true)).length).toBeGreaterThan((await list({}, false)).length);
  });
});
