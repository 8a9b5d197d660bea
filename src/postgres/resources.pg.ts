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

/** @returns `scope_taken` when another resource already has one of the scope names */
export function createResource(
  database: Sql,
  metadata: ResourceMetadata,
  now: Date,
): Promise<'created' | 'taken' | 'scope_taken'> {
  return changing(database, async (transaction) => {
    const { rows } = await sql`
      INSERT INTO resources (resource, metadata, created_at, updated_at)
      VALUES (${metadata.resource}, ${JSON.stringify(metadata)}::jsonb, ${now}, ${now})
      ON CONFLICT (resource) DO NOTHING RETURNING resource`.execute(transaction);
    if (rows.length === 0) return 'taken';
    return (await replaceScopes(transaction, metadata)) ? 'created' : 'scope_taken';
  });
}

export function updateResource(
  database: Sql,
  metadata: ResourceMetadata,
  now: Date,
): Promise<'updated' | 'unknown' | 'scope_taken'> {
  return changing(database, async (transaction) => {
    const { rows } = await sql`
      UPDATE resources SET metadata = ${JSON.stringify(metadata)}::jsonb, updated_at = ${now}
      WHERE resource = ${metadata.resource} RETURNING resource`.execute(transaction);
    if (rows.length === 0) return 'unknown';
    return (await replaceScopes(transaction, metadata)) ? 'updated' : 'scope_taken';
  });
}

export function deleteResource(database: Sql, resource: string): Promise<'deleted' | 'unknown'> {
  return changing(database, async (transaction) => {
    const { rows } = await sql`DELETE FROM resources WHERE resource = ${resource} RETURNING resource`.execute(
      transaction,
    );
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
      if (outcome === 'scope_taken') throw new Undo(outcome);
      await raiseVersion(transaction);
      return outcome;
    });
  } catch (error) {
    if (error instanceof Undo) return error.outcome as T;
    throw error;
  }
}

async function replaceScopes(transaction: Sql, { resource, scopes }: ResourceMetadata): Promise<boolean> {
  await sql`DELETE FROM resource_scopes WHERE resource = ${resource}`.execute(transaction);
  // In one order, or two that want each other's names could wait for each other.
  const names = Object.keys(scopes).sort();
  const { rows } = await sql`
    INSERT INTO resource_scopes (scope, resource)
    SELECT scope, ${resource} FROM unnest(${names}::text[]) AS scope
    ON CONFLICT (scope) DO NOTHING RETURNING scope`.execute(transaction);
  return rows.length === names.length;
}
