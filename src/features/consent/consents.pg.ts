/** Consents in PostgreSQL. */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import type { Consents } from './index.ts';

export function postgresConsents(database: Sql): Consents {
  return {
    async allow({ userId, clientId, scope, pendingId }, now) {
      // A yes adds to what was allowed before, unless that was taken back.
      await sql`
        WITH remembered AS (
          INSERT INTO consents AS k (user_id, client_id, scope, granted_at)
          VALUES (${userId}, ${clientId}, ${[...scope]}, ${now})
          ON CONFLICT (user_id, client_id) DO UPDATE SET
            scope = CASE WHEN k.revoked_at IS NULL
                         THEN ARRAY(SELECT DISTINCT token FROM unnest(k.scope || excluded.scope) AS token ORDER BY token)
                         ELSE excluded.scope END,
            granted_at = excluded.granted_at,
            revoked_at = NULL
        )
        UPDATE pending_authorizations
        SET consented_at = ${now}, consented_by = ${userId}, consented_scope = ${[...scope]}
        WHERE id = ${pendingId} AND closed_at IS NULL`.execute(database);
    },
  };
}
