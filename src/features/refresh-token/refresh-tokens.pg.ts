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
import { andAllMarked, type Spent, spent, usedMark, withMarks } from '../../postgres/replay-marks.pg.ts';
import type { Confirmation } from '../../protocol/confirmation.ts';
import type { Minted } from '../../protocol/feature.ts';
import type { Credential } from '../../protocol/secrets.ts';
import type { RefreshTokens } from './index.ts';

interface Row extends GrantRow {
  client_id: string;
  scope: string[];
  cnf: Confirmation | null;
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
        SELECT t.client_id, t.scope, t.cnf, t.expires_at, t.rotated_at, t.successor, ${grantColumns}, ${grantStands(now)} AS stands
        FROM refresh_tokens t
        JOIN grants g ON g.id = t.grant_id
        ${rootsOfGrant}
        WHERE t.id = ${token.id} AND t.secret_hash = ${token.hash}`.execute(database);
      const [row] = rows;
      return (
        row && {
          authorization: toAuthorization(row, { scope: row.scope }),
          clientId: row.client_id,
          cnf: row.cnf ?? undefined,
          expiresAt: row.expires_at,
          rotatedAt: row.rotated_at ?? undefined,
          successor: row.successor ?? undefined,
          stands: row.stands === true,
        }
      );
    },

    async rotate(token: Credential, successor: Buffer, minted: Minted, now: Date) {
      const { marks } = minted;
      const { rows } = await sql<Spent>`
        ${withMarks(marks)} rotated AS (
          UPDATE refresh_tokens SET rotated_at = ${now}, successor = ${successor}
          WHERE id = ${token.id} AND secret_hash = ${token.hash} AND rotated_at IS NULL AND expires_at > ${now}
            ${andAllMarked(marks)}
          RETURNING grant_id, client_id
        )${storing(minted, 'rotated')}
        ${spent('rotated', marks)}`.execute(database);
      return rows[0]?.spent ? 'rotated' : (usedMark(marks, rows[0]) ?? 'lost');
    },

    async use(token: Credential, minted: Minted, expiresAt: Date, now: Date) {
      const { marks } = minted;
      const { rows } = await sql<Spent>`
        ${withMarks(marks)} used AS (
          SELECT grant_id, client_id FROM refresh_tokens
          WHERE id = ${token.id} AND secret_hash = ${token.hash} ${andAllMarked(marks)}
        ), touched AS (
          UPDATE refresh_tokens SET last_used_at = ${now}, expires_at = ${expiresAt}
          WHERE id = ${token.id} AND secret_hash = ${token.hash} AND rotated_at IS NULL
            AND coalesce(last_used_at, issued_at) < ${new Date(now.getTime() - TOUCH_EVERY)}
            AND EXISTS (SELECT FROM used)
        )${storing(minted, 'used')}
        ${spent('used', marks)}`.execute(database);
      return rows[0]?.spent ? 'used' : (usedMark(marks, rows[0]) ?? 'lost');
    },

    async revokeReused(grantId: string, now: Date) {
      await revokeGrant(database, grantId, 'refresh token reused', now);
    },
  };
}
