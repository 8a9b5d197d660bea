import { readdirSync, readFileSync } from 'node:fs';
import { sql } from 'kysely';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { migrate, missingMigrations } from '../../src/postgres/migrations.ts';
import { PARTITIONED } from '../../src/postgres/partitions.ts';
import { openStore, type Store } from './store.ts';

const FOLDER = new URL('../../migrations/', import.meta.url);
const ALL = readdirSync(FOLDER).sort();

describe('migrations', () => {
  let store: Store;
  beforeEach(async () => {
    store = await openStore({ migrated: false, poolMax: 4 });
  });
  afterEach(() => store.close());

  it('bring an empty database up to this version, once', async () => {
    expect(await missingMigrations(store.sql)).toEqual(ALL);
    expect(await migrate(store.sql, store.now)).toEqual(ALL);
    expect(await missingMigrations(store.sql)).toEqual([]);
    expect(await migrate(store.sql, store.now)).toEqual([]);
  });

  it('leave partitions for the present moment', async () => {
    await migrate(store.sql, store.now);
    const rows = await store.rows(sql<{ parent: string }>`
      SELECT DISTINCT inhparent::regclass::text AS parent FROM pg_inherits WHERE inhparent IN (SELECT oid FROM pg_class WHERE relkind = 'p')`);
    expect(rows.map(({ parent }) => parent).sort()).toEqual(Object.keys(PARTITIONED).sort());
  });

  it('every table of short-lived things is partitioned, and has no foreign key to or from it', async () => {
    await migrate(store.sql, store.now);
    const partitioned = await store.rows(sql<{ name: string }>`
      SELECT relname AS name FROM pg_class WHERE relkind = 'p' AND relnamespace = 'public'::regnamespace`);
    expect(partitioned.map(({ name }) => name).sort()).toEqual(Object.keys(PARTITIONED).sort());
    const keys = await store.rows(sql`
      SELECT conname FROM pg_constraint WHERE contype = 'f'
        AND (conrelid IN (SELECT oid FROM pg_class WHERE relkind = 'p') OR confrelid IN (SELECT oid FROM pg_class WHERE relkind = 'p'))`);
    expect(keys).toEqual([]);
  });

  it('by several at once are done once, and all find them done', async () => {
    const nodes = [store.sql, store.another({ poolMax: 4 }).sql, store.another({ poolMax: 4 }).sql];
    const applied = await Promise.all(nodes.map((node) => migrate(node, store.now)));
    expect(applied.flat().sort()).toEqual(ALL);
    expect(await missingMigrations(store.sql)).toEqual([]);
  });

  it('go on where an older version stopped, naming what is missing', async () => {
    const last = ALL.at(-1) ?? '';
    // Several statements in one text cannot be prepared.
    const { sql: older } = store.another({ poolMax: 1, prepared: false });
    await sql`CREATE TABLE kysely_migration (name varchar(255) PRIMARY KEY, timestamp varchar(255) NOT NULL)`.execute(
      older,
    );
    for (const name of ALL.slice(0, -1)) {
      await sql.raw(readFileSync(new URL(name, FOLDER), 'utf8')).execute(older);
      await sql`INSERT INTO kysely_migration VALUES (${name}, '2020-01-01')`.execute(older);
    }
    expect(await missingMigrations(store.sql)).toEqual([last]);
    expect(await migrate(store.sql, store.now)).toEqual([last]);
  });

  it('of a newer version are none of ours to miss or to mind', async () => {
    await migrate(store.sql, store.now);
    await store.rows(sql`INSERT INTO kysely_migration (name, timestamp) VALUES ('9999-future.sql', '2099-01-01')`);
    expect(await missingMigrations(store.sql)).toEqual([]);
    expect(await migrate(store.sql, store.now)).toEqual([]);
  });

  it('that fail are named and leave nothing of their run', async () => {
    await store.rows(sql`CREATE TABLE audit (id int)`);
    await expect(migrate(store.sql, store.now)).rejects.toThrow('Migrating 0008-audit.sql failed');
    expect(await missingMigrations(store.sql)).toEqual(ALL);
    const [row] = await store.rows(sql`SELECT to_regclass('clients') AS clients`);
    expect(row).toEqual({ clients: null });
    await store.rows(sql`DROP TABLE audit`);
    expect(await migrate(store.sql, store.now)).toEqual(ALL);
  });
});
