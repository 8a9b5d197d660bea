/**
 * A month of traffic under a clock that is moved on, two hours at a time: what is kept for hours or days takes as much room on the
 * last day as on the first on which all of it had come round, and what is kept for months holds its rows and nothing else.
 */
import { randomBytes } from 'node:crypto';
import { type RawBuilder, sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Database, openDatabase } from '../../src/postgres/database.ts';
import { keepPartitions, PARTITIONED } from '../../src/postgres/partitions.ts';
import { mintId } from '../../src/protocol/secrets.ts';
import { countOf, DAY, HOUR, openStore, type Store } from './store.ts';

type Table = keyof typeof PARTITIONED;
const TABLES = Object.keys(PARTITIONED) as Table[];
/** Everything that is gone within this many days. */
const ROUND = 10;
const MONTH = 31;
const PASSING = TABLES.filter((table) => PARTITIONED[table].keep + 2 * PARTITIONED[table].span <= (ROUND * DAY) / 1000);
const LASTING = TABLES.filter((table) => !PASSING.includes(table));
/** Hours from one look to the next, and rows that each table gets at each. */
const STEP = 2;
const ROWS = 6;

/** Enough of a value for a column that demands one. */
const VALUES: Record<string, RawBuilder<unknown>> = {
  uuid: sql`id`,
  bytea: sql`sha256(id::text::bytea)`,
  text: sql`'value'`,
  jsonb: sql`'{}'`,
  boolean: sql`false`,
  integer: sql`0`,
  ARRAY: sql`'{}'`,
};

interface Room {
  partitions: number;
  bytes: number;
}

describe('a month of traffic', () => {
  let store: Store;
  let database: Database;
  let traffic: (now: Date) => Promise<void>;
  let clock: Date;

  beforeEach(async () => {
    store = await openStore({ poolMax: 4 });
    clock = store.now;
    database = openDatabase({
      url: store.url,
      poolMax: 2,
      prepared: true,
      makePartitions: async (connection) => void (await keepPartitions(connection, clock)),
    });
    const columns = await store.rows(sql<{ table: string; column: string; type: string }>`
      SELECT table_name AS table, column_name AS column, data_type AS type FROM information_schema.columns
      WHERE table_schema = current_schema() AND table_name = ANY(${TABLES}) AND is_nullable = 'NO' AND column_default IS NULL`);
    traffic = async (now) => {
      const ids = Array.from({ length: ROWS }, () => mintId(now, randomBytes));
      const inserts = TABLES.map((table) => {
        const own = columns.filter((column) => column.table === table);
        const values = own.map(({ type }) =>
          type === 'timestamp with time zone' ? sql`${now}::timestamptz` : (VALUES[type] ?? sql`NULL`),
        );
        return sql`${sql.ref(`of_${table}`)} AS (
          INSERT INTO ${sql.table(table)} (${sql.join(own.map(({ column }) => sql.ref(column)))})
          SELECT ${sql.join(values)} FROM ids)`;
      });
      await sql`WITH ids AS (SELECT unnest(${ids}::uuid[]) AS id), ${sql.join(inserts)} SELECT 1`.execute(database.sql);
      // What changes while it lives.
      await sql`UPDATE refresh_tokens SET rotated_at = ${now}, last_used_at = ${now} WHERE id = ANY(${ids}::uuid[])`.execute(
        database.sql,
      );
      await sql`UPDATE sessions SET last_used_at = ${now} WHERE id = ANY(${ids}::uuid[])`.execute(database.sql);
    };
  });
  afterEach(async () => {
    await database.close();
    await store.close();
  });

  async function rooms(): Promise<Map<string, Room>> {
    const found = await store.rows(sql<Room & { table: string }>`
      SELECT parent.relname AS table, count(*)::int AS partitions, sum(pg_total_relation_size(child.oid))::int AS bytes
      FROM pg_inherits i JOIN pg_class parent ON parent.oid = i.inhparent JOIN pg_class child ON child.oid = i.inhrelid
      WHERE parent.relkind = 'p' GROUP BY 1`);
    return new Map(found.map(({ table, partitions, bytes }) => [table, { partitions, bytes }]));
  }

  /** Tables of partitions, and what is left behind of any: tables that belong to nothing, and what was too long for them. */
  async function tables(): Promise<{ names: Set<string>; strays: string[] }> {
    const found = await store.rows(sql<{ name: string; stray: boolean }>`
      SELECT c.relname AS name, NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid) AS stray
      FROM pg_class c WHERE c.relkind = 'r' AND c.relname ~ ${`^(${TABLES.join('|')})_[0-9]+$`}
      UNION ALL
      SELECT t.relname, true FROM pg_class t
      WHERE t.relkind = 't' AND NOT EXISTS (SELECT FROM pg_class c WHERE c.reltoastrelid = t.oid)`);
    return {
      names: new Set(found.map(({ name }) => name)),
      strays: found.filter(({ stray }) => stray).map(({ name }) => name),
    };
  }

  /** Two that come next, of each table. */
  function ahead(now: Date): string[] {
    return TABLES.flatMap((table) => {
      const { span } = PARTITIONED[table];
      const present = Math.floor(now.getTime() / 1000 / span) * span;
      return [present, present + span, present + 2 * span].map((start) => `${table}_${start}`);
    });
  }

  it('takes no more room on its last day than on the tenth, whatever runs of the job were missed', async () => {
    const days = { early: new Map<Table, Room>(), late: new Map<Table, Room>() };
    let busy = 0;
    let early: Map<string, Room> | undefined;
    let earlyRows = 0;
    for (let hour = 0; hour < MONTH * 24; hour += STEP) {
      clock = store.at(hour * HOUR);
      const day = Math.floor(hour / 24);
      // For three days nobody runs the job: what is missing is made by the first INSERT that misses it.
      const neglected = day >= 14 && day < 17;
      // For one day nobody is there at all.
      const away = day === 20;
      if (away) continue;
      if (!neglected) {
        expect(await keepPartitions(store.sql, clock)).toEqual([]);
        const { names, strays } = await tables();
        expect(ahead(clock).filter((name) => !names.has(name))).toEqual([]);
        expect(strays).toEqual([]);
      }
      await traffic(clock);
      busy += 1;
      if (day !== ROUND && day !== MONTH - 1) continue;
      const most = day === ROUND ? days.early : days.late;
      const now = await rooms();
      for (const table of PASSING) {
        const { partitions = 0, bytes = 0 } = now.get(table) ?? {};
        const { partitions: before = 0, bytes: size = 0 } = most.get(table) ?? {};
        most.set(table, { partitions: Math.max(before, partitions), bytes: Math.max(size, bytes) });
      }
      if (early === undefined) [early, earlyRows] = [now, busy * ROWS];
    }
    for (const table of PASSING) {
      const [first, last] = [days.early.get(table), days.late.get(table)];
      expect(last?.partitions, table).toBe(first?.partitions);
      // A page more or less for each partition.
      expect(last?.bytes, table).toBeLessThanOrEqual((first?.bytes ?? 0) + 8192 * (first?.partitions ?? 0));
    }
    const late = await rooms();
    for (const table of LASTING) {
      expect(await countOf(store, table), table).toBe(busy * ROWS);
      const room = (of: Map<string, Room> | undefined) => of?.get(table)?.bytes ?? 0;
      // A row costs no more than it did: nothing but rows has come.
      expect(room(late) / (busy * ROWS), table).toBeLessThanOrEqual(room(early) / earlyRows);
    }
  }, 600_000);
});
