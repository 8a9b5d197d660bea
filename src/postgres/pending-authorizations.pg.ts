/** Pending authorizations in PostgreSQL: each verb one guarded statement. */
import { sql } from 'kysely';
import type { NewPendingAuthorization, PendingAuthorization, PendingAuthorizations } from '../protocol/interaction.ts';
import { Parameters } from '../protocol/message.ts';
import type { Sql } from './database.ts';

interface Row {
  id: string;
  parameters: [string, string][];
  registration: Buffer | null;
  pushed_request_id: string | null;
  browser_hash: Buffer | null;
  signed_in_at: Date | null;
  sign_in_id: string | null;
  consented_by: string | null;
  consented_scope: string[] | null;
  consented_claims: string[] | null;
  denied_at: Date | null;
  closed_at: Date | null;
}

export function postgresPendingAuthorizations(database: Sql): PendingAuthorizations {
  return {
    async open(pending: NewPendingAuthorization): Promise<void> {
      await sql`
        INSERT INTO pending_authorizations (id, browser_hash, client_id, pushed_request_id, parameters, registration,
                                            expires_at)
        VALUES (${pending.id}, ${pending.browserHash ?? null}, ${pending.clientId}, ${pending.pushedRequestId ?? null},
                ${JSON.stringify(pending.parameters.pairs())}::jsonb, ${pending.registration}, ${pending.expiresAt})`.execute(
        database,
      );
    },

    async find(id: string, browserHash: Buffer, now: Date): Promise<PendingAuthorization | undefined> {
      const { rows } = await sql<Row>`
        SELECT id, parameters, registration, pushed_request_id, browser_hash, signed_in_at, sign_in_id, consented_by,
               consented_scope, consented_claims, denied_at, closed_at
        FROM pending_authorizations
        WHERE id = ${id} AND expires_at > ${now} AND (browser_hash = ${browserHash} OR browser_hash IS NULL)`.execute(
        database,
      );
      return rows[0] && toPending(rows[0]);
    },

    async bind(id: string, browserHash: Buffer, now: Date): Promise<boolean> {
      const { rows } = await sql`
        UPDATE pending_authorizations SET browser_hash = ${browserHash}
        WHERE id = ${id} AND browser_hash IS NULL AND closed_at IS NULL AND expires_at > ${now} RETURNING id`.execute(
        database,
      );
      return rows.length === 1;
    },

    async choose(id: string, signInId: string, now: Date): Promise<void> {
      // Choosing is not signing in: only who signed in for this request stays fresh.
      await sql`
        UPDATE pending_authorizations
        SET sign_in_id = ${signInId}, signed_in_at = CASE WHEN sign_in_id = ${signInId} THEN signed_in_at END
        WHERE id = ${id} AND closed_at IS NULL AND expires_at > ${now}`.execute(database);
    },

    async deny(id: string, now: Date): Promise<void> {
      await sql`
        UPDATE pending_authorizations SET denied_at = ${now} WHERE id = ${id} AND closed_at IS NULL`.execute(database);
    },

    async close(id: string, now: Date): Promise<boolean> {
      const { rows } = await sql`
        UPDATE pending_authorizations SET closed_at = ${now} WHERE id = ${id} AND closed_at IS NULL RETURNING id`.execute(
        database,
      );
      return rows.length === 1;
    },
  };
}

function toPending(row: Row): PendingAuthorization {
  return {
    id: row.id,
    parameters: new Parameters(row.parameters),
    registration: row.registration ?? undefined,
    bound: row.browser_hash !== null,
    signIn: row.sign_in_id === null ? undefined : { id: row.sign_in_id, fresh: row.signed_in_at !== null },
    consented:
      row.consented_by && row.consented_scope
        ? { userId: row.consented_by, scope: row.consented_scope, claims: row.consented_claims ?? [] }
        : undefined,
    pushedRequestId: row.pushed_request_id ?? undefined,
    denied: row.denied_at !== null,
    closed: row.closed_at !== null,
  };
}
