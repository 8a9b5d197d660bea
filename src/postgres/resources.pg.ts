/** Resources (APIs) in PostgreSQL. Changes raise the catalogue's version in their own transaction. */
import { sql } from 'kysely';
import type { ResourceMetadata } from '../protocol/resource.ts';
import { raiseVersion } from './catalogue-version.ts';
import type { Sql } from './database.ts';

export async function listResources(database: Sql): Promise<ResourceMetadata[]> {
  const { rows } = await sql<{ metadata: ResourceMetadata }>`SELECT metadata FROM resources ORDER BY resource`.execute(
    database,
  );
  return rows.map(({ metadata }) => metadata);
}

export async function findResource(database: Sql, resource: string): Promise<ResourceMetadata | undefined> {
  const { rows } = await sql<{ metadata: ResourceMetadata }>`
    SELECT metadata FROM resources WHERE resource = ${resource}`.execute(database);
  return rows[0]?.metadata;
}

type NameTaken = 'scope_taken' | 'type_taken';

/** @returns what is taken when another resource already has one of the names of its scopes or types */
export function createResource(
  database: Sql,
  metadata: ResourceMetadata,
  now: Date,
): Promise<'created' | 'taken' | NameTaken> {
  return changing(database, async (transaction) => {
    const { rows } = await sql`
      INSERT INTO resources (resource, metadata, created_at, updated_at)
      VALUES (${metadata.resource}, ${JSON.stringify(metadata)}::jsonb, ${now}, ${now})
      ON CONFLICT (resource) DO NOTHING RETURNING resource`.execute(transaction);
    if (rows.length === 0) return 'taken';
    return (await replaceNames(transaction, metadata)) ?? 'created';
  });
}

export function updateResource(
  database: Sql,
  metadata: ResourceMetadata,
  now: Date,
): Promise<'updated' | 'unknown' | NameTaken> {
  return changing(database, async (transaction) => {
    const { rows } = await sql`
      UPDATE resources SET metadata = ${JSON.stringify(metadata)}::jsonb, updated_at = ${now}
      WHERE resource = ${metadata.resource} RETURNING resource`.execute(transaction);
    if (rows.length === 0) return 'unknown';
    return (await replaceNames(transaction, metadata)) ?? 'updated';
  });
}

/** @returns `unknown` also for one that an exchange policy leads from or to: those go first */
export function deleteResource(database: Sql, resource: string): Promise<'deleted' | 'unknown'> {
  return changing(database, async (transaction) => {
    const { rows } = await sql`
      DELETE FROM resources WHERE resource = ${resource}
        AND NOT EXISTS (SELECT FROM exchange_policies WHERE source = ${resource} OR target = ${resource})
      RETURNING resource`.execute(transaction);
    return rows.length === 0 ? 'unknown' : 'deleted';
  });
}

class Undo<T> extends Error {
  readonly outcome: T;
  constructor(outcome: T) {
    super('undone');
    this.outcome = outcome;
  }
}

/** Runs a change and raises the version; an outcome that is a refusal leaves nothing behind. */
async function changing<T extends string>(database: Sql, change: (transaction: Sql) => Promise<T>): Promise<T> {
  try {
    return await database.transaction().execute(async (transaction) => {
      const outcome = await change(transaction);
      if (outcome === 'scope_taken' || outcome === 'type_taken') throw new Undo(outcome);
      await raiseVersion(transaction);
      return outcome;
    });
  } catch (error) {
    if (error instanceof Undo) return error.outcome as T;
    throw error;
  }
}

/** Scopes and types of authorization details: a name belongs to one resource. */
async function replaceNames(transaction: Sql, metadata: ResourceMetadata): Promise<NameTaken | undefined> {
  const { resource, scopes, authorization_details_types: types = {} } = metadata;
  if (!(await replace(transaction, 'resource_scopes', 'scope', Object.keys(scopes), resource))) return 'scope_taken';
  if (!(await replace(transaction, 'authorization_details_types', 'type', Object.keys(types), resource)))
    return 'type_taken';
  return undefined;
}

async function replace(transaction: Sql, table: string, column: string, names: string[], resource: string) {
  const [into, key] = [sql.table(table), sql.ref(column)];
  await sql`DELETE FROM ${into} WHERE resource = ${resource}`.execute(transaction);
  // In one order, or two that want each other's names could wait for each other.
  const { rows } = await sql`
    INSERT INTO ${into} (${key}, resource)
    SELECT name, ${resource} FROM unnest(${names.sort()}::text[]) AS name
    ON CONFLICT (${key}) DO NOTHING RETURNING ${key}`.execute(transaction);
  return rows.length === names.length;
}
