/** The database goes away while the server runs: every endpoint says so as it should, and recovers by itself. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/postgres/database.ts';
import { startEmbedded } from '../../src/postgres/embedded.ts';
import { migrate } from '../../src/postgres/migrations.ts';
import {
  authorizePath,
  decide,
  formTo,
  pkce,
  responseOf,
  signIn,
  TestBrowser,
  type Visit,
} from '../support/browser.ts';
import { createDatabase } from '../support/database.ts';
import { Relay } from '../support/relay.ts';
import { type Answer, ask } from '../support/serving.ts';
import { introspect, redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

const REFERENCE = /[\w-]{12}/;

function basic({ id, secret }: { id: string; secret: string }): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` };
}

/** Asks until the answer has the status. */
async function until(world: World, path: string, status: number): Promise<void> {
  await expect
    .poll(async () => (await ask(`${world.issuer}${path}`)).status, { timeout: 20_000, interval: 100 })
    .toBe(status);
}

function expectUnavailable({ status, headers, body }: Answer): void {
  expect(status).toBe(503);
  expect(headers['retry-after']).toMatch(/^\d+$/);
  expect(headers['x-request-id']).toMatch(REFERENCE);
  expect(headers['cache-control']).toBe('no-store');
  expect(body).toContain('temporarily_unavailable');
  expect(body).not.toMatch(/ECONN|at .*\.(ts|js):\d|postgres:|pg_|kysely|127\.0\.0\.1:/);
}

describe('while the database refuses connections', () => {
  let database: { url: string; drop(): Promise<void> };
  let relay: Relay;
  let world: World;
  let browser: TestBrowser;
  let signedIn: TestBrowser;
  let login: Visit;
  let consent: Visit;
  let verifier: string;
  let accessToken: string;
  beforeAll(async () => {
    database = await createDatabase({ migrated: true });
    relay = await Relay.to(database.url);
    world = await startWorld({ databaseUrl: relay.url });
    const proof = pkce();
    verifier = proof.verifier;
    const address = authorizePath({
      client_id: world.web.id,
      redirect_uri: WEB_REDIRECT,
      scope: 'openid photos.read',
      code_challenge: proof.challenge,
    });
    browser = new TestBrowser(world);
    login = await browser.visit(address);
    signedIn = new TestBrowser(world);
    consent = await signIn(signedIn, await signedIn.visit(address));
    const other = pkce();
    const code = responseOf(await decide(signedIn.clone(), consent)).get('code') ?? '';
    const issued = await redeem(world, { code, verifier, redirectUri: WEB_REDIRECT });
    accessToken = String(issued.json.access_token);
    // Another transaction, whose consent page is still open when the database goes.
    consent = await signedIn.visit(
      authorizePath({
        client_id: world.spa.id,
        redirect_uri: 'https://spa.example/callback',
        scope: 'openid photos.read',
        code_challenge: other.challenge,
      }),
    );
    await relay.cut();
  });
  afterAll(async () => {
    await world.close();
    await relay.cut();
    await database.drop();
  });

  it('the process is alive and not ready, and says why', async () => {
    await until(world, '/readyz', 503);
    // What was confirmed within the last second is still held to be so.
    await until(world, '/jwks', 503);
    expect((await ask(`${world.issuer}/healthz`)).status).toBe(200);
    const ready = await ask(`${world.issuer}/readyz`);
    expect(JSON.parse(ready.body)).toEqual({ status: 'not ready', reason: 'the database is away' });
  });

  it.each<[string, Record<string, string>]>([
    ['/token', { grant_type: 'client_credentials', resource: 'https://storage.example' }],
    [
      '/token',
      { grant_type: 'authorization_code', code: 'x', code_verifier: 'y'.repeat(43), redirect_uri: WEB_REDIRECT },
    ],
    ['/token', { grant_type: 'refresh_token', refresh_token: 'x' }],
    ['/token_info', { token: 'x' }],
    ['/introspect', { token: 'x' }],
    ['/revoke', { token: 'x' }],
  ])('POST %s %j is told 503 in JSON', async (path, form) => {
    const answer = await ask(`${world.issuer}${path}`, { form, headers: basic(world.web) });
    expectUnavailable(answer);
    expect(JSON.parse(answer.body)).toEqual({
      error: 'temporarily_unavailable',
      error_description: expect.any(String),
    });
  });

  it('userinfo is told 503 in JSON', async () => {
    const answer = await ask(`${world.issuer}/userinfo`, { headers: { authorization: `Bearer ${accessToken}` } });
    expectUnavailable(answer);
    expect(JSON.parse(answer.body)).toMatchObject({ error: 'temporarily_unavailable' });
  });

  it('GET /jwks is told 503 in JSON', async () => {
    expectUnavailable(await ask(`${world.issuer}/jwks`));
  });

  it.each<[string, () => string]>([
    ['/account', () => '/account'],
    ['/logout', () => '/logout'],
    ['/authorize', () => authorizePath({ client_id: world.web.id, redirect_uri: WEB_REDIRECT })],
    ['/authorize?pending=…', () => `/authorize${new URL(consent.url).search}`],
    ['/consent?pending=…', () => consent.url],
  ])('GET %s is told 503 on a page with the reference of the request', async (_path, address) => {
    const visit = await signedIn.clone().send('GET', address());
    expectUnavailable({ ...visit, headers: Object.fromEntries(visit.headers) });
    expect(visit.headers.get('content-type')).toMatch(/^text\/html/);
    expect(visit.body).toContain(String(visit.headers.get('x-request-id')));
  });

  it('a sign-in and a consent under way are told 503 on a page with the reference of the request', async () => {
    for (const visit of [
      await browser.submit(formTo(login, '/login'), { username: 'alice', password: 'wonderland' }),
      await signedIn.submit(formTo(consent, '/consent'), { decision: 'allow' }),
    ]) {
      expectUnavailable({ ...visit, headers: Object.fromEntries(visit.headers) });
      expect(visit.headers.get('content-type')).toMatch(/^text\/html/);
      expect(visit.body).toContain(String(visit.headers.get('x-request-id')));
    }
  });

  it('logs what happened without secrets and without giving up', () => {
    const log = world.log.join('');
    expect(log).toContain('ECONNREFUSED');
    expect(log).not.toMatch(/wonderland|"level":60/);
    for (const secret of [world.web.secret, accessToken, new URL(database.url).password].filter((text) => text !== ''))
      expect(log).not.toContain(secret);
  });

  it('recovers by itself: the sign-in that failed is sent again and goes through to a token', async () => {
    await relay.restore();
    await until(world, '/readyz', 200);
    const code = responseOf(await signIn(browser, login)).get('code');
    expect(code).toEqual(expect.any(String));
    const issued = await redeem(world, { code: String(code), verifier, redirectUri: WEB_REDIRECT });
    expect(issued.status).toBe(200);
    expect(await introspect(world, String(issued.json.access_token))).toMatchObject({ active: true });
    // What was issued before is what it was.
    expect(await introspect(world, accessToken)).toMatchObject({ active: true });
  });
});

describe('while the database does not answer at all', () => {
  it('a connection that breaks under a statement ends that request, not the process', async () => {
    const database = await createDatabase({ migrated: true });
    const relay = await Relay.to(database.url);
    const world = await startWorld({ databaseUrl: relay.url });
    const form = { grant_type: 'client_credentials', resource: 'https://storage.example' };
    const issue = () => ask(`${world.issuer}/token`, { form, headers: basic(world.batch) });
    expect((await issue()).status).toBe(200);
    relay.fallSilent();
    const waiting = issue();
    await expect.poll(() => relay.sent.split('INSERT').length, { timeout: 5000 }).toBeGreaterThan(1);
    await relay.cut();
    expectUnavailable(await waiting);
    await relay.restore();
    await expect.poll(async () => (await issue()).status, { timeout: 20_000, interval: 200 }).toBe(200);
    await world.close();
    await relay.cut();
    await database.drop();
  });

  it('a request is told 503 in time, and the next one after the network is back is served', async () => {
    const database = await createDatabase({ migrated: true });
    const relay = await Relay.to(database.url);
    const world = await startWorld({ databaseUrl: relay.url });
    relay.fallSilent();
    const form = { grant_type: 'client_credentials', resource: 'https://storage.example' };
    const issue = () => ask(`${world.issuer}/token`, { form, headers: basic(world.batch) });
    expectUnavailable(await issue());
    await relay.restore();
    await expect.poll(async () => (await issue()).status, { timeout: 20_000, interval: 200 }).toBe(200);
    await world.close();
    await relay.cut();
    await database.drop();
  });
});

describe('a real restart of PostgreSQL', () => {
  it('is survived: shut down with the server connected to it, and started again on another port', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'gatehouse-outage-'));
    const first = await startEmbedded({ dataFolder: folder, durable: false });
    const prepared = openDatabase({ url: first.connectionString, poolMax: 1, prepared: false });
    await migrate(prepared.sql, new Date());
    await prepared.close();
    const relay = await Relay.to(first.connectionString);
    const world = await startWorld({ databaseUrl: relay.url });
    const form = { grant_type: 'client_credentials', resource: 'https://storage.example' };
    const issue = () => ask(`${world.issuer}/token`, { form, headers: basic(world.batch) });
    expect((await issue()).status).toBe(200);

    // SIGINT is PostgreSQL's fast shutdown: sessions are told 57P01 and cut off.
    process.kill(await postmasterOf(folder), 'SIGINT');
    await until(world, '/readyz', 503);
    expectUnavailable(await issue());

    const second = await startEmbedded({ dataFolder: folder, durable: false });
    relay.leadTo(second.connectionString);
    await until(world, '/readyz', 200);
    expect((await issue()).status).toBe(200);

    await world.close();
    await relay.cut();
    await first.stop();
    await second.stop();
    await rm(folder, { recursive: true, force: true });
  }, 90_000);
});

async function postmasterOf(dataFolder: string): Promise<number> {
  const home = await readFile(join(dataFolder, 'postgres.home'), 'utf8').catch(() => dataFolder);
  return Number.parseInt(await readFile(join(home, 'cluster/postmaster.pid'), 'utf8'), 10);
}
