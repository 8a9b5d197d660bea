/** What every change to the catalogue does in its own transaction: raise the version and hint at it. */
import { sql } from 'kysely';
import type { Sql } from './database.ts';

export const CHANNEL = 'gatehouse_catalogue';

export async function raiseVersion(transaction: Sql): Promise<void> {
  await sql`UPDATE catalogue SET version = version + 1`.execute(transaction);
  await sql`SELECT pg_notify(${CHANNEL}, '')`.execute(transaction);
}
