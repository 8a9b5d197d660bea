/**
 * How PostgreSQL answers the statements of the hot paths, under the generic plans our connections ask for: by index,
 * and in the one partition the id names.
 */
import { randomBytes } from 'node:crypto';
import { Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postgresCodes } from '../../src/features/authorization-code/codes.pg.ts';
import { postgresDeliveries } from '../../src/features/backchannel-logout/deliveries.pg.ts';
import { postgresRefreshTokens } from '../../src/features/refresh-token/refresh-tokens.pg.ts';
import { SETTINGS, type Sql } from '../../src/postgres/database.ts';
import { postgresLedger } from '../../src/postgres/ledger.pg.ts';
import { keepPartitions } from '../../src/postgres/partitions.ts';
import { postgresPendingAuthorizations } from '../../src/postgres/pending-authorizations.pg.ts';
import { postgresSessions } from '../../src/postgres/sessions.pg.ts';
import { mintCredential, mintId, sha256 } from '../../src/protocol/secrets.ts';
import { DAY, HOUR, IDLE, minted, openStore, type Store, someTokens } from './store.ts';

interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Loops': number;
  readonly Plans?: readonly Plan[];
}

describe('plans of the hot statements', () => {
  let store: Store;
  let client: pg.Client;
  beforeAll(async () => {
    store = await openStore();
    // The schema in the middle of its life: two days of partitions, the present ones with something in them.
    for (let hour = -48; hour <= 0; hour += 0.75) await keepPartitions(store.sql, store.at(hour * HOUR));
    await fill();
    await store.rows(sql`ANALYZE`);
    client = new pg.Client({
      connectionString: store.url,
      options: SETTINGS.map((setting) => `-c ${setting}`).join(' '),
    });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await store.close();
  });

  /** Puts some thousand rows into each table. */
  async function fill(): Promise<void> {
    const rows = sql`
      FROM generate_series(1, 3000) AS n, LATERAL (
        SELECT (lpad(to_hex(${store.now.getTime()}::bigint), 12, '0') || '7' || left(md5(n::text), 3) || '8' || right(md5(n::text), 15))::uuid AS id,
               ${store.now}::timestamptz AS at, ''::bytea AS hash
      ) AS r`;
    for (const statement of [
      sql`INSERT INTO users (id, username, username_key, password_hash, claims, created_at, updated_at)
          SELECT id, 'u' || n, 'u' || n, '', '{}', at, at ${rows}`,
      sql`INSERT INTO clients (id, metadata, created_at, updated_at) SELECT 'c' || n, '{}', at, at ${rows}`,
      sql`INSERT INTO sessions (id, secret_hash, created_at, last_used_at) SELECT id, hash, at, at ${rows}`,
      sql`INSERT INTO sign_ins (id, session_id, user_id, user_epoch, auth_time, acr, amr, expires_at)
          SELECT id, id, id, 0, at, '', '{}', at ${rows}`,
      sql`INSERT INTO grants (id, client_id, user_id, user_epoch, consent_epoch, sign_in_id, session_bound, scope, resources,
                              auth_time, acr, amr, created_at, expires_at)
          SELECT id, 'c' || n, id, 0, 0, id, true, '{}', '{}', at, '', '{}', at, at ${rows}`,
      sql`INSERT INTO authorization_codes (id, secret_hash, grant_id, client_id, redirect_uri, code_challenge, expires_at)
          SELECT id, hash, id, 'c' || n, '', '', at ${rows}`,
      sql`INSERT INTO refresh_tokens (id, secret_hash, grant_id, client_id, scope, issued_at, expires_at)
          SELECT id, hash, id, 'c' || n, '{}', at, at ${rows}`,
      sql`INSERT INTO access_tokens (id, secret_hash, grant_id, client_id, scope, audience, issued_at, expires_at)
          SELECT id, hash, id, 'c' || n, '{}', '{}', at, at ${rows}`,
      sql`INSERT INTO pending_authorizations (id, client_id, parameters, expires_at) SELECT id, 'c' || n, '[]', at ${rows}`,
      sql`INSERT INTO revocation_marks (id, revoked_at) SELECT id, at ${rows}`,
      sql`INSERT INTO logout_deliveries (grant_id, client_id, user_id, sign_in_id, queued_at, next_attempt_at)
          SELECT id, 'c' || n, id, id, at, at ${rows}`,
    ]) {
      await store.rows(statement);
    }
  }

  /** What `work` sends, and how it is answered. */
  async function plansOf(work: (database: Sql) => Promise<unknown>): Promise<Plan[]> {
    const sent: { text: string; values: readonly unknown[] }[] = [];
    const recording = {
      query: async (text: string, values: readonly unknown[] = []) => {
        sent.push({ text, values });
        return client.query(text, [...values]);
      },
      release: () => undefined,
    };
    const pool = { connect: async () => recording, end: async () => undefined };
    await work(new Kysely<unknown>({ dialect: new PostgresDialect({ pool: pool as unknown as pg.Pool }) }));
    const plans: Plan[] = [];
    for (const [index, { text, values }] of sent.entries()) {
      const name = `plan_${index}`;
      await client.query(`PREPARE ${name} AS ${text}`);
      const { rows } = await client.query(
        `EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE ${name}(${values.map(literal).join(', ')})`,
      );
      await client.query(`DEALLOCATE ${name}`);
      plans.push(rows[0]['QUERY PLAN'][0].Plan);
    }
    return plans;
  }

  function literal(value: unknown): string {
    if (value === null || value === undefined) return 'NULL';
    if (typeof value === 'boolean' || typeof value === 'number') return String(value);
    if (Buffer.isBuffer(value)) return `'\\x${value.toString('hex')}'`;
    if (value instanceof Date) return `'${value.toISOString()}'`;
    if (Array.isArray(value)) return pg.escapeLiteral(`{${value.map(element).join(',')}}`);
    return pg.escapeLiteral(String(value));
  }

  function element(value: unknown): string {
    if (value === null || value === undefined) return 'NULL';
    const text =
      value instanceof Date
        ? value.toISOString()
        : Buffer.isBuffer(value)
          ? `\\x${value.toString('hex')}`
          : String(value);
    return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  }

  /** The scans of a table's partitions that were really made. */
  function scans(plan: Plan, table: string): Plan[] {
    const own =
      new RegExp(`^${table}_\\d+$`).test(plan['Relation Name'] ?? '') &&
      plan['Actual Loops'] > 0 &&
      /Scan$/.test(plan['Node Type']);
    return [...(own ? [plan] : []), ...(plan.Plans ?? []).flatMap((inner) => scans(inner, table))];
  }

  const token = () => mintCredential('access_token', store.now, randomBytes);

  it.each<[string, string[], (database: Sql) => Promise<unknown>]>([
    ['a code is found', ['authorization_codes'], (database) => postgresCodes(database).find(token(), store.now)],
    [
      'a code is redeemed',
      ['authorization_codes'],
      (database) => postgresCodes(database).redeem(token(), 'client', minted('client', store.now).forStore, store.now),
    ],
    [
      'a refresh token is found',
      ['refresh_tokens'],
      (database) => postgresRefreshTokens(database).find(token(), store.now),
    ],
    [
      'a refresh token is rotated',
      ['refresh_tokens'],
      (database) =>
        postgresRefreshTokens(database).rotate(token(), randomBytes(1), minted('c', store.now).forStore, store.now),
    ],
    [
      'an access token is found',
      ['access_tokens'],
      (database) => postgresLedger(database).findAccessToken(token(), store.now),
    ],
    [
      'a refresh token is introspected',
      ['refresh_tokens'],
      (database) => postgresLedger(database).findRefreshToken(token(), store.now),
    ],
    [
      'an access token is revoked',
      ['access_tokens'],
      (database) => postgresLedger(database).revokeAccessToken(token(), 'client', store.now),
    ],
    [
      'a session is found',
      ['sessions'],
      (database) => postgresSessions(database, IDLE).find(token(), store.now, 'client'),
    ],
    [
      'a pending authorization is found',
      ['pending_authorizations'],
      (database) =>
        postgresPendingAuthorizations(database).find(mintId(store.now, randomBytes), sha256('b'), store.now),
    ],
  ])('%s by index in one partition', async (_what, tables, work) => {
    const plans = await plansOf(work);
    expect(plans).toHaveLength(1);
    for (const table of tables) {
      const made = plans.flatMap((plan) => scans(plan, table));
      // The statement that also changes the row may look twice, at the same partition.
      expect(new Set(made.map((scan) => scan['Relation Name'])).size, JSON.stringify(made)).toBe(1);
      for (const scan of made) expect(scan['Node Type']).toMatch(/^Index (Only )?Scan$/);
    }
  });

  it('a token that stands is confirmed by index in one partition of each table it comes from', async () => {
    const tokens = await someTokens(store, { sessionBound: true });
    const [opaque] = await plansOf((database) =>
      postgresLedger(database).findAccessToken(tokens.accessToken, store.now),
    );
    const signed = { jti: mintId(store.now, randomBytes), grantId: tokens.grantId, clientId: tokens.clientId };
    const [jwt] = await plansOf((database) => postgresLedger(database).confirm(signed, store.now));
    for (const [plan, tables] of [
      [opaque, ['access_tokens', 'grants', 'sign_ins']],
      [jwt, ['grants', 'sign_ins', 'revocation_marks']],
    ] as const) {
      for (const table of tables) {
        const made = plan ? scans(plan, table) : [];
        expect(
          made.map((scan) => scan['Relation Name']),
          table,
        ).toHaveLength(1);
        expect(made[0]?.['Node Type']).toMatch(/^Index (Only )?Scan$/);
      }
    }
  });

  it('what is over is announced, and what is due is claimed, by index: each second, on each node', async () => {
    const before = store.at(-HOUR);
    const plans = await plansOf(async (database) => {
      await postgresDeliveries(database).announce(before);
      await postgresDeliveries(database).claim([], before, store.now);
    });
    const nodes = (plan: Plan): Plan[] => [plan, ...(plan.Plans ?? []).flatMap(nodes)];
    for (const table of ['sign_ins', 'grants', 'logout_deliveries']) {
      const [filled] = await store.rows(
        sql<{ name: string }>`SELECT tableoid::regclass::text AS name FROM ${sql.table(table)} LIMIT 1`,
      );
      const planned = plans.flatMap(nodes).filter((node) => node['Relation Name'] === filled?.name);
      const types = planned.map((node) => node['Node Type']).filter((type) => type.endsWith('Scan'));
      expect(types.length, table).toBeGreaterThan(0);
      for (const type of types) expect(type, table).toMatch(/^(Bitmap )?(Index|Heap) (Only )?Scan$/);
    }
  });

  it('an id of no partition costs no scan at all', async () => {
    const foreign = mintCredential('access_token', store.at(-40 * DAY), randomBytes);
    const plans = await plansOf((database) => postgresLedger(database).findAccessToken(foreign, store.now));
    expect(plans.flatMap((plan) => scans(plan, 'access_tokens'))).toEqual([]);
  });
});
