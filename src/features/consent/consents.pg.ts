/** Consents in PostgreSQL. */
import { type RawBuilder, sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import type { Consents } from './index.ts';

/** What was allowed before with what is allowed now; after it was taken back, what is allowed now. */
function union(column: 'scope' | 'claims'): RawBuilder<unknown> {
  const [before, added] = [sql.ref(`k.${column}`), sql.ref(`excluded.${column}`)];
  return sql`CASE WHEN k.revoked_at IS NULL
                  THEN ARRAY(SELECT DISTINCT item FROM unnest(${before} || ${added}) AS item ORDER BY item)
                  ELSE ${added} END`;
}

export function postgresConsents(database: Sql): Consents {
  return {
    async allow({ userId, clientId, scope, claims, pendingId }, now) {
      // The first answer counts: a yes after a no, sent from the same form, is remembered nowhere.
      await sql`
        WITH answered AS (
          UPDATE pending_authorizations
          SET consented_at = ${now}, consented_by = ${userId}, consented_scope = ${[...scope]}, consented_claims = ${[...claims]}
          WHERE id = ${pendingId} AND closed_at IS NULL AND denied_at IS NULL
          RETURNING id
        )
        INSERT INTO consents AS k (user_id, client_id, scope, claims, granted_at)
        SELECT ${userId}::uuid, ${clientId}::text, ${[...scope]}::text[], ${[...claims]}::text[], ${now}::timestamptz
        FROM answered
        ON CONFLICT (user_id, client_id) DO UPDATE SET
          scope = ${union('scope')},
          claims = ${union('claims')},
          granted_at = excluded.granted_at,
          revoked_at = NULL`.execute(database);
    },
  };
}
