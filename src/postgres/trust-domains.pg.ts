/** Trust domains in PostgreSQL. Changes raise the catalogue's version in their own transaction. */
import { sql } from 'kysely';
import type { TrustDomainMetadata } from '../protocol/trust-domain.ts';
import type { Sql } from './database.ts';

export async function listTrustDomains(database: Sql): Promise<TrustDomainMetadata[]> {
  const { rows } = await sql<{ metadata: TrustDomainMetadata }>`
    SELECT metadata FROM trust_domains ORDER BY issuer`.execute(database);
  return rows.map(({ metadata }) => metadata);
}
