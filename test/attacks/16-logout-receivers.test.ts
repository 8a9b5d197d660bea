/**
 * Attacker: a client that names a logout receiver inside our own network, or one that is made to hold us up; or whoever holds a
 * logout token and shows it where another kind is asked for. Stopped by: the guarded fetcher, the outbox, `typ`.
 */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listLogoutDeliveries } from '../../src/features/backchannel-logout/deliveries.pg.ts';
import { endSession, listSessions } from '../../src/postgres/sessions.pg.ts';
import { query } from '../support/attack-aftermath.ts';
import { authorizePath, pkce, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { LogoutReceiver } from '../support/logout-receiver.ts';
import { introspect, startWorld, type World } from '../support/world.ts';

const CALLBACK = 'https://app.example/callback';

/** Signs somebody in at a new client with this receiver, and ends the session. */
async function signedOutAt(world: World, uri: string): Promise<string> {
  const { id } = await world.client({
    redirect_uris: [CALLBACK],
    scope: 'openid',
    skip_consent: true,
    backchannel_logout_uri: uri,
  });
  const { challenge } = pkce();
  const browser = new TestBrowser(world);
  const login = await browser.visit(
    authorizePath({ client_id: id, redirect_uri: CALLBACK, scope: 'openid', code_challenge: challenge }),
  );
  responseOf(await signIn(browser, login));
  const now = world.clock.now();
  for (const { session_id } of await listSessions(world.running.database.sql, world.alice, now, 100)) {
    await endSession(world.running.database.sql, session_id, now);
  }
  return id;
}

async function outcomeAt(world: World, clientId: string) {
  const list = async () => (await listLogoutDeliveries(world.running.database.sql, { clientId }, 1))[0];
  await expect
    .poll(
      async () => {
        const row = await list();
        return row?.state === 'pending' ? row.last_error : row?.state;
      },
      { timeout: 20_000, interval: 50 },
    )
    .toBeTruthy();
  return list();
}

describe('a logout receiver in our own network', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  it.each([
    ['https://127.0.0.1/logout', 'the host is not a public one'],
    ['https://127.1/logout', 'the host is not a public one'],
    ['https://2130706433/logout', 'the host is not a public one'],
    ['https://0177.0.0.1/logout', 'the host is not a public one'],
    ['https://0.0.0.0/logout', 'the host is not a public one'],
    ['https://10.0.0.1/logout', 'the host is not a public one'],
    ['https://169.254.169.254/latest/meta-data', 'the host is not a public one'],
    ['https://[::1]/logout', 'the host is not a public one'],
    ['https://[::ffff:127.0.0.1]/logout', 'the host is not a public one'],
    ['https://[fd00::1]/logout', 'the host is not a public one'],
    ['https://localhost/logout', 'the host is not a public one'],
    ['https://93.184.216.34:8443/logout', 'only https on port 443'],
  ])('%s is not called, and the operator sees why', async (uri, why) => {
    const id = await signedOutAt(world, uri);
    expect(await outcomeAt(world, id)).toMatchObject({ state: 'pending', attempts: 1, last_error: why });
  });

  it('that really listens gets no connection', async () => {
    let connections = 0;
    const server = createServer((_request, response) => response.end()).on('connection', () => {
      connections += 1;
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const id = await signedOutAt(world, `http://127.0.0.1:${(server.address() as AddressInfo).port}/logout`);
    expect((await outcomeAt(world, id))?.last_error).toBe('only https on port 443');
    expect(connections).toBe(0);
    await new Promise((resolve) => server.close(resolve));
  });
});

describe('a logout receiver that', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld({ env: { GATEHOUSE_ALLOW_LOOPBACK_FETCH: 'on' } });
  });
  afterAll(() => world.close());

  it('sends us to somebody else does not get us there', async () => {
    const victim = await LogoutReceiver.start();
    const receiver = await LogoutReceiver.start();
    Object.assign(receiver, { answer: 302, headers: { location: victim.uri } });
    const id = await signedOutAt(world, receiver.uri);
    expect((await outcomeAt(world, id))?.last_error).toBe('the answer was 302');
    expect([receiver.received.length, victim.received.length]).toEqual([1, 0]);
    await receiver.close();
    await victim.close();
  });

  const zeros = gzipSync(Buffer.alloc(10_000_000));
  it.each<[string, RequestListener]>([
    ['answers with megabytes without end', (_request, response) => endless(response, Buffer.alloc(1_000_000))],
    ['answers byte by byte without end', (_request, response) => endless(response, Buffer.from('x'))],
    ['answers with a bomb', (_request, response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(zeros)],
  ])('%s is hung up on after its status', async (_what, listener) => {
    const hungUp: Promise<void>[] = [];
    const server = createServer((request, response) => {
      hungUp.push(new Promise((resolve) => response.once('close', resolve)));
      request.resume();
      listener(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const id = await signedOutAt(world, `http://127.0.0.1:${(server.address() as AddressInfo).port}/logout`);
    expect((await outcomeAt(world, id))?.state).toBe('delivered');
    expect(hungUp).toHaveLength(1);
    await Promise.all(hungUp);
    await new Promise((resolve) => server.close(resolve));
  });

  function endless(response: Parameters<RequestListener>[1], chunk: Buffer): void {
    response.writeHead(200);
    response.flushHeaders();
    const more = setInterval(() => response.write(chunk), 20);
    response.once('close', () => clearInterval(more));
  }

  it('holds a logout token has nothing else with it', async () => {
    const receiver = await LogoutReceiver.start();
    const id = await signedOutAt(world, receiver.uri);
    expect((await outcomeAt(world, id))?.state).toBe('delivered');
    const token = receiver.received[0]?.token ?? '';
    expect(token.split('.')).toHaveLength(3);
    await receiver.close();

    const bearer = { headers: { authorization: `Bearer ${token}` } };
    expect((await fetch(`${world.issuer}/userinfo`, bearer)).status).toBe(401);
    expect(await introspect(world, token)).toEqual({ active: false });
    const refreshed = await post(
      `${world.issuer}/token`,
      { grant_type: 'refresh_token', refresh_token: token },
      { basic: world.web },
    );
    expect([refreshed.status, refreshed.json.error]).toEqual([400, 'invalid_grant']);

    // As a hint it neither signs anybody out nor leads anywhere.
    const browser = new TestBrowser(world);
    await signIn(browser, await browser.visit('/login'));
    await browser.visit(`/logout?${new URLSearchParams({ id_token_hint: token })}`);
    expect((await browser.visit('/account')).body).toContain('alice');
    const asked = await browser.visit(
      authorizePath({
        client_id: id,
        redirect_uri: CALLBACK,
        scope: 'openid',
        code_challenge: pkce().challenge,
        prompt: 'none',
        id_token_hint: token,
      }),
    );
    expect([responseOf(asked).get('code'), responseOf(asked).get('error')]).toEqual([null, 'invalid_request']);
  });

  it('was told leaves no token in the database or in the log', async () => {
    const receiver = await LogoutReceiver.start();
    const id = await signedOutAt(world, receiver.uri);
    await outcomeAt(world, id);
    const [, , signature = ''] = receiver.received[0]?.token.split('.') ?? [];
    expect(signature.length).toBeGreaterThan(80);
    const rows = await query(world, 'SELECT * FROM logout_deliveries');
    expect(JSON.stringify(rows)).not.toContain(signature);
    expect(world.log.join('\n')).not.toContain(signature);
    await receiver.close();
  });
});
