/** Refresh tokens in PostgreSQL: each verb one guarded statement. */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import {
  type GrantRow,
  grantColumns,
  grantStands,
  revokeGrant,
  rootsOfGrant,
  storing,
  toAuthorization,
} from '../../postgres/ledger.pg.ts';
import type { Minted } from '../../protocol/feature.ts';
import type { Credential } from '../../protocol/secrets.ts';
import type { RefreshTokens } from './index.ts';

interface Row extends GrantRow {
  client_id: string;
  scope: string[];
  expires_at: Date;
  rotated_at: Date | null;
  successor: Buffer | null;
  stands: boolean | null;
}

/** Last use is written at most this often. */
const TOUCH_EVERY = 3600 * 1000;

export function postgresRefreshTokens(database: Sql): RefreshTokens {
  return {
    async find(token: Credential, now: Date) {
      const { rows } = await sql<Row>`
        SELECT t.client_id, t.scope, t.expires_at, t.rotated_at, t.successor, ${grantColumns}, ${grantStands(now)} AS stands
        FROM refresh_tokens t
        JOIN grants g ON g.id = t.grant_id
        ${rootsOfGrant}
        WHERE t.id = ${token.id} AND t.secret_hash = ${token.hash}`.execute(database);
      const [row] = rows;
      return (
        row && {
          authorization: toAuthorization(row, { scope: row.scope }),
          clientId: row.client_id,
          expiresAt: row.expires_at,
          rotatedAt: row.rotated_at ?? undefined,
          successor: row.successor ?? undefined,
          stands: row.stands === true,
        }
      );
    },

    async rotate(token: Credential, successor: Buffer, minted: Minted, now: Date) {
      const { rows } = await sql`
        WITH rotated AS (
          UPDATE refresh_tokens SET rotated_at = ${now}, successor = ${successor}
          WHERE id = ${token.id} AND secret_hash = ${token.hash} AND rotated_at IS NULL AND expires_at > ${now}
          RETURNING grant_id, client_id
        )${storing(minted, 'rotated')}
        SELECT grant_id FROM rotated`.execute(database);
      return rows.length === 1 ? 'rotated' : 'lost';
    },

    async use(token: Credential, minted: Minted, expiresAt: Date, now: Date) {
      const { rows } = await sql`
        WITH used AS (
          SELECT grant_id, client_id FROM refresh_tokens WHERE id = ${token.id} AND secret_hash = ${token.hash}
        ), touched AS (
          UPDATE refresh_tokens SET last_used_at = ${now}, expires_at = ${expiresAt}
          WHERE id = ${token.id} AND secret_hash = ${token.hash} AND rotated_at IS NULL
            AND coalesce(last_used_at, issued_at) < ${new Date(now.getTime() - TOUCH_EVERY)}
        )${storing(minted, 'used')}
        SELECT grant_id FROM used`.execute(database);
      return rows.length === 1 ? 'used' : 'lost';
    },

    async revokeReused(grantId: string, now: Date) {
      await revokeGrant(database, grantId, 'refresh token reused', now);
    },
  };
}
