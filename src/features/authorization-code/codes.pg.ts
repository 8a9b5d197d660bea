/** Authorization codes in PostgreSQL: each verb one guarded statement. */
import { type RawBuilder, sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { asked, gathering, inPlace, type Presented } from '../../postgres/gathering.ts';
import {
  detailsJson,
  type GrantRow,
  grantColumns,
  grantStands,
  revokeGrant,
  rootsOfGrant,
  signInStands,
  storing,
  toAuthorization,
} from '../../postgres/ledger.pg.ts';
import { andAllMarked, type Spent, spent, usedMark, withMarks } from '../../postgres/replay-marks.pg.ts';
import { claimsBeyondScope, NO_CLAIMS } from '../../protocol/claims-request.ts';
import type { Minted } from '../../protocol/feature.ts';
import type { Credential } from '../../protocol/secrets.ts';
import { type Issuing, issueFree, type Redeeming, redeemFree } from './codes-together.pg.ts';
import type { Codes, IssuedCode, NewCode } from './index.ts';

interface Row extends GrantRow {
  place: number;
  client_id: string;
  redirect_uri: string;
  code_challenge: string | null;
  nonce: string | null;
  expires_at: Date;
  dpop_jkt: string | null;
  redeemed_at: Date | null;
  stands: boolean | null;
}

export function postgresCodes(database: Sql): Codes {
  const find = gathering((presented: readonly Presented[]) => findAll(database, presented));
  const issueTogether = gathering((issuing: readonly Issuing[]) => issueFree(database, issuing));
  const redeemTogether = gathering((redeeming: readonly Redeeming[]) => redeemFree(database, redeeming));
  return {
    async issue(issued: NewCode, now: Date) {
      const { code, approved, ...grant } = issued;
      const { request, address, signIn, pendingId, pushedRequestId } = approved;
      const isPlain = pendingId === undefined && pushedRequestId === undefined;
      const claims = claimsBeyondScope(request.claims, request.scope);
      if (isPlain && claims.length === 0 && (await issueTogether({ code: issued, now }))) return 'issued';
      const { authentication } = signIn;
      const wasUsed = pushedRequestId === undefined ? sql`true` : sql`EXISTS (SELECT FROM used)`;
      const { rows } = await sql`
        WITH standing AS (
          SELECT u.id AS user_id, u.epoch AS user_epoch, coalesce(k.epoch, 0) AS consent_epoch, i.id AS sign_in_id
          FROM sign_ins i
          JOIN users u ON u.id = i.user_id AND u.epoch = i.user_epoch AND u.disabled_at IS NULL
          LEFT JOIN consents k ON k.user_id = u.id AND k.client_id = ${request.client.id}
          WHERE i.id = ${signIn.id} AND i.ended_at IS NULL AND i.expires_at > ${now}
            -- Taken back since the step was decided, it must not come back to life under the new epoch.
            AND (${request.client.skipConsent}::boolean OR (
              k.revoked_at IS NULL AND k.scope @> ${[...request.scope]}::text[]
              AND k.claims @> ${claims}::text[]))
          -- Whoever ends the sign-in waits for this grant, and sees it: its client is among those to be told.
          FOR SHARE OF i
        )${pushedRequestId === undefined ? sql`` : using(pushedRequestId, now)}
        ${pendingId === undefined ? sql`` : answering(pendingId, wasUsed, now)}, granted AS (
          INSERT INTO grants (id, client_id, user_id, user_epoch, consent_epoch, sign_in_id, session_bound, scope, authorization_details,
                              resources, claims, auth_time, acr, amr, created_at, expires_at)
          SELECT ${grant.grantId}::uuid, ${request.client.id}::text, user_id, user_epoch, consent_epoch, sign_in_id,
                 ${grant.sessionBound}::boolean, ${[...request.scope]}::text[], ${detailsJson(request.authorizationDetails)}, ${[...request.resources]}::text[],
                 ${request.claims === NO_CLAIMS ? null : JSON.stringify(request.claims)}::jsonb, ${authentication.time}::timestamptz, ${authentication.acr}::text, ${[...authentication.amr]}::text[],
                 ${now}::timestamptz, ${grant.grantExpiresAt}::timestamptz
          FROM standing
          WHERE ${wasUsed} AND ${pendingId === undefined ? sql`true` : sql`EXISTS (SELECT FROM answered)`}
          RETURNING id, client_id
        )
        INSERT INTO authorization_codes (id, secret_hash, grant_id, client_id, redirect_uri, code_challenge, dpop_jkt, nonce, expires_at)
        SELECT ${code.id}::uuid, ${code.hash}::bytea, id, client_id, ${address.redirectUri}::text, ${request.codeChallenge ?? null}::text, ${request.dpopJkt ?? null}::text,
               ${request.nonce ?? null}::text, ${grant.expiresAt}::timestamptz
        FROM granted RETURNING id`.execute(database);
      return rows.length === 1 ? 'issued' : 'gone';
    },

    find: (code: Credential, now: Date) => find({ credential: code, now }),

    async redeem(code: Credential, clientId: string, minted: Minted, now: Date) {
      const { marks } = minted;
      if (marks.length === 0 && (await redeemTogether({ code, clientId, minted, now }))) return 'redeemed';
      const { rows } = await sql<Spent>`
        ${withMarks(marks)} redeemed AS (
          UPDATE authorization_codes SET redeemed_at = ${now}
          WHERE id = ${code.id} AND secret_hash = ${code.hash} AND client_id = ${clientId}
            AND redeemed_at IS NULL AND expires_at > ${now} ${andAllMarked(marks)}
            AND EXISTS (
              SELECT FROM grants g LEFT JOIN sign_ins i ON i.id = g.sign_in_id
              WHERE g.id = authorization_codes.grant_id AND ${signInStands(now)})
          RETURNING grant_id, client_id
        )${storing(minted, 'redeemed')}
        ${spent('redeemed', marks)}`.execute(database);
      return rows[0]?.spent ? 'redeemed' : (usedMark(marks, rows[0]) ?? 'lost');
    },

    async revokeReplayed(grantId: string, now: Date) {
      await revokeGrant(database, grantId, 'authorization code replayed', now);
    },
  };
}

// What a request did not come by is no part of its statement: each table in a plan costs, also where nothing is done to it.

/** A pushed request is good for one code; whoever finishes second finds it gone (RFC 9126 §7.3). */
const using = (pushedRequestId: string, now: Date) => sql`, used AS (
  UPDATE pushed_requests SET consumed_at = ${now}
  WHERE id = ${pushedRequestId}::uuid AND consumed_at IS NULL AND EXISTS (SELECT FROM standing) RETURNING id
)`;

/** Only with a grant to show for it: else the client is still to be told that there is none. */
const answering = (pendingId: string, wasUsed: RawBuilder<unknown>, now: Date) => sql`, answered AS (
  UPDATE pending_authorizations SET closed_at = ${now}
  WHERE id = ${pendingId}::uuid AND closed_at IS NULL AND EXISTS (SELECT FROM standing) AND ${wasUsed} RETURNING id
)`;

async function findAll(database: Sql, presented: readonly Presented[]): Promise<(IssuedCode | undefined)[]> {
  const now = sql<Date>`q.now`;
  const { rows } = await sql<Row>`
    SELECT q.place::integer, a.client_id, a.redirect_uri, a.code_challenge, a.dpop_jkt, a.nonce, a.expires_at, a.redeemed_at,
           ${grantColumns},
           (${grantStands(now)} AND ${signInStands(now)}) AS stands
    FROM ${asked(presented)}
    JOIN authorization_codes a ON a.id = q.id AND a.secret_hash = q.secret_hash
    JOIN grants g ON g.id = a.grant_id
    ${rootsOfGrant}`.execute(database);
  return inPlace(rows, presented.length).map((row) => row && toHeld(row));
}

function toHeld(row: Row): IssuedCode {
  return {
    authorization: toAuthorization(row, { scope: row.granted_scope, nonce: row.nonce ?? undefined }),
    clientId: row.client_id,
    redirectUri: row.redirect_uri,
    codeChallenge: row.code_challenge ?? undefined,
    dpopJkt: row.dpop_jkt ?? undefined,
    expiresAt: row.expires_at,
    redeemed: row.redeemed_at !== null,
    stands: row.stands === true,
  };
}
