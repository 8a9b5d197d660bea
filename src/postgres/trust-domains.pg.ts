/** Trust domains in PostgreSQL. Changes raise the catalogue's version in their own transaction. */
import { sql } from 'kysely';
import type { TrustDomainMetadata } from '../protocol/trust-domain.ts';
import { raiseVersion } from './catalogue-version.ts';
import type { Sql } from './database.ts';

/** In the order of their issuers. */
export async function listTrustDomains(database: Sql): Promise<TrustDomainMetadata[]> {
  const { rows } = await sql<{ metadata: TrustDomainMetadata }>`
    SELECT metadata FROM trust_domains ORDER BY issuer`.execute(database);
  return rows.map(({ metadata }) => metadata);
}

export async function findTrustDomain(database: Sql, issuer: string): Promise<TrustDomainMetadata | undefined> {
  const { rows } = await sql<{ metadata: TrustDomainMetadata }>`
    SELECT metadata FROM trust_domains WHERE issuer = ${issuer}`.execute(database);
  return rows[0]?.metadata;
}

export function createTrustDomain(
  database: Sql,
  metadata: TrustDomainMetadata,
  now: Date,
): Promise<'created' | 'taken'> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql`
      INSERT INTO trust_domains (issuer, metadata, created_at, updated_at)
      VALUES (${metadata.issuer}, ${JSON.stringify(metadata)}::jsonb, ${now}, ${now})
      ON CONFLICT DO NOTHING RETURNING issuer`.execute(transaction);
    if (rows.length === 0) return 'taken';
    await raiseVersion(transaction);
    return 'created';
  });
}

export function updateTrustDomain(
  database: Sql,
  metadata: TrustDomainMetadata,
  now: Date,
): Promise<'updated' | 'unknown'> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql`
      UPDATE trust_domains SET metadata = ${JSON.stringify(metadata)}::jsonb, updated_at = ${now}
      WHERE issuer = ${metadata.issuer} RETURNING issuer`.execute(transaction);
    if (rows.length === 0) return 'unknown';
    await raiseVersion(transaction);
    return 'updated';
  });
}

/** @returns `unknown` also for one that an exchange policy leads from or to: those go first */
export function deleteTrustDomain(database: Sql, issuer: string): Promise<'deleted' | 'unknown'> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql`
      DELETE FROM trust_domains WHERE issuer = ${issuer}
        AND NOT EXISTS (SELECT FROM exchange_policies WHERE source = ${issuer} OR target = ${issuer})
      RETURNING issuer`.execute(transaction);
    if (rows.length === 0) return 'unknown';
    await raiseVersion(transaction);
    return 'deleted';
  });
}
