/** SIGTERM: not ready, what is under way finishes, what was gathered is written, exit code 0. */
import { Client } from 'pg';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { formTo, TestBrowser } from '../support/browser.ts';
import { createDatabase } from '../support/database.ts';
import { type Gatehouse, gatehouse, Workbench } from '../support/gatehouse.ts';
import { freePort } from '../support/ports.ts';
import { ask, query, serveEnvironment, statusOf } from '../support/serving.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const bench = new Workbench();
let database: { url: string; drop(): Promise<void> };
let lock: Client;
beforeEach(async () => {
  database = await createDatabase({ migrated: true });
  lock = new Client({ connectionString: database.url });
  await lock.connect();
});
afterEach(async () => {
  await lock.end();
  await bench.clear();
  await database.drop();
});

async function waiters(): Promise<number> {
  const { rows } = await lock.query(
    `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rows.length;
}

async function ready(started: Gatehouse, base: string): Promise<void> {
  await expect
    .poll(() => (started.running ? statusOf(`${base}/readyz`) : started.stderr), { timeout: 60_000, interval: 50 })
    .toBe(200);
}

/** A sign-in that has to wait for the users' table. */
async function slowSignIn(issuer: string, base: string) {
  const browser = new TestBrowser({ issuer: base });
  const form = formTo(await browser.visit('/login'), '/login');
  await lock.query('BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE');
  const before = await waiters();
  const answer = browser.send(
    'POST',
    form.action,
    { ...form.fields, username: 'carol', password: 'looking-glass' },
    { origin: issuer },
  );
  await expect.poll(waiters, { timeout: 5000, interval: 20 }).toBeGreaterThan(before);
  return { answer };
}

const CAROL = JSON.stringify({ username: 'carol', password: 'looking-glass' });

describe('serve', () => {
  it('says draining, goes on serving until balancers have looked away, and finishes a sign-in under way', async () => {
    const env = await serveEnvironment(database.url);
    const base = `http://127.0.0.1:${env.PORT}`;
    const options = { env: { DATABASE_URL: database.url }, input: CAROL };
    expect((await gatehouse(['users', 'create', '--file', '-'], options)).code).toBe(0);
    const started = bench.start(['serve'], { env });
    await ready(started, base);

    // A browser keeps the secure cookies of https, which came here through its proxy as http.
    const { answer } = await slowSignIn(String(env.GATEHOUSE_ISSUER), base);
    started.process.kill('SIGTERM');
    const readiness = async () => (await ask(`${base}/readyz`)).body;
    await expect.poll(readiness, { timeout: 5000, interval: 20 }).toContain('"reason":"draining"');
    const jwks = await ask(`${base}/jwks`);
    expect(jwks.status).toBe(200);
    expect(jwks.headers.connection).toBe('close');

    await expect.poll(() => statusOf(`${base}/healthz`), { timeout: 10_000 }).toBe(0);
    expect(started.running).toBe(true);
    await lock.query('ROLLBACK');
    const visit = await answer;
    expect(visit.status).toBe(303);
    expect(visit.headers.getSetCookie().join()).toMatch(/__Host-/);
    expect(await started.ended()).toMatchObject({ code: 0, signal: null, stderr: '' });
  });
});

describe('dev', () => {
  async function startDev() {
    const port = await freePort();
    const env = {
      DATABASE_URL: database.url,
      GATEHOUSE_DATA: await bench.dataFolder(),
      GATEHOUSE_KEY_ENCRYPTION_KEY: String((await serveEnvironment(database.url)).GATEHOUSE_KEY_ENCRYPTION_KEY),
      GATEHOUSE_DEMO_DATA: 'off',
      PORT: String(port),
    };
    expect((await gatehouse(['users', 'create', '--file', '-'], { env, input: CAROL })).code).toBe(0);
    const started = bench.start(['dev'], { env });
    const base = `http://localhost:${port}`;
    await ready(started, base);
    return { started, base };
  }

  it('finishes a sign-in under way and does not wait for connections that are kept alive', async () => {
    const { started, base } = await startDev();
    // fetch keeps its connections for the next request.
    expect((await fetch(`${base}/jwks`)).status).toBe(200);
    const { answer } = await slowSignIn(base, base);
    started.process.kill('SIGTERM');
    await expect.poll(() => statusOf(`${base}/healthz`), { timeout: 10_000 }).toBe(0);
    await lock.query('ROLLBACK');
    expect((await answer).status).toBe(303);
    expect(await started.ended()).toMatchObject({ code: 0, signal: null, stderr: '' });
  });

  it('writes what was gathered for the audit trail before it ends', async () => {
    const { started, base } = await startDev();
    await query(database.url, 'DELETE FROM audit');
    const refused = await ask(`${base}/token`, {
      form: { grant_type: 'client_credentials', client_id: 'nobody', client_secret: 'x' },
    });
    expect(await started.stop()).toMatchObject({ code: 0 });
    const rows = await query<{ event: string; request_id: string }>(
      database.url,
      `SELECT event, request_id FROM audit WHERE event = 'invalid_client'`,
    );
    expect(rows).toEqual([{ event: 'invalid_client', request_id: refused.headers['x-request-id'] }]);
  });

  it('told twice, ends at once', async () => {
    const { started, base } = await startDev();
    const { answer } = await slowSignIn(base, base);
    const broken = expect(answer).rejects.toThrow();
    started.process.kill('SIGTERM');
    await expect.poll(() => statusOf(`${base}/healthz`), { timeout: 10_000 }).toBe(0);
    // Within a second it would be the same wish, told twice by a terminal and npm.
    const toldAgain = () => {
      started.process.kill('SIGTERM');
      return started.running;
    };
    await expect.poll(toldAgain, { timeout: 10_000, interval: 300 }).toBe(false);
    await broken;
    expect(await started.ended()).toMatchObject({ code: 1 });
  });
});
