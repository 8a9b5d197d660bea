import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase } from '../../src/postgres/database.ts';
import { postgresLedger } from '../../src/postgres/ledger.pg.ts';
import { keepPartitions, PARTITIONED } from '../../src/postgres/partitions.ts';
import { mintCredential, mintId } from '../../src/protocol/secrets.ts';
import { countOf, DAY, HOUR, openStore, race, type Store } from './store.ts';

const TABLES = Object.keys(PARTITIONED) as (keyof typeof PARTITIONED)[];

describe('partitions', () => {
  let store: Store;
  beforeEach(async () => {
    store = await openStore({ poolMax: 4 });
  });
  afterEach(() => store.close());

  async function partitions(): Promise<Map<string, string[]>> {
    const found = await store.rows(sql<{ parent: string; name: string }>`
      SELECT parent.relname AS parent, child.relname AS name
      FROM pg_inherits i JOIN pg_class parent ON parent.oid = i.inhparent JOIN pg_class child ON child.oid = i.inhrelid
      WHERE parent.relkind = 'p' ORDER BY child.relname`);
    const byTable = new Map<string, string[]>(TABLES.map((table) => [table, []]));
    for (const { parent, name } of found) byTable.get(parent)?.push(name);
    return byTable;
  }

  /** Puts a row into each table that only needs an id to tell its age. */
  async function leave(now: Date): Promise<void> {
    await store.rows(sql`INSERT INTO revocation_marks (id, revoked_at) VALUES (${mintId(now, randomBytes)}, ${now})`);
    await store.rows(sql`INSERT INTO audit (id, at, event) VALUES (${mintId(now, randomBytes)}, ${now}, 'x')`);
    await store.rows(sql`
      INSERT INTO authorization_codes (id, secret_hash, grant_id, client_id, redirect_uri, code_challenge, expires_at)
      VALUES (${mintId(now, randomBytes)}, '', ${mintId(now, randomBytes)}, 'x', 'x', 'x', ${now})`);
    await store.rows(sql`
      INSERT INTO sessions (id, secret_hash, created_at, last_used_at) VALUES (${mintId(now, randomBytes)}, '', ${now}, ${now})`);
  }

  it('never are more than about two dozen a table, through sixty days; what is over goes with them', async () => {
    const most = new Map<string, number>();
    const live = async (now: Date) => {
      expect(await keepPartitions(store.sql, now)).toEqual([]);
      for (const [table, names] of await partitions()) most.set(table, Math.max(most.get(table) ?? 0, names.length));
    };
    const step = DAY;
    for (let passed = 0; passed <= 60 * DAY; passed += step) {
      await live(store.at(passed));
      await leave(store.at(passed));
    }
    // One row at each step, kept as long as its table says (and a partition's span at most).
    for (const table of ['revocation_marks', 'authorization_codes', 'sessions'] as const) {
      const { span, keep } = PARTITIONED[table];
      const rows = await countOf(store, table);
      expect(rows, table).toBeGreaterThanOrEqual(Math.floor((keep * 1000) / step));
      expect(rows, table).toBeLessThanOrEqual(Math.ceil(((keep + 2 * span) * 1000) / step) + 1);
    }
    expect(await countOf(store, 'audit')).toBe((60 * DAY) / step + 1);
    // As often as the job runs, for the tables that are kept for hours.
    for (let passed = 0; passed <= 5 * HOUR; passed += HOUR / 6) await live(store.at(60 * DAY + passed));
    for (const table of TABLES) {
      expect(most.get(table), table).toBeGreaterThanOrEqual(4);
      expect(most.get(table), table).toBeLessThanOrEqual(24);
    }
  }, 60_000);

  it('stay within two dozen for the tables that are kept longest, through sixteen months', async () => {
    for (let passed = 0; passed <= 500 * DAY; passed += 16 * DAY) await keepPartitions(store.sql, store.at(passed));
    for (const [table, names] of await partitions()) expect(names.length, table).toBeLessThanOrEqual(24);
  });

  it('heal after a month in which nobody looked after them', async () => {
    const now = store.at(31 * DAY);
    await leave(store.now);
    expect(await keepPartitions(store.sql, now)).toEqual([]);
    await leave(now);
    expect(await countOf(store, 'sessions')).toBe(1);
    expect(await countOf(store, 'audit')).toBe(2);
    // A second look finds nothing to do.
    const before = await partitions();
    await keepPartitions(store.sql, now);
    expect(await partitions()).toEqual(before);
  });

  it('cover the moment before now and the one ahead: clocks of nodes differ', async () => {
    const now = store.at(5 * DAY);
    await keepPartitions(store.sql, now);
    const { span } = PARTITIONED.access_tokens;
    for (const distance of [-span, 0, span, 2 * span]) await leave(new Date(now.getTime() + distance * 1000));
  });

  it('are made once when many nodes look at the same time', async () => {
    const now = store.at(90 * DAY);
    const other = store.another({ poolMax: 4 });
    const outcomes = await race(8, async (index) => {
      await keepPartitions(index % 2 ? store.sql : other.sql, now);
      return 'done';
    });
    expect(outcomes).toEqual({ done: 8 });
    const [first] = await partitions();
    expect(new Set(first?.[1]).size).toBe(first?.[1].length);
  });

  it('that somebody reads are left for the next time, and nobody has to wait', async () => {
    await leave(store.now);
    const now = store.at(40 * DAY);
    let busy: string[] = [];
    await store
      .another({ poolMax: 2 })
      .sql.transaction()
      .execute(async (reader) => {
        await sql`SELECT id FROM authorization_codes`.execute(reader);
        busy = await keepPartitions(store.sql, now);
      });
    expect(busy.length).toBeGreaterThan(0);
    expect(busy.every((name) => name.startsWith('authorization_codes_'))).toBe(true);
    expect(await keepPartitions(store.sql, now)).toEqual([]);
    expect((await partitions()).get('authorization_codes')?.filter((name) => busy.includes(name))).toEqual([]);
  });

  it('that somebody reads keep nobody from reading and writing, and go with the run after', async () => {
    const now = store.at(40 * DAY);
    await leave(store.now);
    const others = store.another({ poolMax: 4 });
    const old = await partitions();
    const [held = ''] = old.get('sessions') ?? [];
    const busy = await store
      .another({ poolMax: 1 })
      .sql.transaction()
      .execute(async (reader) => {
        await sql`SELECT id FROM ${sql.table(held)}`.execute(reader);
        const running = keepPartitions(store.sql, now);
        // They end while the reader is there: none of them waits for it, however the DROP does.
        for (let count = 0; count < 100; count += 1) {
          await sql`SELECT count(*) FROM sessions`.execute(others.sql);
          await sql`INSERT INTO sessions (id, secret_hash, created_at, last_used_at)
            VALUES (${mintId(store.now, randomBytes)}, '', ${now}, ${now})`
            .execute(others.sql)
            // Its partition may be among those that are dropped.
            .catch((error: Error) => expect(error.message).toMatch(/no partition of relation/));
        }
        return running;
      });
    expect(busy).toContain(held);
    expect(await keepPartitions(store.sql, now)).toEqual([]);
    const left = (await partitions()).get('sessions') ?? [];
    expect(left.filter((name) => (old.get('sessions') ?? []).includes(name))).toEqual([]);
  });

  it('are made while others read and write, and they while those are made', async () => {
    const now = store.at(90 * DAY);
    const before = await partitions();
    const others = store.another({ poolMax: 4 });
    // A transaction that has read and written each of them, and goes on.
    const open = await store.another({ poolMax: 1 }).sql.startTransaction().execute();
    await sql`LOCK TABLE ${sql.join(TABLES.map((table) => sql.table(table)))} IN ROW EXCLUSIVE MODE`.execute(open);
    await sql`LOCK TABLE audit IN SHARE UPDATE EXCLUSIVE MODE`.execute(open);
    const making = keepPartitions(store.sql, now);
    // Until it waits for the last one, with the locks on all the others in its hands.
    const waits = async () =>
      (await store.rows(sql`SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'audit'::regclass`)).length;
    await expect.poll(waits, { timeout: 5000, interval: 10 }).toBe(1);
    expect(await partitions()).toEqual(before);
    for (const table of TABLES) await sql`SELECT count(*) FROM ${sql.table(table)}`.execute(others.sql);
    await sql`INSERT INTO sessions (id, secret_hash, created_at, last_used_at)
      VALUES (${mintId(store.now, randomBytes)}, '', ${now}, ${now})`.execute(others.sql);
    await open.rollback().execute();
    await making;
    await leave(now);
  });

  it('have room for what changes: rows change in their page, without their indexes', async () => {
    const now = store.at(3 * DAY);
    await keepPartitions(store.sql, now);
    const { sql: one } = store.another({ poolMax: 1 });
    const ids = Array.from({ length: 300 }, () => mintId(now, randomBytes));
    const hash = randomBytes(32);
    await sql`INSERT INTO authorization_codes (id, secret_hash, grant_id, client_id, redirect_uri, code_challenge, expires_at)
      SELECT id, ${hash}, id, 'app', 'https://app.example/callback', 'challenge', ${now}::timestamptz
      FROM unnest(${ids}::uuid[]) AS id`.execute(one);
    await sql`UPDATE authorization_codes SET redeemed_at = ${now} WHERE id = ANY(${ids}::uuid[])`.execute(one);
    await sql`SELECT pg_stat_force_next_flush()`.execute(one);
    const { rows } = await sql<{ changed: number; inPlace: number }>`
      SELECT sum(n_tup_upd)::int AS changed, sum(n_tup_hot_upd)::int AS "inPlace" FROM pg_stat_user_tables
      WHERE relname LIKE 'authorization_codes_%'`.execute(one);
    expect(rows[0]?.changed).toBe(300);
    // Of the last page some find none: without room nearly all would.
    expect(rows[0]?.inPlace).toBeGreaterThan(270);
  });

  it('leave other tables of the schema alone', async () => {
    await store.rows(sql`CREATE TABLE somebody_elses (id int) PARTITION BY RANGE (id)`);
    await store.rows(sql`CREATE TABLE somebody_elses_1 PARTITION OF somebody_elses FOR VALUES FROM (0) TO (10)`);
    await store.rows(sql`CREATE TABLE sessions_archive (id int)`);
    await keepPartitions(store.sql, store.at(400 * DAY));
    const [row] = await store.rows(sql`
      SELECT to_regclass('somebody_elses_1') IS NOT NULL AS one, to_regclass('sessions_archive') IS NOT NULL AS two`);
    expect(row).toEqual({ one: true, two: true });
  });

  it.each([
    { prepared: true, poolMax: 1 },
    { prepared: true, poolMax: 3 },
    { prepared: false, poolMax: 3 },
  ])('are made by the INSERT that misses one ($prepared prepared, $poolMax connections)', async (options) => {
    const now = store.at(100 * DAY);
    let made = 0;
    const database = openDatabase({
      url: store.url,
      ...options,
      makePartitions: async (connection) => {
        made += 1;
        await keepPartitions(connection, now);
      },
    });
    const ledger = postgresLedger(database.sql);
    const tokens = Array.from({ length: 12 }, () => mintCredential('access_token', now, randomBytes));
    const outcomes = await race(tokens.length, async (index) => {
      const { id, hash } = tokens[index] ?? mintCredential('access_token', now, randomBytes);
      const expiresAt = new Date(now.getTime() + 300_000);
      const token = { id, hash, grantId: undefined, clientId: 'x', scope: [], audience: [], cnf: undefined };
      await ledger.record({ ...token, authorizationDetails: [], issuedAt: now, expiresAt }, []);
      return 'recorded';
    }).finally(() => database.close());
    expect(outcomes).toEqual({ recorded: 12 });
    expect(await countOf(store, 'access_tokens')).toBe(12);
    expect(made).toBeGreaterThan(0);
  });

  it('that cannot be made leave the INSERT to fail with its own error', async () => {
    const id = mintId(store.at(300 * DAY), randomBytes);
    const insert = store.rows(sql`INSERT INTO revocation_marks (id, revoked_at) VALUES (${id}, ${store.now})`);
    await expect(insert).rejects.toThrow(/no partition of relation/);
  });
});
