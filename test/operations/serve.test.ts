/** `gatehouse serve`: what it refuses to start with, what it waits for, and what it is in front of the world. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { connect, createServer } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { makeCertificate } from '../support/certificate.ts';
import { createDatabase } from '../support/database.ts';
import { type Ended, type Gatehouse, gatehouse, Workbench } from '../support/gatehouse.ts';
import { freePort } from '../support/ports.ts';
import { Relay } from '../support/relay.ts';
import { ask, query, register, serveEnvironment, statusOf } from '../support/serving.ts';

// Each starts processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const bench = new Workbench();
let databases: { url: string; drop(): Promise<void> }[] = [];
let database: { url: string; drop(): Promise<void> };
let env: Record<string, string>;
let base: string;

async function newDatabase(options: { migrated: boolean }) {
  const created = await createDatabase(options);
  databases.push(created);
  return created;
}

beforeEach(async () => {
  database = await newDatabase({ migrated: true });
  const serving = await serveEnvironment(database.url);
  env = serving;
  base = `http://127.0.0.1:${serving.PORT}`;
});
afterEach(async () => {
  await bench.clear();
  for (const created of databases) await created.drop();
  databases = [];
});

/** Starts it and waits until it is ready. */
async function serve(more: Record<string, string> = {}): Promise<Gatehouse> {
  const started = bench.start(['serve'], { env: { ...env, ...more } });
  await until(started, 200);
  return started;
}

/** Waits for a status of `/readyz`. */
async function until(started: Gatehouse, status: number): Promise<void> {
  await expect
    .poll(
      async () => {
        if (!started.running) throw new Error(`It ended: ${started.stderr}`);
        return statusOf(`${base}/readyz`);
      },
      { timeout: 60_000, interval: 50 },
    )
    .toBe(status);
}

function expectRefusal({ code, stderr }: Ended, reason: RegExp): void {
  expect(stderr).toMatch(/^gatehouse: [^\n]+\n$/);
  expect(stderr).toMatch(reason);
  expect(code).toBe(1);
}

const token = { grant_type: 'client_credentials', client_id: 'nobody', client_secret: 'x' };

/** From which address the refusals of `nobody` came, as the audit trail has it. */
async function sourcesOf(): Promise<unknown[]> {
  const rows = await query<{ source: string }>(database.url, 'SELECT source FROM audit ORDER BY id');
  return rows.map(({ source }) => source);
}

describe('refuses to start, in one line,', () => {
  it('on a database that holds demo data', async () => {
    await query(database.url, 'INSERT INTO demo_data (created_at) VALUES (now())');
    expectRefusal(await gatehouse(['serve'], { env }), /DATABASE_URL: .*demo data/);
  });

  it.each(['1', '2'])('with a key-encryption key that opens nothing (%s workers: told once)', async (workers) => {
    const wrong = { GATEHOUSE_KEY_ENCRYPTION_KEY: Buffer.alloc(32, 1).toString('base64url') };
    const ended = await gatehouse(['serve'], { env: { ...env, ...wrong, GATEHOUSE_WORKERS: workers } });
    expectRefusal(ended, /GATEHOUSE_KEY_ENCRYPTION_KEY does not open/);
  });

  it('with a wrong password for the database', async () => {
    const url = new URL(database.url);
    url.username = 'nobody-here';
    expectRefusal(
      await gatehouse(['serve'], { env: { ...env, DATABASE_URL: url.href } }),
      /DATABASE_URL: .*nobody-here/,
    );
  });

  it.each(['PORT', 'GATEHOUSE_METRICS_PORT'])('on a %s that is taken', async (variable) => {
    await serve();
    const other = { ...env, PORT: String(await freePort()), [variable]: String(env.PORT) };
    expectRefusal(await gatehouse(['serve'], { env: other }), new RegExp(`${variable}: another program listens there`));
  });

  it.each([
    ['GATEHOUSE_MTLS_PORT', '1'],
    ['GATEHOUSE_MTLS_PORT', '2'],
    ['PORT', '2'],
  ])('on a %s that is taken, while the other is free (%s workers: told once)', async (variable, workers) => {
    await serve();
    const ports = { PORT: String(await freePort()), GATEHOUSE_MTLS_PORT: String(await freePort()) };
    const mutualTls = { GATEHOUSE_CLIENT_CERT_HEADER: 'rfc9440', GATEHOUSE_MTLS_ORIGIN: 'https://mtls.id.example' };
    const other = { ...env, ...mutualTls, ...ports, GATEHOUSE_WORKERS: workers, [variable]: String(env.PORT) };
    expectRefusal(
      await gatehouse(['serve'], { env: other }),
      new RegExp(`^[^\\n]*${variable}: another program listens there[^\\n]*\\n$`),
    );
  });

  it('on an address that is not of this machine', async () => {
    expectRefusal(await gatehouse(['serve'], { env: { ...env, HOST: '192.0.2.1' } }), /HOST: 192\.0\.2\.1 is not/);
  });

  it('with a logo that is not there', async () => {
    const ended = await gatehouse(['serve'], { env: { ...env, GATEHOUSE_BRAND_LOGO: '/nowhere/logo.svg' } });
    expectRefusal(ended, /GATEHOUSE_BRAND_LOGO: .*cannot be read/);
  });
});

describe('the schema', () => {
  it('is waited for, never made: alive, not ready, saying what to run, and ready by itself after it', async () => {
    const empty = await newDatabase({ migrated: false });
    const waiting = bench.start(['serve'], { env: { ...env, DATABASE_URL: empty.url } });
    await until(waiting, 503);
    expect(await ask(`${base}/healthz`)).toMatchObject({ status: 200 });
    expect(JSON.parse((await ask(`${base}/readyz`)).body)).toEqual({
      status: 'not ready',
      reason: expect.stringMatching(/older than this version .*run `gatehouse migrate`/),
    });
    for (const [path, form] of [['/token', token], ['/authorize?client_id=x'], ['/jwks']] as const) {
      const answer = await ask(`${base}${path}`, form && { form });
      expect(answer.status).toBe(503);
      expect(answer.headers['retry-after']).toMatch(/^\d+$/);
      expect(answer.headers['x-request-id']).toMatch(/^[\w-]{12}$/);
      expect(JSON.parse(answer.body)).toEqual({ error: 'temporarily_unavailable' });
    }
    expect(await query(empty.url, `SELECT 1 FROM pg_tables WHERE schemaname = 'public'`)).toEqual([]);

    const migrated = await gatehouse(['migrate'], { env: { DATABASE_URL: empty.url } });
    expect(JSON.parse(migrated.stdout).applied.length).toBeGreaterThan(0);
    await until(waiting, 200);
    expect(JSON.parse((await ask(`${base}/jwks`)).body).keys).not.toEqual([]);
    expect(await waiting.stop()).toMatchObject({ code: 0 });
  });

  it('is not waited for against a SIGTERM', async () => {
    const empty = await newDatabase({ migrated: false });
    const waiting = bench.start(['serve'], { env: { ...env, DATABASE_URL: empty.url } });
    await until(waiting, 503);
    expect(await waiting.stop()).toMatchObject({ code: 0, stderr: '' });
  });

  it('may be newer than the program, and migrate leaves it as it is', async () => {
    await query(database.url, `INSERT INTO kysely_migration (name, timestamp) VALUES ('9999-later.sql', 'now')`);
    await serve();
    expect((await ask(`${base}/jwks`)).status).toBe(200);
    const migrated = await gatehouse(['migrate'], { env: { DATABASE_URL: database.url } });
    expect(migrated).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(migrated.stdout)).toEqual({ applied: [] });
  });

  it('is made once by two that migrate at the same time', async () => {
    const empty = await newDatabase({ migrated: false });
    const both = await Promise.all([1, 2].map(() => gatehouse(['migrate'], { env: { DATABASE_URL: empty.url } })));
    expect(both.map(({ code, stderr }) => [code, stderr])).toEqual([
      [0, ''],
      [0, ''],
    ]);
    const applied = both.flatMap(({ stdout }) => JSON.parse(stdout).applied as string[]);
    expect(new Set(applied).size).toBe(applied.length);
    expect(applied.length).toBeGreaterThan(0);
  });
});

describe('with its own TLS', () => {
  let certificate: { cert: string; key: string };
  let ca: string;
  beforeEach(async () => {
    certificate = await makeCertificate(join(await bench.folder(), 'server'));
    ca = await readFile(certificate.cert, 'utf8');
  });

  async function serveTls(issuer: string): Promise<string> {
    const tls = { GATEHOUSE_TLS_CERT: certificate.cert, GATEHOUSE_TLS_KEY: certificate.key };
    const started = bench.start(['serve'], {
      env: { ...env, ...tls, GATEHOUSE_TRUSTED_PROXIES: '', GATEHOUSE_ISSUER: issuer },
    });
    const https = `https://localhost:${env.PORT}`;
    await expect
      .poll(() => (started.running ? statusOf(`${https}/readyz`, { ca }) : started.stderr), { timeout: 60_000 })
      .toBe(200);
    return https;
  }

  it('speaks https only, sets cookies of its host and secure ones only, and no HSTS on loopback', async () => {
    const https = await serveTls(`https://localhost:${env.PORT}`);
    const metadata = await ask(`${https}/.well-known/openid-configuration`, { ca });
    expect(JSON.parse(metadata.body).issuer).toBe(https);
    expect(metadata.headers).not.toHaveProperty('strict-transport-security');

    const { headers } = await ask(`${https}/login`, { ca });
    const cookies = [headers['set-cookie'] ?? []].flat();
    expect(cookies).not.toEqual([]);
    for (const cookie of cookies) {
      expect(cookie).toMatch(/^__Host-/);
      expect(cookie).toMatch(/; Secure/);
      expect(cookie).toMatch(/; HttpOnly/);
      expect(cookie).toMatch(/; Path=\//);
      expect(cookie).not.toMatch(/Domain/i);
    }
    await expect(ask(`http://localhost:${env.PORT}/healthz`)).rejects.toThrow();
  });

  it('sends HSTS off loopback, on pages, errors and JSON alike', async () => {
    const https = await serveTls('https://id.example');
    for (const path of ['/login', '/jwks', '/nowhere', '/token', '/healthz'])
      expect((await ask(`${https}${path}`, { ca })).headers['strict-transport-security'], path).toMatch(
        /^max-age=\d{8}/,
      );
  });

  it('refuses TLS 1.1 and takes 1.2 and 1.3 (RFC 9325 §3.1)', async () => {
    await serveTls(`https://localhost:${env.PORT}`);
    const speak = (port: number, version: 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3') =>
      new Promise<string>((resolve) => {
        const ciphers = 'DEFAULT@SECLEVEL=0';
        const socket = connect(
          { host: 'localhost', port, ca, ciphers, minVersion: version, maxVersion: version },
          () => {
            resolve(String(socket.getProtocol()));
            socket.destroy();
          },
        ).once('error', (error: NodeJS.ErrnoException) => resolve(String(error.code)));
      });
    // A server that is not so strict shows that this client could.
    const { cert, key } = certificate;
    const lax = createServer({
      cert: await readFile(cert),
      key: await readFile(key),
      ciphers: 'DEFAULT@SECLEVEL=0',
      minVersion: 'TLSv1.1',
    });
    const laxPort = await freePort();
    await new Promise<void>((resolve) => lax.listen(laxPort, 'localhost', resolve));
    expect(await speak(laxPort, 'TLSv1.1')).toBe('TLSv1.1');
    lax.close();

    expect(await speak(Number(env.PORT), 'TLSv1.1')).toBe('ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION');
    expect(await speak(Number(env.PORT), 'TLSv1.2')).toBe('TLSv1.2');
    expect(await speak(Number(env.PORT), 'TLSv1.3')).toBe('TLSv1.3');
  });
});

describe('behind a proxy', () => {
  const forwarded = {
    'x-forwarded-for': '203.0.113.7',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'evil.example',
  };

  it('takes the address of a caller from a proxy it trusts', async () => {
    await serve();
    await ask(`${base}/token`, { form: token, headers: forwarded });
    await expect.poll(sourcesOf, { timeout: 5000 }).toEqual(['203.0.113.7']);
  });

  it('believes nobody else, and never the host they name', async () => {
    await serve({ GATEHOUSE_TRUSTED_PROXIES: '10.0.0.0/8' });
    const metadata = await ask(`${base}/.well-known/openid-configuration`, { headers: forwarded });
    expect(metadata.body).not.toContain('evil.example');
    expect(JSON.parse(metadata.body).token_endpoint).toBe('https://id.example/token');
    await ask(`${base}/token`, { form: token, headers: forwarded });
    await expect.poll(sourcesOf, { timeout: 5000 }).toEqual(['127.0.0.1']);
  });

  it('takes the last address before the proxies, not what a caller put in front', async () => {
    await serve();
    const headers = { 'x-forwarded-for': '198.51.100.1, 203.0.113.7' };
    await ask(`${base}/token`, { form: token, headers });
    await expect.poll(sourcesOf, { timeout: 5000 }).toEqual(['203.0.113.7']);
  });
});

describe('with several workers', () => {
  /** Who answers: the log line of each request names its process. */
  const pids = (started: Gatehouse) =>
    new Set(
      started.stdout
        .split('\n')
        .filter((line) => line.includes('"answered"'))
        .map((line): number => JSON.parse(line).pid),
    );

  it('shares one port among them, replaces one that is killed, adds up their metrics, and ends them all', async () => {
    const metricsPort = await freePort();
    const secret = await register(database.url, {
      client_id: 'batch',
      grant_types: ['client_credentials'],
    });
    const started = await serve({ GATEHOUSE_WORKERS: '2', GATEHOUSE_METRICS_PORT: String(metricsPort) });
    const askMany = async () => {
      for (let count = 0; count < 6; count += 1) await statusOf(`${base}/healthz`);
      return pids(started).size;
    };
    await expect.poll(askMany, { timeout: 60_000 }).toBe(2);
    expect(pids(started)).not.toContain(started.pid);

    const headers = { authorization: `Basic ${Buffer.from(`batch:${secret}`).toString('base64')}` };
    for (let count = 0; count < 6; count += 1)
      expect(await ask(`${base}/token_info`, { form: { token: 'x' }, headers })).toMatchObject({ status: 200 });
    // Each of the two answered some of the six; a scrape sees all.
    const answered = async () =>
      /gatehouse_request_seconds_count\{route="\/token_info",status="200"\} (\d+)/.exec(
        (await ask(`http://127.0.0.1:${metricsPort}/metrics`)).body,
      )?.[1];
    await expect.poll(answered, { timeout: 5000 }).toBe('6');

    const [victim = 0] = pids(started);
    process.kill(victim, 'SIGKILL');
    await expect.poll(() => started.stdout, { timeout: 60_000 }).toContain('another one takes its place');
    await expect.poll(askMany, { timeout: 60_000 }).toBe(3);

    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
    for (const pid of pids(started)) expect(() => process.kill(pid, 0)).toThrow('ESRCH');
    expect(await statusOf(`${base}/healthz`)).toBe(0);
  });

  it('drains them at a Ctrl-C, which reaches each of them too', async () => {
    const started = await serve({ GATEHOUSE_WORKERS: '2' });
    expect(await started.interrupt()).toMatchObject({ code: 0, stderr: '' });
    expect(await statusOf(`${base}/healthz`)).toBe(0);
  });

  it('waits with all of them for a schema', async () => {
    const empty = await newDatabase({ migrated: false });
    const started = bench.start(['serve'], { env: { ...env, DATABASE_URL: empty.url, GATEHOUSE_WORKERS: '2' } });
    await until(started, 503);
    expect((await gatehouse(['migrate'], { env: { DATABASE_URL: empty.url } })).code).toBe(0);
    await until(started, 200);
    expect(await started.stop()).toMatchObject({ code: 0, stderr: '' });
  });
});

describe('options', () => {
  it('GATEHOUSE_METRICS_PORT serves metrics there and only there', async () => {
    const metricsPort = await freePort();
    await serve({ GATEHOUSE_METRICS_PORT: String(metricsPort) });
    await ask(`${base}/token`, { form: token });
    const { status, headers, body } = await ask(`http://127.0.0.1:${metricsPort}/metrics`);
    expect(status).toBe(200);
    expect(headers['content-type']).toMatch(/^text\/plain/);
    expect(body).toContain('gatehouse_request_seconds_count{route="/token",status="401"} 1');
    expect(body).toContain('gatehouse_events_total{event="invalid_client"} 1');
    expect(body).toMatch(/gatehouse_password_queue 0/);
    expect(body).toMatch(/gatehouse_audit_dropped 0/);
    expect((await ask(`${base}/metrics`)).status).toBe(404);
    expect((await ask(`http://127.0.0.1:${metricsPort}/token`)).status).toBe(404);
  });

  it.each<[string, boolean]>([
    ['on', true],
    ['off', false],
  ])(
    'GATEHOUSE_PREPARED=%s: statements have names and connections settings of their own: %s',
    async (prepared, named) => {
      const relay = await Relay.to(database.url);
      const secret = await register(database.url, { client_id: 'batch', grant_types: ['client_credentials'] });
      await serve({ GATEHOUSE_PREPARED: prepared, DATABASE_URL: relay.url });
      const headers = { authorization: `Basic ${Buffer.from(`batch:${secret}`).toString('base64')}` };
      const answer = await ask(`${base}/token_info`, { form: { token: 'x' }, headers });
      expect(answer).toMatchObject({ status: 200, body: '{"active":false}' });
      expect(relay.sent).toContain('SELECT');
      // PostgreSQL, Message Formats: Parse is P, its length, the name, the statement.
      expect(/P[\s\S]{4}g[0-9a-f]{24}\0/.test(relay.sent)).toBe(named);
      expect(relay.sent.includes('plan_cache_mode')).toBe(named);
      await bench.clear();
      await relay.cut();
    },
  );

  it('GATEHOUSE_BRAND_*: name, logo and colour are on the pages', async () => {
    const logo = join(await bench.folder(), 'logo.svg');
    await writeFile(logo, '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><path d="M0 0h1v1z"/></svg>');
    await serve({
      GATEHOUSE_BRAND_NAME: 'Acme & Sons',
      GATEHOUSE_BRAND_LOGO: logo,
      GATEHOUSE_BRAND_COLOR: '#8a2be2',
    });
    const page = await ask(`${base}/login`);
    expect(page.body).toContain('Acme &amp; Sons');
    const [, picture] = /src="(\/assets\/[^"]+\/logo\.svg)"/.exec(page.body) ?? [];
    expect((await ask(`${base}${picture}`)).body).toContain('viewBox="0 0 1 1"');
    const [, theme] = /href="(\/assets\/[^"]+\/theme\.css)"/.exec(page.body) ?? [];
    expect((await ask(`${base}${theme}`)).body.toLowerCase()).toContain('#8a2be2');
  });
});
