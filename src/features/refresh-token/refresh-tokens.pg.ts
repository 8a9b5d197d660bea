/** Refresh tokens in PostgreSQL: each verb one guarded statement, and one more where a token is held by somebody (spending.pg.ts). */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { asked, gathering, inPlace, type Presented } from '../../postgres/gathering.ts';
import {
  type GrantRow,
  grantColumns,
  grantStands,
  revokeGrant,
  rootsOfGrant,
  storing,
  toAuthorization,
} from '../../postgres/ledger.pg.ts';
import { andNotRefused, gatheringMarks, type WithMarks, withMarks } from '../../postgres/replay-marks.pg.ts';
import { type Held, ofHeld, type SpentRow, selectSpent, spending, spentOf } from '../../postgres/spending.pg.ts';
import type { Confirmation } from '../../protocol/confirmation.ts';
import type { Minted } from '../../protocol/feature.ts';
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
  const rotate = spending((rotating: readonly Rotating[], held) => rotateAll(database, rotating, held));
  const use = gatheringMarks((using: readonly Using[]) => useAll(database, using));
  return {
    find: (token: Credential, now: Date) => find({ credential: token, now }),

    async rotate(token: Credential, successor: Buffer, minted: Minted, now: Date) {
      const spent = await rotate({ token, successor, minted, marks: minted.marks, now });
      return spent === 'done' ? 'rotated' : (spent ?? 'lost');
    },

    async use(token: Credential, minted: Minted, expiresAt: Date, now: Date) {
      const spent = await use({ token, minted, marks: minted.marks, expiresAt, now });
      return spent === 'done' ? 'used' : (spent ?? 'lost');
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

interface Using extends WithMarks {
  readonly token: Credential;
  readonly minted: Minted;
  /** Of the token, once it is used. */
  readonly expiresAt: Date;
  readonly now: Date;
}

/** Uses tokens that stay: stores what was minted, and notes the use of those whose last one was noted some time ago. */
async function useAll(database: Sql, using: readonly Using[]) {
  const { rows } = await sql<SpentRow>`
    ${withMarks(using)} used AS (
      SELECT t.id, t.grant_id, t.client_id, coalesce(t.last_used_at, t.issued_at) < q.unused_since AS is_due, q.now, q.expires_at, q.place
      FROM unnest(
        ${using.map(({ token }) => token.id)}::uuid[], ${using.map(({ token }) => token.hash)}::bytea[],
        ${using.map(({ now }) => now)}::timestamptz[], ${using.map(({ now }) => new Date(now.getTime() - TOUCH_EVERY))}::timestamptz[],
        ${using.map(({ expiresAt }) => expiresAt)}::timestamptz[]
      ) WITH ORDINALITY AS q (id, secret_hash, now, unused_since, expires_at, place)
      JOIN refresh_tokens t ON t.id = q.id AND t.secret_hash = q.secret_hash
      WHERE true ${andNotRefused(using, 'q.place')}
    ), free AS (
      -- Whoever holds one is noting a use, or ends it, so it is left out. As a rule none is due, and none looked up again.
      SELECT t.id, used.now, used.expires_at FROM used JOIN refresh_tokens t ON t.id = used.id
      WHERE used.is_due AND t.rotated_at IS NULL FOR UPDATE OF t SKIP LOCKED
    ), touched AS (
      UPDATE refresh_tokens t SET last_used_at = free.now, expires_at = free.expires_at FROM free WHERE t.id = free.id
    )${storing(
      using.map(({ minted }) => minted),
      'used',
    )}
    ${selectSpent('used', using)}`.execute(database);
  return spentOf(using, rows[0]);
}

interface Rotating extends WithMarks {
  readonly token: Credential;
  readonly successor: Buffer;
  readonly minted: Minted;
  readonly now: Date;
}

/** Replaces tokens. */
async function rotateAll(database: Sql, rotating: readonly Rotating[], held: Held) {
  const { rows } = await sql<SpentRow>`
    ${withMarks(rotating)} valid AS (
      SELECT t.id, q.now, q.successor, q.place
      FROM unnest(
        ${rotating.map(({ token }) => token.id)}::uuid[], ${rotating.map(({ token }) => token.hash)}::bytea[],
        ${rotating.map(({ successor }) => successor)}::bytea[], ${rotating.map(({ now }) => now)}::timestamptz[]
      ) WITH ORDINALITY AS q (id, secret_hash, successor, now, place)
      JOIN refresh_tokens t ON t.id = q.id AND t.secret_hash = q.secret_hash
      WHERE t.rotated_at IS NULL AND t.expires_at > q.now ${andNotRefused(rotating, 'q.place')}
      FOR UPDATE OF t ${ofHeld(held)}
    ), rotated AS (
      -- Of two callers with one token one has it: a row is updated once.
      UPDATE refresh_tokens t SET rotated_at = valid.now, successor = valid.successor FROM valid WHERE t.id = valid.id
      RETURNING t.grant_id, t.client_id, valid.place
    )${storing(
      rotating.map(({ minted }) => minted),
      'rotated',
    )}
    ${selectSpent('rotated', rotating)}`.execute(database);
  return spentOf(rotating, rows[0]);
}
