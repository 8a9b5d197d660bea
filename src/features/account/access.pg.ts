/** What a person's applications may do, in PostgreSQL. */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { grantStands, rootsOfGrant } from '../../postgres/ledger.pg.ts';
import { queueLogouts } from '../../postgres/logout-outbox.pg.ts';
import { isUserClaim } from '../../protocol/claims.ts';
import type { AuthorizationDetail } from '../../protocol/details-type.ts';
import type { Access } from './index.ts';

export function postgresAccess(database: Sql): Access {
  return {
    async list(userId) {
      const { rows } = await sql<{ client_id: string; scope: string[]; claims: string[]; granted_at: Date }>`
        SELECT client_id, scope, claims, granted_at FROM consents
        WHERE user_id = ${userId} AND revoked_at IS NULL ORDER BY granted_at DESC LIMIT 200`.execute(database);
      return rows.map((row) => ({
        clientId: row.client_id,
        scope: row.scope,
        claims: row.claims.filter(isUserClaim),
        grantedAt: row.granted_at,
      }));
    },

    async details(userId, now) {
      const { rows } = await sql<{ client_id: string; detail: AuthorizationDetail; granted_at: Date }>`
        SELECT g.client_id, d.detail, max(g.created_at) AS granted_at
        FROM grants g ${rootsOfGrant}
        CROSS JOIN LATERAL jsonb_array_elements(g.authorization_details) AS d (detail)
        WHERE g.user_id = ${userId} AND g.authorization_details IS NOT NULL AND ${grantStands(now)}
        GROUP BY g.client_id, d.detail ORDER BY granted_at DESC, d.detail LIMIT 1000`.execute(database);
      return rows.map((row) => ({ clientId: row.client_id, detail: row.detail, grantedAt: row.granted_at }));
    },

    async remove(userId, clientId, now) {
      const { rows } = await sql`
        WITH removed AS (
          UPDATE consents SET epoch = epoch + 1, revoked_at = ${now}
          WHERE user_id = ${userId} AND client_id = ${clientId} AND revoked_at IS NULL RETURNING user_id, client_id
        ), over AS (
          -- Not by IS NULL: the index of what is not announced would be read whole, in each partition that is new.
          SELECT i.id AS sign_in_id, r.client_id FROM removed r
          JOIN sign_ins i ON i.user_id = r.user_id AND coalesce(i.announced_at, 'infinity') = 'infinity'
        ), queued AS (${queueLogouts('over', now)})
        SELECT client_id FROM removed`.execute(database);
      return rows.length === 1 ? 'removed' : 'unknown';
    },
  };
}
