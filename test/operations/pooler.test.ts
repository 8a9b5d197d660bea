/**
 * `gatehouse serve` behind a PgBouncer that pools transactions: statements of one client go over connections of all, so nothing
 * may hang on a connection. docs/operations.md ("Poolers") has both ways to configure it, which are these.
 */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { SETTINGS } from '../../src/postgres/database.ts';
import { authorizePath, decide, formTo, pkce, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import { createDatabase } from '../support/database.ts';
import { gatehouse, Workbench } from '../support/gatehouse.ts';
import { findPgBouncer, type Pooler, startPgBouncer } from '../support/pgbouncer.ts';
import { heardOf } from '../support/server.ts';
import { query, serveEnvironment, statusOf } from '../support/serving.ts';

// Processes, on a machine that may be busy.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

const PHOTOS = 'https://photos.example';
const STORAGE = 'https://storage.example';
const CALLBACK = 'https://web.example/callback';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ISSUER = 'https://id.example';
/** Connections to PostgreSQL, for the ten of the server. */
const SERVERS = 3;
/** Who ask at once. */
const CROWD = 12;

const documentation = () => readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8');

it('docs/operations.md has each of the settings of a connection, for the role', async () => {
  const page = await documentation();
  const role = SETTINGS.map((setting) => `ALTER ROLE gatehouse SET ${setting.replace('=', ' = ')};`);
  expect(page).toContain(role.join('\n'));
});

it('docs/operations.md has the lines of PgBouncer that are used here', async () => {
  const page = await documentation();
  for (const [name, value] of Object.entries(KEEPING)) expect(page).toContain(`${name} = ${value}`);
});

/** What PgBouncer needs where statements are named. */
const KEEPING = { max_prepared_statements: 200, ignore_startup_parameters: 'options,statement_timeout' };

const installed = await findPgBouncer();
const reasonAgainst = (prepared: 'on' | 'off') => {
  if (!installed) return 'no pgbouncer in PATH or at PGBOUNCER_PATH';
  if (prepared === 'on' && !installed.keepsStatements) return `pgbouncer ${installed.version} is older than 1.21`;
  return undefined;
};

describe.each(['off', 'on'] as const)('GATEHOUSE_PREPARED=%s', (prepared) => {
  const reason = reasonAgainst(prepared);
  describe.skipIf(reason !== undefined)(
    `behind PgBouncer${reason === undefined ? '' : ` (skipped: ${reason})`}`,
    () => {
      const bench = new Workbench();
      let direct: Awaited<ReturnType<typeof createDatabase>>;
      let role: string;
      let pooler: Pooler;
      let env: Record<string, string>;
      let base: string;
      let clients: Record<'web' | 'photos-api' | 'storage-api' | 'batch', { id: string; secret: string }>;
      let browser: TestBrowser;

      beforeAll(async () => {
        if (!installed) return;
        direct = await createDatabase({ migrated: true });
        role = `pooled_${randomBytes(6).toString('hex')}`;
        // A role of its own, that settings can be made for; what it makes belongs to the owner of the database.
        await query(direct.url, `CREATE ROLE ${role} LOGIN PASSWORD 'pooled' IN ROLE CURRENT_USER`);
        for (const setting of SETTINGS) await query(direct.url, `ALTER ROLE ${role} SET ${setting}`);
        const url = new URL(direct.url);
        url.username = role;
        url.password = 'pooled';
        pooler = await startPgBouncer(installed, url.href, {
          default_pool_size: SERVERS,
          ...(prepared === 'on' && KEEPING),
        });
        const serving = await serveEnvironment(pooler.url);
        env = { ...serving, DATABASE_DIRECT_URL: direct.url, GATEHOUSE_PREPARED: prepared, LOG_LEVEL: 'warn' };
        base = `http://127.0.0.1:${serving.PORT}`;
        await register();
        const started = bench.start(['serve'], { env });
        while ((await statusOf(`${base}/readyz`)) !== 200) {
          if (!started.running) throw new Error(`It ended: ${started.stderr}`);
          await sleep(50);
        }
      });
      afterAll(async () => {
        await bench.clear();
        await pooler?.close();
        await direct?.drop();
        if (role !== undefined) await onServer(`DROP ROLE ${role}`);
      });

      const onServer = (statement: string) => {
        const url = new URL(direct.url);
        url.pathname = '/postgres';
        return query(url.href, statement);
      };

      /** A command of the operator, through the pooler. */
      async function operate(parameters: string[], input?: unknown): Promise<Record<string, unknown>> {
        const ended = await gatehouse(parameters, {
          env,
          ...(input !== undefined && { input: JSON.stringify(input) }),
        });
        if (ended.code !== 0) throw new Error(ended.stderr);
        return JSON.parse(ended.stdout) as Record<string, unknown>;
      }

      async function register(): Promise<void> {
        const client = async (metadata: Record<string, unknown>) => {
          const { client_id, client_secret } = await operate(['clients', 'create', '--file', '-'], metadata);
          return { id: String(client_id), secret: String(client_secret) };
        };
        const opaque = (resource: string, name: string) =>
          operate(['resources', 'create', '--file', '-'], {
            resource,
            name,
            scopes: { [`${name}.read`]: `Read your ${name}` },
            access_token_format: 'opaque',
            introspection_clients: [`${name}-api`],
          });
        const apis = {
          'photos-api': await client({ client_id: 'photos-api', grant_types: [EXCHANGE] }),
          'storage-api': await client({ client_id: 'storage-api', grant_types: [] }),
        };
        await opaque(PHOTOS, 'photos');
        await opaque(STORAGE, 'storage');
        const web = await client({
          client_id: 'web',
          redirect_uris: [CALLBACK],
          grant_types: ['authorization_code', 'refresh_token'],
          scope: 'openid photos.read',
        });
        const batch = await client({ client_id: 'batch', grant_types: ['client_credentials'], scope: 'photos.read' });
        await operate(['exchange-policies', 'create', '--file', '-'], {
          name: 'photos-to-storage',
          client: 'photos-api',
          source: PHOTOS,
          target: STORAGE,
          scopes: { 'photos.read': ['storage.read'] },
        });
        await operate(['users', 'create', '--file', '-'], { username: 'alice', password: 'wonderland' });
        clients = { ...apis, web, batch };
      }

      const crowd = <T>(work: (index: number) => Promise<T>) =>
        Promise.all(Array.from({ length: CROWD }, (_, index) => work(index)));

      async function token(client: keyof typeof clients, fields: Record<string, string>) {
        const { status, json, text } = await post(`${base}/token`, fields, { basic: clients[client] });
        if (status !== 200) throw new Error(text);
        return json as { access_token: string; refresh_token: string };
      }

      const isActive = async (api: 'photos-api' | 'storage-api', value: string) =>
        (await post(`${base}/token_info`, { token: value }, { basic: clients[api] })).json.active;

      async function codeOf(person: TestBrowser) {
        const { verifier, challenge } = pkce();
        const request = {
          client_id: 'web',
          redirect_uri: CALLBACK,
          scope: 'openid photos.read',
          code_challenge: challenge,
        };
        let page = await person.visit(authorizePath(request));
        if (new URL(page.url).pathname === '/login') page = await signIn(person, page);
        if (new URL(page.url).pathname === '/consent') page = await decide(person, page);
        return { code: responseOf(page).get('code') ?? '', code_verifier: verifier };
      }

      async function tokensOf(person: TestBrowser) {
        const fields = { grant_type: 'authorization_code', redirect_uri: CALLBACK, resource: PHOTOS };
        return token('web', { ...fields, ...(await codeOf(person)) });
      }

      it('a person signs in and consents, and is signed in from then on', async () => {
        browser = new TestBrowser({ issuer: ISSUER }, (address, init) => {
          const { pathname, search } = new URL(String(address));
          return fetch(`${base}${pathname}${search}`, init);
        });
        const { access_token } = await tokensOf(browser);
        expect(await isActive('photos-api', access_token)).toBe(true);
        expect((await browser.visit('/account')).body).toContain('alice');
      });

      it('a crowd gets codes, tokens, refreshed and exchanged ones, asks about them, and revokes them', async () => {
        const outcomes = await crowd(async () => {
          const { access_token: first, refresh_token } = await tokensOf(browser.clone());
          const again = await token('web', { grant_type: 'refresh_token', refresh_token, resource: PHOTOS });
          const { access_token: exchanged } = await token('photos-api', {
            grant_type: EXCHANGE,
            subject_token: again.access_token,
            subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
            resource: STORAGE,
          });
          const before = [await isActive('photos-api', first), await isActive('storage-api', exchanged)];
          await post(`${base}/revoke`, { token: again.access_token }, { basic: clients.web });
          const between = [await isActive('photos-api', first), await isActive('storage-api', exchanged)];
          await post(`${base}/revoke`, { token: again.refresh_token ?? refresh_token }, { basic: clients.web });
          return [...before, ...between, await isActive('photos-api', first)];
        });
        expect(outcomes).toEqual(Array(CROWD).fill([true, true, true, false, false]));
      });

      it('a crowd of machines gets opaque tokens of its own', async () => {
        const machine = { grant_type: 'client_credentials', resource: PHOTOS };
        const tokens = await crowd(async () => (await token('batch', machine)).access_token);
        expect(new Set(tokens).size).toBe(CROWD);
        expect(await Promise.all(tokens.map((one) => isActive('photos-api', one)))).toEqual(Array(CROWD).fill(true));
      });

      it('all of them shared a few connections, which have our settings', async () => {
        const backends = await query(direct.url, `SELECT FROM pg_stat_activity WHERE usename = '${role}'`);
        expect(backends.length).toBeGreaterThan(0);
        expect(backends.length).toBeLessThanOrEqual(SERVERS);
        for (const setting of SETTINGS) {
          const [name = '', value] = setting.split('=');
          const [row] = await query<{ value: string }>(pooler.url, `SELECT current_setting('${name}') AS value`);
          expect(row?.value, name).toBe(value);
        }
        const kept = await query(pooler.url, `SELECT FROM pg_prepared_statements WHERE name LIKE 'PGBOUNCER_%'`);
        expect(kept.length > 0).toBe(prepared === 'on');
      });

      it('what an operator changes is heard of, past the pooler', async () => {
        const listening = await query(
          direct.url,
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'gatehouse listener'`,
        );
        expect(listening).toHaveLength(1);
        const machine = { grant_type: 'client_credentials', resource: PHOTOS };
        const status = async () => (await post(`${base}/token`, machine, { basic: clients.batch })).status;
        expect(await status()).toBe(200);
        await operate(['clients', 'update', 'batch', '--disable']);
        await heardOf(async () => (await status()) === 401);
      });

      it('a session that is ended is over at once', async () => {
        const { access_token } = await tokensOf(browser);
        const page = await browser.visit('/logout');
        await browser.submit(formTo(page, '/logout'));
        expect(await isActive('photos-api', access_token)).toBe(false);
      });
    },
  );
});
