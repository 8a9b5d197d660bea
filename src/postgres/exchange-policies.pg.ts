/** Exchange policies in PostgreSQL. Changes raise the catalogue's version in their own transaction. */
import { sql } from 'kysely';
import { ExchangePolicies, type ExchangePolicyMetadata, toExchangePolicy } from '../protocol/exchange-policy.ts';
import { raiseVersion } from './catalogue-version.ts';
import type { Sql } from './database.ts';

/** In the order of their names. */
export async function listExchangePolicies(database: Sql): Promise<ExchangePolicyMetadata[]> {
  const { rows } = await sql<{ metadata: ExchangePolicyMetadata }>`
    SELECT metadata FROM exchange_policies ORDER BY name`.execute(database);
  return rows.map(({ metadata }) => metadata);
}

/** All of them, for who decides by them. */
export async function readExchangePolicies(database: Sql): Promise<ExchangePolicies> {
  const { rows } = await sql<{ metadata: ExchangePolicyMetadata; created_at: Date }>`
    SELECT metadata, created_at FROM exchange_policies ORDER BY name`.execute(database);
  return new ExchangePolicies(rows.map(({ metadata, created_at }) => toExchangePolicy(metadata, created_at)));
}

export async function findExchangePolicy(database: Sql, name: string): Promise<ExchangePolicyMetadata | undefined> {
  const { rows } = await sql<{ metadata: ExchangePolicyMetadata }>`
    SELECT metadata FROM exchange_policies WHERE name = ${name}`.execute(database);
  return rows[0]?.metadata;
}

/** Names of the policies that lead from or to what is called so, in their order. */
export async function policiesNaming(database: Sql, sourceOrTarget: string): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    SELECT name FROM exchange_policies WHERE source = ${sourceOrTarget} OR target = ${sourceOrTarget} ORDER BY name`.execute(
    database,
  );
  return rows.map(({ name }) => name);
}

/**
 * @returns `taken` when a policy has this name, `pair_taken` when another one answers for this client, source and target already,
 *   `no_client` when there is no such client (any more)
 */
export function createExchangePolicy(
  database: Sql,
  metadata: ExchangePolicyMetadata,
  now: Date,
): Promise<'created' | 'taken' | 'pair_taken' | 'no_client'> {
  return database.transaction().execute(async (transaction) => {
    const { name, client, source, target } = metadata;
    if (!(await holdClient(transaction, client))) return 'no_client';
    const { rows } = await sql`
      INSERT INTO exchange_policies (name, client_id, source, target, metadata, created_at, updated_at)
      VALUES (${name}, ${client}, ${source}, ${target}, ${JSON.stringify(metadata)}::jsonb, ${now}, ${now})
      ON CONFLICT DO NOTHING RETURNING name`.execute(transaction);
    if (rows.length === 0) return (await findExchangePolicy(transaction, name)) ? 'taken' : 'pair_taken';
    await raiseVersion(transaction);
    return 'created';
  });
}

/** Replaces what a policy allows; whom it is for, from where and to where stay what they are (exchange-policies.ts). */
export function updateExchangePolicy(
  database: Sql,
  metadata: ExchangePolicyMetadata,
  now: Date,
): Promise<'updated' | 'unknown'> {
  return database.transaction().execute(async (transaction) => {
    const { name, client, source, target } = metadata;
    const { rows } = await sql`
      UPDATE exchange_policies SET metadata = ${JSON.stringify(metadata)}::jsonb, updated_at = ${now}
      WHERE name = ${name} AND client_id = ${client} AND source = ${source} AND target = ${target}
      RETURNING name`.execute(transaction);
    if (rows.length === 0) return 'unknown';
    await raiseVersion(transaction);
    return 'updated';
  });
}

/** What it allowed is over at once: its name is in every token that was made by it. */
export function deleteExchangePolicy(database: Sql, name: string): Promise<'deleted' | 'unknown'> {
  return database.transaction().execute(async (transaction) => {
    const { rows } = await sql`DELETE FROM exchange_policies WHERE name = ${name} RETURNING name`.execute(transaction);
    if (rows.length === 0) return 'unknown';
    await raiseVersion(transaction);
    return 'deleted';
  });
}

/** Keeps a client from being deleted until the transaction ends: its policies go with it, and none may come after. */
async function holdClient(transaction: Sql, id: string): Promise<boolean> {
  const { rows } = await sql`SELECT FROM clients WHERE id = ${id} AND deleted_at IS NULL FOR SHARE`.execute(
    transaction,
  );
  return rows.length > 0;
}
