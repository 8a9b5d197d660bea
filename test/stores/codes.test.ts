import { randomBytes, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresAccess } from '../../src/features/account/access.pg.ts';
import { postgresCodes } from '../../src/features/authorization-code/codes.pg.ts';
import { postgresPushedRequests } from '../../src/features/par/pushed-requests.pg.ts';
import { postgresLedger } from '../../src/postgres/ledger.pg.ts';
import { postgresPendingAuthorizations } from '../../src/postgres/pending-authorizations.pg.ts';
import { setUserDisabled } from '../../src/postgres/people.pg.ts';
import { postgresReplayMarks } from '../../src/postgres/replay-marks.pg.ts';
import { postgresSessions } from '../../src/postgres/sessions.pg.ts';
import { NO_CLAIMS, parseClaimsRequest } from '../../src/protocol/claims-request.ts';
import { Parameters } from '../../src/protocol/message.ts';
import type { ReplayMark } from '../../src/protocol/replay.ts';
import { type Credential, mintCredential, mintId, sha256 } from '../../src/protocol/secrets.ts';
import {
  aClient,
  aCode,
  aSignIn,
  aUser,
  consented,
  countOf,
  DAY,
  deadlocksIn,
  IDLE,
  issueCode,
  minted,
  openStore,
  proofs,
  race,
  type Store,
} from './store.ts';

describe('authorization codes', () => {
  let store: Store;
  let codes: ReturnType<typeof postgresCodes>;
  let clientId: string;
  beforeAll(async () => {
    store = await openStore();
    codes = postgresCodes(store.sql);
    clientId = await aClient(store);
  });
  afterAll(() => store.close());

  async function issued() {
    const userId = await aUser(store);
    const { session, signIn } = await aSignIn(store, userId);
    return { userId, session, signIn, ...(await aCode(store, clientId, signIn)) };
  }

  async function openPending() {
    const id = mintId(store.now, randomBytes);
    const pendings = postgresPendingAuthorizations(store.sql);
    await pendings.open({
      id,
      browserHash: sha256('browser'),
      pushedRequestId: undefined,
      clientId,
      parameters: new Parameters([]),
      registration: sha256('registration'),
      expiresAt: store.at(900_000),
    });
    return { id, isOpen: () => pendings.close(id, store.now) };
  }

  it('that somebody holds hold up nobody else, and are had by whoever held them', async () => {
    const [held, free] = [await issued(), await issued()];
    const [stolen, own] = [minted(clientId, store.now), minted(clientId, store.now)];
    const { sql: other } = store.another();
    let waiting: Promise<unknown> = Promise.resolve();
    await other.transaction().execute(async (transaction) => {
      await sql`UPDATE authorization_codes SET redeemed_at = ${store.now} WHERE id = ${held.code.id}`.execute(
        transaction,
      );
      // Together, so in one statement.
      waiting = codes.redeem(held.code, clientId, stolen.forStore, store.now);
      await expect(codes.redeem(free.code, clientId, own.forStore, store.now)).resolves.toBe('redeemed');
      await expect(Promise.race([waiting, sleep(100, 'waiting')])).resolves.toBe('waiting');
    });
    await expect(waiting).resolves.toBe('lost');
    const ledger = postgresLedger(store.sql);
    await expect(ledger.findAccessToken(stolen.accessToken, store.now)).resolves.toBeUndefined();
    await expect(ledger.findAccessToken(own.accessToken, store.now)).resolves.toMatchObject({ grantId: free.grantId });
  });

  it('presented together each give their own tokens', async () => {
    const all = await Promise.all(
      Array.from({ length: 8 }, async () => ({ ...(await issued()), ...minted(clientId, store.now) })),
    );
    const outcomes = await Promise.all(
      all.map(({ code, forStore }) => codes.redeem(code, clientId, forStore, store.now)),
    );
    expect(new Set(outcomes)).toEqual(new Set(['redeemed']));
    const ledger = postgresLedger(store.sql);
    const found = await Promise.all(all.map(({ accessToken }) => ledger.findAccessToken(accessToken, store.now)));
    expect(found.map((token) => token?.grantId)).toEqual(all.map(({ grantId }) => grantId));
    expect(found.map((token) => token?.user?.id)).toEqual(all.map(({ userId }) => userId));
  });

  it('keep what was approved', async () => {
    const { userId, signIn, code, grantId } = await issued();
    await expect(codes.find(code, store.now)).resolves.toEqual({
      authorization: {
        grantId,
        user: { id: userId, username: signIn.user.username, claims: {} },
        authentication: signIn.authentication,
        signInId: signIn.id,
        claims: NO_CLAIMS,
        scope: ['photos.read'],
        authorizationDetails: [],
        resources: [],
        nonce: 'nonce',
        expiresAt: store.at(90 * DAY),
      },
      clientId,
      redirectUri: 'https://app.example/callback',
      codeChallenge: 'challenge',
      expiresAt: store.at(60_000),
      redeemed: false,
      stands: true,
    });
  });

  it('keep the claims that were asked for by name, and that there was no challenge', async () => {
    const { signIn } = await issued();
    const claims = parseClaimsRequest(
      JSON.stringify({
        id_token: { acr: { essential: true, values: ['a', 'b'] } },
        userinfo: { email: { values: ['a@people.example', 'b@people.example'] } },
      }),
      ['profile', 'email', 'address', 'phone'],
    );
    const { code } = await aCode(store, clientId, signIn, { claims, codeChallenge: null });
    expect(await codes.find(code, store.now)).toMatchObject({ authorization: { claims }, codeChallenge: undefined });
  });

  it('of twenty redemptions at once exactly one wins, and only its tokens are stored', async () => {
    for (let round = 0; round < 10; round += 1) {
      const { code } = await issued();
      const before = [await countOf(store, 'access_tokens'), await countOf(store, 'refresh_tokens')];
      const outcomes = await race(20, () =>
        codes.redeem(code, clientId, minted(clientId, store.now).forStore, store.now),
      );
      expect(outcomes).toEqual({ redeemed: 1, lost: 19 });
      expect([await countOf(store, 'access_tokens'), await countOf(store, 'refresh_tokens')]).toEqual(
        before.map((count) => count + 1),
      );
    }
  });

  const redeemWith = (code: Credential, marks: readonly ReplayMark[], by = codes) =>
    by.redeem(code, clientId, { ...minted(clientId, store.now).forStore, marks }, store.now);

  it('of one request that comes twenty times at once, to two nodes, one redeems and the others are told of its proof', async () => {
    const another = postgresCodes(store.another({ poolMax: 10 }).sql);
    for (let round = 0; round < 10; round += 1) {
      const { code, grantId } = await issued();
      const marks = proofs(store.now, randomUUID(), randomUUID());
      const outcomes = await race(20, (index) => redeemWith(code, marks, index % 2 === 0 ? codes : another));
      // `lost` would end the grant: somebody else has the code.
      expect(outcomes).toEqual({ redeemed: 1, 'a mark was used': 19 });
      expect(await codes.find(code, store.now)).toMatchObject({ stands: true, authorization: { grantId } });
    }
  });

  it('of twenty redemptions at once with proofs of their own exactly one wins', async () => {
    const another = postgresCodes(store.another({ poolMax: 10 }).sql);
    for (let round = 0; round < 5; round += 1) {
      const { code } = await issued();
      const before = await countOf(store, 'refresh_tokens');
      const outcomes = await race(20, (index) =>
        redeemWith(code, proofs(store.now, randomUUID(), randomUUID()), index % 2 === 0 ? codes : another),
      );
      expect(outcomes).toEqual({ redeemed: 1, lost: 19 });
      expect(await countOf(store, 'refresh_tokens')).toBe(before + 1);
    }
  });

  it('are not redeemed with a proof that was used, whoever comes with it, and can be with another one', async () => {
    const [spoilt, good] = [await issued(), await issued()];
    const [used, ...fresh] = proofs(store.now, randomUUID(), randomUUID(), randomUUID());
    if (!used) throw new Error('three');
    await postgresReplayMarks(store.sql).claim([used]);
    const tokens = await countOf(store, 'access_tokens');
    expect(
      await Promise.all([redeemWith(spoilt.code, [...fresh.slice(0, 1), used]), redeemWith(good.code, fresh.slice(1))]),
    ).toEqual([used, 'redeemed']);
    expect(await countOf(store, 'access_tokens')).toBe(tokens + 1);
    expect(await redeemWith(spoilt.code, proofs(store.now, randomUUID()))).toBe('redeemed');
  });

  it('that somebody holds are waited for with their proofs, which are good for that and for nothing else', async () => {
    const [held, free] = [await issued(), await issued()];
    const marks = proofs(store.now, randomUUID(), randomUUID());
    const { sql: other } = store.another();
    let waiting: Promise<unknown> = Promise.resolve();
    const released = other.transaction().execute(async (transaction) => {
      await sql`SELECT FROM authorization_codes WHERE id = ${held.code.id} FOR UPDATE`.execute(transaction);
      waiting = redeemWith(held.code, marks);
      expect(await redeemWith(free.code, proofs(store.now, randomUUID()))).toBe('redeemed');
      expect(await Promise.race([waiting, sleep(100, 'waiting')])).toBe('waiting');
      expect(await redeemWith((await issued()).code, marks)).toBe(marks[0]);
    });
    await released;
    expect(await waiting).toBe('redeemed');
  });

  describe('of pushed requests', () => {
    const requests = () => postgresPushedRequests(store.sql);
    async function pushed() {
      const credential = mintCredential('pushed_request', store.now, randomBytes);
      const request = { parameters: new Parameters([]), registration: sha256('x'), expiresAt: store.at(90_000) };
      await requests().push(credential, clientId, request, []);
      return {
        id: credential.id,
        isOpen: async () => (await requests().find(credential, clientId, store.now)) !== undefined,
      };
    }

    it('are made once, of twenty at once on two nodes', async () => {
      const another = postgresCodes(store.another({ poolMax: 10 }).sql);
      const { signIn } = await issued();
      for (let round = 0; round < 5; round += 1) {
        const request = await pushed();
        const grants = await countOf(store, 'grants');
        const outcomes = await race(20, async (index) => {
          const by = index % 2 === 0 ? codes : another;
          return (await issueCode(by, clientId, signIn, { now: store.now, pushedRequestId: request.id })).outcome;
        });
        expect(outcomes).toEqual({ issued: 1, gone: 19 });
        expect(await countOf(store, 'grants')).toBe(grants + 1);
        expect(await request.isOpen()).toBe(false);
      }
    });

    it('are made together with others, each for its own', async () => {
      const [first, second] = [await pushed(), await pushed()];
      const { signIn } = await issued();
      const all = await Promise.all(
        [first.id, first.id, undefined, second.id].map((pushedRequestId) =>
          issueCode(codes, clientId, signIn, {
            now: store.now,
            ...(pushedRequestId !== undefined && { pushedRequestId }),
          }),
        ),
      );
      expect(all.map(({ outcome }) => outcome).toSorted()).toEqual(['gone', 'issued', 'issued', 'issued']);
      expect([await first.isOpen(), await second.isOpen()]).toEqual([false, false]);
      for (const { outcome, code } of all)
        expect((await codes.find(code, store.now)) !== undefined).toBe(outcome === 'issued');
    });

    it('that somebody holds hold up nobody else', async () => {
      const [held, free] = [await pushed(), await pushed()];
      const { signIn } = await issued();
      const issue = async ({ id }: { id: string }) =>
        (await issueCode(codes, clientId, signIn, { now: store.now, pushedRequestId: id })).outcome;
      const { sql: other } = store.another();
      let waiting: Promise<unknown> = Promise.resolve();
      await other.transaction().execute(async (transaction) => {
        await sql`UPDATE pushed_requests SET consumed_at = ${store.now} WHERE id = ${held.id}`.execute(transaction);
        waiting = issue(held);
        expect(await issue(free)).toBe('issued');
        expect(await Promise.race([waiting, sleep(100, 'waiting')])).toBe('waiting');
      });
      expect(await waiting).toBe('gone');
    });

    it('are not used up where the sign-in has ended', async () => {
      const request = await pushed();
      const { signIn, session } = await issued();
      await postgresSessions(store.sql, IDLE).end(session, store.now);
      expect((await issueCode(codes, clientId, signIn, { now: store.now, pushedRequestId: request.id })).outcome).toBe(
        'gone',
      );
      expect(await request.isOpen()).toBe(true);
    });
  });

  it('on two nodes that redeem many in opposite order, with the same proofs, neither node waits for the other for ever', async () => {
    const another = postgresCodes(store.another({ poolMax: 10 }).sql);
    for (let round = 0; round < 5; round += 1) {
      const all = await Promise.all(
        Array.from({ length: 15 }, async () => ({
          ...(await issued()),
          marks: proofs(store.now, randomUUID(), randomUUID()),
        })),
      );
      const redeemed = (by: typeof codes, those: typeof all) =>
        Promise.all(
          those.map(async ({ code, marks }) => ((await redeemWith(code, marks, by)) === 'redeemed' ? code.id : '')),
        );
      const won = await Promise.all([redeemed(codes, all), redeemed(another, all.toReversed())]);
      expect(
        won
          .flat()
          .filter((id) => id !== '')
          .toSorted(),
      ).toEqual(all.map(({ code }) => code.id).toSorted());
    }
    expect(await deadlocksIn(store)).toBe(0);
  });

  it('lose for another client, another secret, and after their minute, and can be redeemed all the same', async () => {
    const { code } = await issued();
    const { forStore } = minted(clientId, store.now);
    const stranger = { ...code, hash: sha256('a guess') };
    const tokens = await countOf(store, 'access_tokens');
    expect(await codes.redeem(code, 'another client', forStore, store.now)).toBe('lost');
    expect(await codes.redeem(stranger, clientId, forStore, store.now)).toBe('lost');
    expect(await codes.redeem(code, clientId, forStore, store.at(60_000))).toBe('lost');
    expect(await codes.find(stranger, store.now)).toBeUndefined();
    expect(await countOf(store, 'access_tokens')).toBe(tokens);
    expect(await codes.redeem(code, clientId, forStore, store.at(59_999))).toBe('redeemed');
    expect(await codes.find(code, store.now)).toMatchObject({ redeemed: true, stands: true });
  });

  it('that never were, of a time without a partition, are simply unknown', async () => {
    for (const time of [new Date(0), store.at(-400 * DAY), store.at(400 * DAY)]) {
      const code = mintCredential('authorization_code', time, randomBytes);
      expect(await codes.find(code, store.now)).toBeUndefined();
      expect(await codes.redeem(code, clientId, minted(clientId, store.now).forStore, store.now)).toBe('lost');
    }
  });

  it('end with their grant when one is presented again', async () => {
    const { code, grantId } = await issued();
    const { accessToken, refreshToken, forStore } = minted(clientId, store.now);
    await codes.redeem(code, clientId, forStore, store.now);
    const ledger = postgresLedger(store.sql);
    expect(await ledger.findAccessToken(accessToken, store.now)).toBeDefined();
    await codes.revokeReplayed(grantId, store.now);
    expect(await codes.find(code, store.now)).toMatchObject({ redeemed: true, stands: false });
    expect(await ledger.findAccessToken(accessToken, store.now)).toBeUndefined();
    expect(await ledger.findRefreshToken(refreshToken, store.now)).toBeUndefined();
  });

  it('answer a pending authorization once, of twenty at once', async () => {
    const { signIn } = await issued();
    const pending = await openPending();
    const grants = await countOf(store, 'grants');
    const outcomes = await race(
      20,
      async () => (await aCode(store, clientId, signIn, { pendingId: pending.id })).outcome,
    );
    expect(outcomes).toEqual({ issued: 1, gone: 19 });
    expect(await countOf(store, 'grants')).toBe(grants + 1);
    expect(await pending.isOpen()).toBe(false);
  });

  it('are not made without a consent that stands and covers them, but for a first-party client', async () => {
    const { userId, signIn } = await issued();
    const ask = async (scope = ['photos.read'], claims = NO_CLAIMS) =>
      (await aCode(store, clientId, signIn, { firstParty: false, scope, claims })).outcome;
    expect(await ask()).toBe('gone');
    await consented(store, userId, clientId, ['photos.read']);
    expect(await ask()).toBe('issued');
    expect(await ask(['photos.read', 'photos.write'])).toBe('gone');
    const name = parseClaimsRequest('{"userinfo":{"name":null}}', ['profile', 'email', 'address', 'phone']);
    expect(await ask(['photos.read'], name)).toBe('gone');
    await consented(store, userId, clientId, ['photos.read'], { claims: ['name'] });
    expect(await ask(['photos.read'], name)).toBe('issued');
    expect(
      await ask(
        ['photos.read'],
        parseClaimsRequest('{"id_token":{"name":null,"email":null}}', ['profile', 'email', 'address', 'phone']),
      ),
    ).toBe('gone');
    await postgresAccess(store.sql).remove(userId, clientId, store.now);
    expect(await ask()).toBe('gone');
    expect((await aCode(store, clientId, signIn)).outcome).toBe('issued');
  });

  it.each<
    [string, (who: { userId: string; session: Awaited<ReturnType<typeof aSignIn>>['session'] }) => Promise<unknown>]
  >([
    ['the person was disabled', ({ userId }) => setUserDisabled(store.sql, userId, true, store.now)],
    [
      'the person was disabled and enabled',
      async ({ userId }) => {
        await setUserDisabled(store.sql, userId, true, store.now);
        await setUserDisabled(store.sql, userId, false, store.now);
      },
    ],
    ['the session has ended', ({ session }) => postgresSessions(store.sql, IDLE).end(session, store.now)],
  ])('are not made when %s meanwhile, and the request stays unanswered', async (_what, end) => {
    const who = await issued();
    const pending = await openPending();
    await end(who);
    const grants = await countOf(store, 'grants');
    expect((await aCode(store, clientId, who.signIn, { pendingId: pending.id })).outcome).toBe('gone');
    expect((await aCode(store, clientId, who.signIn)).outcome).toBe('gone');
    expect(await countOf(store, 'grants')).toBe(grants);
    // All or nothing: its client can still be told.
    expect(await pending.isOpen()).toBe(true);
  });
});
