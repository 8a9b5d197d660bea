/** Refresh tokens in PostgreSQL: each verb one guarded statement. */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { asked, done, gathering, inPlace, type Presented } from '../../postgres/gathering.ts';
import {
  type GrantRow,
  grantColumns,
  grantStands,
  revokeGrant,
  rootsOfGrant,
  storing,
  toAuthorization,
} from '../../postgres/ledger.pg.ts';
import {
  andAllMarked,
  type Outcome,
  outcome,
  type Spent,
  spent,
  usedMark,
  withMarks,
} from '../../postgres/replay-marks.pg.ts';
import type { Confirmation } from '../../protocol/confirmation.ts';
import type { Minted } from '../../protocol/feature.ts';
import type { ReplayMark } from '../../protocol/replay.ts';
import type { Credential } from '../../protocol/secrets.ts';
import { type HeldRefreshToken, type RefreshTokens, TOUCH_EVERY } from './index.ts';

interface Row extends GrantRow {
  place: number;
  client_id: string;
  scope: string[];
  cnf: Confirmation | null;
  expires_at: Date;
  last_used_at: Date;
  rotated_at: Date | null;
  successor: Buffer | null;
  stands: boolean | null;
}

export function postgresRefreshTokens(database: Sql): RefreshTokens {
  const find = gathering((presented: readonly Presented[]) => findAll(database, presented));
  const rotateTogether = gathering(async (rotating: readonly Rotating[]) => {
    const { places } = await rotateAll(database, rotating);
    return done(rotating, places);
  });
  return {
    find: (token: Credential, now: Date) => find({ credential: token, now }),

    async rotate(token: Credential, successor: Buffer, minted: Minted, now: Date) {
      const { marks } = minted;
      const call = { token, successor, minted, now };
      if (marks.length === 0 && (await rotateTogether(call))) return 'rotated';
      const { places, marked } = await rotateAll(database, [call], marks);
      return places.length > 0 ? 'rotated' : (usedMark(marks, { marked }) ?? 'lost');
    },

    async use(token: Credential, minted: Minted, expiresAt: Date, now: Date) {
      const { marks } = minted;
      const { rows } = await sql<Spent>`
        ${withMarks(marks)} used AS (
          SELECT 1 AS place, grant_id, client_id FROM refresh_tokens
          WHERE id = ${token.id} AND secret_hash = ${token.hash} ${andAllMarked(marks)}
        ), touched AS (
          UPDATE refresh_tokens SET last_used_at = ${now}, expires_at = ${expiresAt}
          WHERE id = ${token.id} AND secret_hash = ${token.hash} AND rotated_at IS NULL
            AND coalesce(last_used_at, issued_at) < ${new Date(now.getTime() - TOUCH_EVERY)}
            AND EXISTS (SELECT FROM used)
        )${storing([minted], 'used')}
        ${spent('used', marks)}`.execute(database);
      return rows[0]?.spent ? 'used' : (usedMark(marks, rows[0]) ?? 'lost');
    },

    async revokeReused(grantId: string, now: Date) {
      await revokeGrant(database, grantId, 'refresh token reused', now);
    },
  };
}

async function findAll(database: Sql, presented: readonly Presented[]): Promise<(HeldRefreshToken | undefined)[]> {
  const { rows } = await sql<Row>`
    SELECT q.place::integer, t.client_id, t.scope, t.cnf, t.expires_at, coalesce(t.last_used_at, t.issued_at) AS last_used_at,
           t.rotated_at, t.successor, ${grantColumns}, ${grantStands(sql`q.now`)} AS stands
    FROM ${asked(presented)}
    JOIN refresh_tokens t ON t.id = q.id AND t.secret_hash = q.secret_hash
    JOIN grants g ON g.id = t.grant_id
    ${rootsOfGrant}`.execute(database);
  return inPlace(rows, presented.length).map((row) => row && toHeld(row));
}

function toHeld(row: Row): HeldRefreshToken {
  return {
    authorization: toAuthorization(row, { scope: row.scope }),
    clientId: row.client_id,
    cnf: row.cnf ?? undefined,
    expiresAt: row.expires_at,
    lastUsedAt: row.last_used_at,
    rotatedAt: row.rotated_at ?? undefined,
    successor: row.successor ?? undefined,
    stands: row.stands === true,
  };
}

interface Rotating {
  readonly token: Credential;
  readonly successor: Buffer;
  readonly minted: Minted;
  readonly now: Date;
}

/**
 * Replaces tokens, of one caller or of several that come together, as codes are redeemed (codes.pg.ts).
 * @param marks of the one caller whose statement it is; without them those are left out that somebody holds
 */
async function rotateAll(
  database: Sql,
  rotating: readonly Rotating[],
  marks?: readonly ReplayMark[],
): Promise<Outcome> {
  const { rows } = await sql<Outcome>`
    ${withMarks(marks ?? [])} valid AS (
      SELECT t.id, q.now, q.successor, q.place
      FROM unnest(
        ${rotating.map(({ token }) => token.id)}::uuid[], ${rotating.map(({ token }) => token.hash)}::bytea[],
        ${rotating.map(({ successor }) => successor)}::bytea[], ${rotating.map(({ now }) => now)}::timestamptz[]
      ) WITH ORDINALITY AS q (id, secret_hash, successor, now, place)
      JOIN refresh_tokens t ON t.id = q.id AND t.secret_hash = q.secret_hash
      WHERE t.rotated_at IS NULL AND t.expires_at > q.now ${andAllMarked(marks ?? [])}
      FOR UPDATE OF t ${marks ? sql`` : sql`SKIP LOCKED`}
    ), rotated AS (
      -- Of two callers with one token one has it: a row is updated once.
      UPDATE refresh_tokens t SET rotated_at = valid.now, successor = valid.successor FROM valid WHERE t.id = valid.id
      RETURNING t.grant_id, t.client_id, valid.place
    )${storing(
      rotating.map(({ minted }) => minted),
      'rotated',
    )}
    ${outcome('rotated', marks ?? [])}`.execute(database);
  return rows[0] ?? { places: [], marked: null };
}
