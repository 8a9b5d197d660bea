/** Consents in PostgreSQL. */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import type { Consents } from './index.ts';

export function postgresConsents(database: Sql): Consents {
  return {
    async allow({ userId, clientId, scope, pendingId }, now) {
      // The first answer counts: a yes after a no, sent from the same form, is remembered nowhere.
      // A yes adds to what was allowed before, unless that was taken back.
      await sql`
        WITH answered AS (
          UPDATE pending_authorizations
          SET consented_at = ${now}, consented_by = ${userId}, consented_scope = ${[...scope]}
          WHERE id = ${pendingId} AND closed_at IS NULL AND denied_at IS NULL
          RETURNING id
        )
        INSERT INTO consents AS k (user_id, client_id, scope, granted_at)
        SELECT ${userId}::uuid, ${clientId}::text, ${[...scope]}::text[], ${now}::timestamptz FROM answered
        ON CONFLICT (user_id, client_id) DO UPDATE SET
          scope = CASE WHEN k.revoked_at IS NULL
                       THEN ARRAY(SELECT DISTINCT token FROM unnest(k.scope || excluded.scope) AS token ORDER BY token)
                       ELSE excluded.scope END,
          granted_at = excluded.granted_at,
          revoked_at = NULL`.execute(database);
    },
  };
}
