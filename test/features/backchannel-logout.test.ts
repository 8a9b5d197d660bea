/** OpenID Connect Back-Channel Logout 1.0, with openid-client as the relying party and a real receiver. */
import { setTimeout as delay } from 'node:timers/promises';
import { compactDecrypt, createRemoteJWKSet, decodeJwt, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import type * as oidc from 'openid-client';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { listLogoutDeliveries, postgresDeliveries } from '../../src/features/backchannel-logout/deliveries.pg.ts';
import { backchannelLogout } from '../../src/features/backchannel-logout/index.ts';
import { type FeatureLine, features } from '../../src/features.ts';
import { deleteClient, setClientDisabled } from '../../src/postgres/clients.pg.ts';
import { listGrants, revokeGrantAndTell } from '../../src/postgres/ledger.pg.ts';
import { setPassword, setUserDisabled } from '../../src/postgres/people.pg.ts';
import { endSession, listSessions } from '../../src/postgres/sessions.pg.ts';
import { formsOf, type TestBrowser, type Visit } from '../support/browser.ts';
import { createDatabase } from '../support/database.ts';
import { LogoutReceiver } from '../support/logout-receiver.ts';
import { freePort } from '../support/ports.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { authorizationOf, relyingParty, tokensOf } from './relying-party.ts';

const CALLBACK = 'https://app.example/callback';
const EVENT = 'http://schemas.openid.net/event/backchannel-logout';
const TESTED = { env: { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' } };
const ALICE: [string, string] = ['alice', 'wonderland'];

interface App {
  readonly id: string;
  readonly party: oidc.Configuration;
  readonly receiver: LogoutReceiver;
}

interface SignedIn {
  readonly browser: TestBrowser;
  readonly idToken: string;
  readonly claims: Record<string, unknown>;
}

const receivers: LogoutReceiver[] = [];
afterEach(async () => {
  for (const receiver of receivers.splice(0)) await receiver.close();
});

async function aReceiver(): Promise<LogoutReceiver> {
  const receiver = await LogoutReceiver.start();
  receivers.push(receiver);
  return receiver;
}

/** A relying party with a receiver. */
async function anApp(server: TestServer, metadata: Record<string, unknown> = {}): Promise<App> {
  const receiver = await aReceiver();
  const client = await server.client({
    redirect_uris: [CALLBACK],
    scope: 'openid profile offline_access',
    backchannel_logout_uri: receiver.uri,
    backchannel_logout_session_required: true,
    ...metadata,
  });
  const { id_token_signed_response_alg } = metadata as Partial<oidc.ClientMetadata>;
  const party = await relyingParty(server, client, {
    metadata: id_token_signed_response_alg === undefined ? {} : { id_token_signed_response_alg },
  });
  return { id: client.id, party, receiver };
}

async function signIn(app: App, browser?: TestBrowser, who = ALICE): Promise<SignedIn> {
  const { tokens, browser: signedIn } = await tokensOf(app.party, CALLBACK, 'openid', {
    who,
    ...(browser && { browser }),
  });
  return { browser: signedIn, idToken: tokens.id_token ?? '', claims: { ...tokens.claims() } };
}

function signOut({ browser, idToken }: Pick<SignedIn, 'browser' | 'idToken'>): Promise<Visit> {
  return browser.visit(`/logout?${new URLSearchParams({ id_token_hint: idToken })}`);
}

const deliveriesTo = (server: TestServer, { id }: App) =>
  listLogoutDeliveries(server.running.database.sql, { clientId: id }, 100);

/** Waits until the outbox says this of its deliveries to an app. */
async function expectDeliveries(server: TestServer, app: App, ...expected: Record<string, unknown>[]): Promise<void> {
  await expect.poll(() => deliveriesTo(server, app), { timeout: 20_000, interval: 50 }).toMatchObject(expected);
}

const requestsAt = ({ receiver }: App, count: number) =>
  expect.poll(() => receiver.received.length, { timeout: 20_000, interval: 20 }).toBe(count);

/** What a logout token says, if a relying party would believe it. */
async function verified(server: TestServer, token: string, audience: string, issuer = server.issuer) {
  const keys = createRemoteJWKSet(new URL(`${server.issuer}/jwks`));
  const rules = { issuer, audience, typ: 'logout+jwt', currentDate: server.clock.now(), clockTolerance: 5 };
  return jwtVerify(token, keys, rules);
}

describe('back-channel logout', () => {
  let server: TestServer;
  let alice: string;
  beforeAll(async () => {
    server = await startTestServer(TESTED);
    alice = await server.user({ username: 'alice', password: 'wonderland' });
  });
  afterAll(() => server.close());

  const database = () => server.running.database.sql;
  let people = 0;
  async function aUser(): Promise<{ id: string; who: [string, string] }> {
    people += 1;
    const username = `user${people}`;
    return { id: await server.user({ username, password: 'password' }), who: [username, 'password'] };
  }
  async function endSessionsOf(userId: string): Promise<void> {
    const now = server.clock.now();
    for (const { session_id } of await listSessions(database(), userId, now, 100)) {
      await endSession(database(), session_id, now);
    }
  }

  it('is announced, with sessions', async () => {
    const response = await fetch(`${server.issuer}/.well-known/openid-configuration`);
    expect(await response.json()).toMatchObject({
      backchannel_logout_supported: true,
      backchannel_logout_session_supported: true,
    });
  });

  it.each([
    'http://app.example/logout',
    'https://app.example/logout#fragment',
    'https://user:secret@app.example/logout',
    'javascript:alert(1)',
    'app.example/logout',
    '',
  ])('takes no %j for a receiver', async (uri) => {
    await expect(server.client({ redirect_uris: [CALLBACK], backchannel_logout_uri: uri })).rejects.toThrow(
      /backchannel_logout_uri/,
    );
  });

  it('sends a logout token, and nothing else, which the relying party can verify and connect with its ID token', async () => {
    const app = await anApp(server);
    const signedIn = await signIn(app);
    await signOut(signedIn);
    await expectDeliveries(server, app, { state: 'delivered', attempts: 1, last_error: null, user_id: alice });

    const [request] = app.receiver.received;
    expect(request?.method).toBe('POST');
    expect(request?.headers['content-type']).toBe('application/x-www-form-urlencoded');
    expect(request?.headers.cookie).toBeUndefined();
    expect([...new URLSearchParams(request?.body).keys()]).toEqual(['logout_token']);
    const { payload, protectedHeader } = await verified(server, request?.token ?? '', app.id);
    expect(protectedHeader).toEqual({ alg: 'RS256', typ: 'logout+jwt', kid: expect.any(String) });
    const { iat = 0, exp = 0 } = payload;
    expect(payload).toEqual({
      iss: server.issuer,
      aud: app.id,
      iat,
      exp: iat + 120,
      jti: expect.stringMatching(/./),
      sub: signedIn.claims.sub,
      sid: signedIn.claims.sid,
      events: { [EVENT]: {} },
    });
    expect(exp - iat).toBeLessThanOrEqual(120);
  });

  it('signs as the client’s ID tokens are signed', async () => {
    const app = await anApp(server, { id_token_signed_response_alg: 'ES256' });
    await signOut(await signIn(app));
    await requestsAt(app, 1);
    const { protectedHeader } = await verified(server, app.receiver.received[0]?.token ?? '', app.id);
    expect(protectedHeader.alg).toBe('ES256');
  });

  it('names the person and the session as this client knows them, so that two clients cannot compare', async () => {
    const apps = [
      await anApp(server, { subject_type: 'pairwise' }),
      await anApp(server, { subject_type: 'pairwise', redirect_uris: ['https://elsewhere.example/callback'] }),
    ] as const;
    const { browser, ...first } = await signIn(apps[0]);
    const second = await tokensOf(apps[1].party, 'https://elsewhere.example/callback', 'openid', { browser });
    const known = [first.claims, { ...second.tokens.claims() } as Record<string, unknown>];
    await signOut({ browser, idToken: first.idToken });
    const told = [];
    for (const app of apps) {
      await requestsAt(app, 1);
      const { payload } = await verified(server, app.receiver.received[0]?.token ?? '', app.id);
      told.push(payload);
    }
    for (const index of [0, 1]) {
      expect([told[index]?.sub, told[index]?.sid]).toEqual([known[index]?.sub, known[index]?.sid]);
    }
    expect(told[0]?.sub).not.toBe(told[1]?.sub);
    expect(told[0]?.sid).not.toBe(told[1]?.sid);
  });

  it('encrypts for a client whose ID tokens are encrypted', async () => {
    const { publicKey, privateKey } = await generateKeyPair('RSA-OAEP-256');
    const jwk = { ...(await exportJWK(publicKey)), use: 'enc', alg: 'RSA-OAEP-256', kid: 'own' };
    const app = await anApp(server, { id_token_encrypted_response_alg: 'RSA-OAEP-256', jwks: { keys: [jwk] } });
    const user = await aUser();
    await authorizationOf(app.party, CALLBACK, 'openid', { who: user.who });
    await endSessionsOf(user.id);
    await requestsAt(app, 1);
    const { plaintext } = await compactDecrypt(app.receiver.received[0]?.token ?? '', privateKey);
    const { payload } = await verified(server, new TextDecoder().decode(plaintext), app.id);
    expect(payload.events).toEqual({ [EVENT]: {} });
  });

  it('tells every client of the session, and none of another one', async () => {
    const apps = [await anApp(server), await anApp(server)] as const;
    const first = await signIn(apps[0]);
    await signIn(apps[1], first.browser);
    const other = await signIn(apps[0]);
    await signOut(first);
    await requestsAt(apps[0], 1);
    await requestsAt(apps[1], 1);
    const told = apps.map(({ receiver }) => decodeJwt(receiver.received[0]?.token ?? '').sid);
    expect(told[0]).toBe(first.claims.sid);
    expect(told).not.toContain(other.claims.sid);
    await signOut(other);
    await requestsAt(apps[0], 2);
    expect(decodeJwt(apps[0].receiver.received[1]?.token ?? '').sid).toBe(other.claims.sid);
  });

  type Ending = (signedIn: SignedIn, userId: string, app: App) => Promise<unknown>;
  it.each<[string, Ending]>([
    ['the person signs out on our page', ({ browser }) => pressed(browser, '/logout')],
    ['an operator ends the session', (_signedIn, userId) => endSessionsOf(userId)],
    [
      'an operator revokes the grant',
      async (_signedIn, userId) => {
        const [grant] = await listGrants(database(), { userId, all: false }, server.clock.now(), 1);
        await revokeGrantAndTell(database(), grant?.id ?? '', 'by hand', server.clock.now());
      },
    ],
    ['the user is disabled', (_signedIn, userId) => setUserDisabled(database(), userId, true, server.clock.now())],
    ['the user gets a new password', (_signedIn, userId) => setPassword(database(), userId, '', server.clock.now())],
    ['the person takes the access away', ({ browser }) => pressed(browser, '/account/access', '/account')],
    ['the sign-in is over by itself', async () => server.clock.advance(12 * 3600)],
  ])('tells the client when %s', async (_how, end) => {
    const app = await anApp(server);
    const { id, who } = await aUser();
    const signedIn = await signIn(app, undefined, who);
    expect(await deliveriesTo(server, app)).toEqual([]);
    await end(signedIn, id, app);
    await expectDeliveries(server, app, { state: 'delivered', attempts: 1, user_id: id });
    const { payload } = await verified(server, app.receiver.received[0]?.token ?? '', app.id);
    expect([payload.sub, payload.sid]).toEqual([signedIn.claims.sub, signedIn.claims.sid]);
    expect(app.receiver.received).toHaveLength(1);
  });

  /** Presses the button of the form that goes to `action`. */
  async function pressed(browser: TestBrowser, action: string, path = action): Promise<void> {
    const form = formsOf(await browser.visit(path)).find((candidate) => candidate.action === action);
    if (!form) throw new Error(`no form to ${action}`);
    await browser.submit(form);
  }

  describe('with a receiver that', () => {
    it.each<[string, number]>([
      ['says 200', 200],
      ['says 204', 204],
    ])('%s, it is done', async (_what, status) => {
      const app = await anApp(server);
      app.receiver.answer = status;
      await signOut(await signIn(app));
      await expectDeliveries(server, app, { state: 'delivered', attempts: 1, next_attempt_at: null });
    });

    it('refuses with 400, it has failed, for good and to be seen', async () => {
      const app = await anApp(server);
      app.receiver.answer = 400;
      await signOut(await signIn(app));
      await expectDeliveries(server, app, {
        state: 'failed',
        attempts: 1,
        last_error: 'the client refused the logout token (400)',
        next_attempt_at: null,
      });
    });

    it.each<[string, RegExp, (receiver: LogoutReceiver) => unknown]>([
      ['says 500', /^the answer was 500$/, (receiver) => Object.assign(receiver, { answer: 500 })],
      ['says 401', /^the answer was 401$/, (receiver) => Object.assign(receiver, { answer: 401 })],
      ['says 201', /^the answer was 201$/, (receiver) => Object.assign(receiver, { answer: 201 })],
      [
        'sends us elsewhere',
        /^the answer was 307$/,
        (receiver) => Object.assign(receiver, { answer: 307, headers: { location: receiver.uri } }),
      ],
      [
        'takes up another protocol',
        /^the answer was 101$/,
        (receiver) => Object.assign(receiver, { answer: 101, headers: { connection: 'upgrade', upgrade: 'x' } }),
      ],
      ['is down', /^no answer in time, or no connection$/, (receiver) => receiver.close()],
      ['says nothing', /^no answer in time$/, (receiver) => Object.assign(receiver, { answer: 'hold' })],
    ])('%s, it is tried again later, with a token of that time', async (what, error, break_) => {
      const app = await anApp(server);
      const signedIn = await signIn(app);
      await break_(app.receiver);
      await signOut(signedIn);
      await expectDeliveries(server, app, { state: 'pending', attempts: 1, last_error: expect.stringMatching(error) });
      const [first] = await deliveriesTo(server, app);
      const wait = (first?.next_attempt_at?.getTime() ?? 0) - server.clock.now().getTime();
      expect(wait).toBeLessThanOrEqual(10_000);

      Object.assign(app.receiver, { answer: 200, headers: {} });
      if (what === 'is down') await app.receiver.listen();
      const before = app.receiver.received.length;
      server.clock.advance(10);
      await expectDeliveries(server, app, { state: 'delivered', attempts: 2, last_error: null });
      await requestsAt(app, before + 1);
      const token = app.receiver.received[before]?.token ?? '';
      await verified(server, token, app.id);
      if (before > 0) {
        const [old, fresh] = [decodeJwt(app.receiver.received[0]?.token ?? ''), decodeJwt(token)];
        expect(fresh.jti).not.toBe(old.jti);
        expect(fresh.iat).toBeGreaterThan(old.iat ?? 0);
        expect([fresh.sub, fresh.sid]).toEqual([old.sub, old.sid]);
      }
    });

    it('does not answer, the person is signed out all the same, and so are the others', async () => {
      const [hanging, well] = [await anApp(server), await anApp(server)];
      hanging.receiver.answer = 'hold';
      const people: SignedIn[] = [];
      for (let count = 0; count < 4; count += 1) people.push(await signIn(hanging));
      const last = await signIn(well);
      for (const signedIn of [...people, last]) {
        expect((await signOut(signedIn)).body).toContain('You have been signed out');
      }
      // All four are due, and two of them wait for an answer; the other client's is not behind them.
      await expectDeliveries(server, well, { state: 'delivered' });
      expect((await deliveriesTo(server, hanging)).map(({ state }) => state)).toEqual(Array(4).fill('pending'));
      expect(hanging.receiver.received).toHaveLength(2);
      hanging.receiver.answer = 200;
      hanging.receiver.release(200);
      await expectDeliveries(server, hanging, ...Array(4).fill({ state: 'delivered', attempts: 1 }));
    });

    it('stays away, it is asked less and less often, and given up after a day', async () => {
      const app = await anApp(server);
      app.receiver.answer = 501;
      await signOut(await signIn(app));
      for (let attempt = 1; attempt <= 11; attempt += 1) {
        // Another answer each time: what is seen is this attempt's.
        const last_error = `the answer was ${500 + attempt}`;
        await expectDeliveries(server, app, { state: 'pending', attempts: attempt, last_error });
        app.receiver.answer = 501 + attempt;
        const [row] = await deliveriesTo(server, app);
        const next = row?.next_attempt_at?.getTime() ?? 0;
        const { iat = 0 } = decodeJwt(app.receiver.received.at(-1)?.token ?? '');
        const most = Math.min(10 * 2 ** (attempt - 1), 3600) * 1000;
        // Half of it at least, since the attempt; all of it at most, from now.
        expect(next - iat * 1000, String(attempt)).toBeGreaterThanOrEqual(most / 2);
        expect(next - server.clock.now().getTime(), String(attempt)).toBeLessThanOrEqual(most);
        server.clock.advance(most / 1000);
      }
      server.clock.advance(24 * 3600);
      await expectDeliveries(server, app, {
        state: 'failed',
        last_error: 'given up after a day: the answer was 512',
        next_attempt_at: null,
      });
      const { length } = app.receiver.received;
      server.clock.advance(24 * 3600);
      await signOut(await signIn(app));
      await requestsAt(app, length + 1);
      expect((await deliveriesTo(server, app)).filter(({ state }) => state === 'failed')).toHaveLength(1);
    });

    it.each<[string, (app: App) => Promise<unknown>]>([
      ['the client is disabled', (app) => setClientDisabled(database(), app.id, true, server.clock.now())],
      ['the client was deleted', (app) => deleteClient(database(), app.id, server.clock.now())],
    ])('is not called any more: %s', async (error, change) => {
      const app = await anApp(server);
      app.receiver.answer = 500;
      await signOut(await signIn(app));
      await expectDeliveries(server, app, { state: 'pending', attempts: 1 });
      await change(app);
      // The catalogue is confirmed twice a second.
      await expect
        .poll(
          async () => {
            server.clock.advance(10);
            return deliveriesTo(server, app);
          },
          { timeout: 20_000, interval: 200 },
        )
        .toMatchObject([{ state: 'failed', last_error: error }]);
    });
  });
});

it('one client has two attempts at a time, however many sign out at once and however slow the database is', async () => {
  const now = { underWay: 0, most: 0, made: 0 };
  const slowly: FeatureLine = ({ database }) => {
    const deliveries = postgresDeliveries(database);
    return backchannelLogout({
      deliveries: {
        ...deliveries,
        async claim(...which) {
          await delay(100);
          return deliveries.claim(...which);
        },
      },
      async post() {
        now.underWay += 1;
        now.made += 1;
        now.most = Math.max(now.most, now.underWay);
        await delay(400);
        now.underWay -= 1;
        return 200;
      },
    });
  };
  const lines = features.map((line) => (/backchannelLogout/.test(line.toString()) ? slowly : line));
  expect(lines).toContain(slowly);
  const server = await startTestServer({ ...TESTED, features: lines });
  await server.user({ username: 'alice', password: 'wonderland' });
  const app = await anApp(server);
  const people: SignedIn[] = [];
  for (let count = 0; count < 6; count += 1) people.push(await signIn(app));
  await Promise.all(people.map(signOut));
  await expectDeliveries(server, app, ...Array(6).fill({ state: 'delivered', attempts: 1 }));
  expect(now).toMatchObject({ made: 6, most: 2 });
  await server.close();
});

describe('the outbox outlives the server', () => {
  /** A server that can be started again, under the same name, on the same database. */
  async function aServer() {
    const { url: databaseUrl, drop } = await createDatabase({ migrated: true });
    const env = { ...TESTED.env, PORT: String(await freePort()) };
    const server = await startTestServer({ databaseUrl, env });
    await server.user({ username: 'alice', password: 'wonderland' });
    return { server, drop };
  }

  it('that is stopped before a receiver comes back', async () => {
    const { server, drop } = await aServer();
    const app = await anApp(server);
    const signedIn = await signIn(app);
    await app.receiver.close();
    await signOut(signedIn);
    await expectDeliveries(server, app, { state: 'pending', attempts: 1 });
    await server.close();
    await app.receiver.listen();
    server.clock.advance(10);
    const again = await server.node();
    await expectDeliveries(again, app, { state: 'delivered', attempts: 2 });
    await verified(again, app.receiver.received[0]?.token ?? '', app.id);
    expect(app.receiver.received).toHaveLength(1);
    await again.close();
    await drop();
  });

  it('that is stopped in the middle of an attempt: it is finished, and not made twice', async () => {
    const { server, drop } = await aServer();
    const app = await anApp(server);
    app.receiver.answer = 'hold';
    await signOut(await signIn(app));
    await requestsAt(app, 1);
    const stopped = server.close().then(() => 'stopped');
    expect(await Promise.race([stopped, delay(1500, 'waits')])).toBe('waits');
    app.receiver.release(200);
    expect(await stopped).toBe('stopped');
    server.clock.advance(3600);
    const again = await server.node();
    await expectDeliveries(again, app, { state: 'delivered', attempts: 1 });
    expect(app.receiver.received).toHaveLength(1);
    await again.close();
    await drop();
  });

  it('that dies in the middle of an attempt: another one is made when the lease is over', async () => {
    const { server, drop } = await aServer();
    const app = await anApp(server);
    app.receiver.answer = 'hold';
    const signedIn = await signIn(app);
    // What dies is a node of its own; its database goes away under it, so that it can say nothing any more.
    await signOut(signedIn);
    await requestsAt(app, 1);
    await server.running.database.close();
    app.receiver.release(200);
    await server.close().catch(() => undefined);
    app.receiver.answer = 200;
    const again = await server.node();
    expect(await deliveriesTo(again, app)).toMatchObject([{ state: 'pending', attempts: 1 }]);
    server.clock.advance(30);
    await expectDeliveries(again, app, { state: 'delivered', attempts: 2 });
    await again.close();
    await drop();
  });

  it('when the sign-in ended while no server ran', async () => {
    const { server, drop } = await aServer();
    const app = await anApp(server);
    await signIn(app);
    await server.close();
    server.clock.advance(13 * 3600);
    const again = await server.node();
    await expectDeliveries(again, app, { state: 'delivered', attempts: 1 });
    await again.close();
    await drop();
  });

  it('and two nodes make each delivery once', async () => {
    const server = await startTestServer(TESTED);
    const node = await server.node();
    await server.user({ username: 'alice', password: 'wonderland' });
    const app = await anApp(server);
    const sids: unknown[] = [];
    const browsers: SignedIn[] = [];
    for (let count = 0; count < 12; count += 1) {
      const signedIn = await signIn(app);
      sids.push(signedIn.claims.sid);
      browsers.push(signedIn);
    }
    await Promise.all(browsers.map(signOut));
    await expectDeliveries(node, app, ...Array(12).fill({ state: 'delivered', attempts: 1 }));
    const told = app.receiver.received.map(({ token }) => decodeJwt(token).sid);
    expect(told.sort()).toEqual(sids.sort());
    await node.close();
    await server.close();
  });
});
