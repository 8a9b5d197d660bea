/** Exchange policies in PostgreSQL. Changes raise the catalogue's version in their own transaction. */
import { sql } from 'kysely';
import type { ExchangePolicyMetadata } from '../protocol/exchange-policy.ts';
import type { Sql } from './database.ts';

export async function listExchangePolicies(database: Sql): Promise<ExchangePolicyMetadata[]> {
  const { rows } = await sql<{ metadata: ExchangePolicyMetadata }>`
    SELECT metadata FROM exchange_policies ORDER BY name`.execute(database);
  return rows.map(({ metadata }) => metadata);
}
