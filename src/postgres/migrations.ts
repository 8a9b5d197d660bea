/**
 * Migrations: plain SQL, forward only, in the order of their names. Kysely's Migrator keeps the record and the lock, so
 * two nodes migrating at once are one after the other.
 */
import { readdir, readFile } from 'node:fs/promises';
import { type Migration, Migrator, sql } from 'kysely';
import type { Sql } from './database.ts';
import { keepPartitions } from './partitions.ts';

const FOLDER = new URL('../../migrations/', import.meta.url);

let names: Promise<string[]> | undefined;

/** The migrations of this version; they do not change while it runs. */
function files(): Promise<string[]> {
  names ??= readdir(FOLDER).then((all) => all.filter((name) => name.endsWith('.sql')).sort());
  return names;
}

/**
 * Brings the schema up to this version.
 * @returns the names of the migrations that were applied
 * @throws Error naming the migration that failed; nothing of this run stays
 */
export async function migrate(database: Sql, now: Date): Promise<string[]> {
  // A schema that is ahead of us has all we need; Kysely would take the migrations it does not know for a corruption.
  if ((await missingMigrations(database)).length === 0) {
    await keepPartitions(database, now);
    return [];
  }
  const migrator = new Migrator({
    db: database,
    provider: {
      async getMigrations() {
        const migrations: Record<string, Migration> = {};
        for (const name of await files()) {
          const text = await readFile(new URL(name, FOLDER), 'utf8');
          migrations[name] = { up: async (db) => void (await sql.raw(text).execute(db)) };
        }
        return migrations;
      },
    },
  });
  const { error, results = [] } = await migrator.migrateToLatest();
  if (error) {
    const failed = results.find(({ status }) => status === 'Error')?.migrationName ?? 'the schema';
    throw new Error(`Migrating ${failed} failed.`, { cause: error });
  }
  await keepPartitions(database, now);
  return results.map(({ migrationName }) => migrationName);
}

/**
 * The migrations this version needs and the database lacks; a database that is ahead of us is fine (migrations expand
 * first and contract a release later).
 */
export async function missingMigrations(database: Sql): Promise<string[]> {
  const { rows: tables } = await sql<{
    known: boolean;
  }>`SELECT to_regclass('kysely_migration') IS NOT NULL AS known`.execute(database);
  if (!tables[0]?.known) return files();
  const { rows } = await sql<{ name: string }>`SELECT name FROM kysely_migration`.execute(database);
  const applied = new Set(rows.map(({ name }) => name));
  return (await files()).filter((name) => !applied.has(name));
}
