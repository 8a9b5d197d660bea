/**
 * Authorization codes in PostgreSQL: each verb one statement, for one caller or for several that come together
 * (src/postgres/gathering.ts).
 *
 * Callers in one statement wait for no lock: what somebody holds at this moment is left out (`SKIP LOCKED`), and whatever was not done is tried
 * alone, waiting, which also tells why. Two nodes to whom the same codes are presented in another order cannot block each
 * other, nor can one person's sign-out hold up the others. Redeeming does that as src/postgres/spending.pg.ts says. Issued alone is
 * also what answers a pending request, or asks for claims beyond a scope.
 */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { asked, gathering, inPlace, type Presented } from '../../postgres/gathering.ts';
import {
  type GrantRow,
  grantColumns,
  grantStands,
  revokeGrant,
  rootsWithSignIn,
  serialized,
  signInStands,
  storing,
  toAuthorization,
} from '../../postgres/ledger.pg.ts';
import { andNotRefused, type WithMarks, withMarks } from '../../postgres/replay-marks.pg.ts';
import { type Held, ofHeld, type SpentRow, selectSpent, spending, spentOf } from '../../postgres/spending.pg.ts';
import { claimsBeyondScope, NO_CLAIMS } from '../../protocol/claims-request.ts';
import type { Minted } from '../../protocol/feature.ts';
import type { Credential } from '../../protocol/secrets.ts';
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
  const issueTogether = gathering((issuing: readonly Issuing[]) => issueAll(database, issuing));
  const redeem = spending((redeeming: readonly Redeeming[], held) => redeemAll(database, redeeming, held));
  return {
    async issue(code: NewCode, now: Date) {
      const { request, pendingId } = code.approved;
      const claims = claimsBeyondScope(request.claims, request.scope);
      const canShare = pendingId === undefined && claims.length === 0;
      if (canShare && (await issueTogether({ code, now }))) return 'issued';
      const [issued] = await issueAll(database, [{ code, now }], { claims, pendingId });
      return issued ? 'issued' : 'gone';
    },

    find: (code: Credential, now: Date) => find({ credential: code, now }),

    async redeem(code: Credential, clientId: string, minted: Minted, now: Date) {
      const spent = await redeem({ code, clientId, minted, marks: minted.marks, now });
      return spent === 'done' ? 'redeemed' : (spent ?? 'lost');
    },

    async revokeReplayed(grantId: string, now: Date) {
      await revokeGrant(database, grantId, 'authorization code replayed', now);
    },
  };
}

interface Issuing {
  readonly code: NewCode;
  readonly now: Date;
}

/** What a request may have beside itself that is asked about or answered in the same statement. */
interface Alone {
  /** Asked for by name, beyond its scope: the person has allowed them too. */
  readonly claims: readonly string[];
  readonly pendingId: string | undefined;
}

/**
 * Makes grants and codes.
 * @param alone of the one caller whose statement it is; without it those are left out that somebody holds
 * @returns whether each was made
 */
async function issueAll(database: Sql, issuing: readonly Issuing[], alone?: Alone): Promise<boolean[]> {
  const column = <T>(of: (code: NewCode, now: Date) => T) => issuing.map(({ code, now }) => of(code, now));
  const held = alone ? 'awaited' : 'skipped';
  const pushedRequests = column(({ approved }) => approved.pushedRequestId ?? null);
  const arePushed = pushedRequests.some((id) => id !== null);
  const approved = sql`q JOIN standing s ON s.place = q.place
    AND ${arePushed ? sql`(q.pushed_request_id IS NULL OR q.place IN (SELECT place FROM used))` : sql`true`}
    AND ${alone?.pendingId === undefined ? sql`true` : sql`EXISTS (SELECT FROM answered)`}`;
  const { rows } = await sql<{ place: number }>`
    WITH q AS (
      SELECT
        unnest(${column(({ approved }) => approved.signIn.id)}::uuid[]) AS sign_in_id,
        unnest(${column((_code, now) => now)}::timestamptz[]) AS now,
        unnest(${column(({ approved }) => approved.request.client.id)}::text[]) AS client_id,
        unnest(${column(({ approved }) => approved.request.client.skipConsent)}::boolean[]) AS skip_consent,
        unnest(${column(({ approved }) => approved.request.scope.join(' '))}::text[]) AS scope,
        unnest(${column(({ approved }) => serialized(approved.request.authorizationDetails))}::jsonb[]) AS details,
        unnest(${column(({ approved }) => approved.request.resources.join(' '))}::text[]) AS resources,
        unnest(${column(({ approved: { request } }) => serialized(request.claims === NO_CLAIMS ? undefined : request.claims))}::jsonb[]) AS claims,
        unnest(${column(({ approved }) => approved.signIn.authentication.time)}::timestamptz[]) AS auth_time,
        unnest(${column(({ approved }) => approved.signIn.authentication.acr)}::text[]) AS acr,
        unnest(${column(({ approved }) => approved.signIn.authentication.amr.join(' '))}::text[]) AS amr,
        unnest(${column(({ grantId }) => grantId)}::uuid[]) AS grant_id,
        unnest(${column(({ sessionBound }) => sessionBound)}::boolean[]) AS session_bound,
        unnest(${column(({ grantExpiresAt }) => grantExpiresAt)}::timestamptz[]) AS grant_expires_at,
        unnest(${column(({ code }) => code.id)}::uuid[]) AS code_id,
        unnest(${column(({ code }) => code.hash)}::bytea[]) AS code_hash,
        unnest(${column(({ approved }) => approved.address.redirectUri)}::text[]) AS redirect_uri,
        unnest(${column(({ approved }) => approved.request.codeChallenge ?? null)}::text[]) AS code_challenge,
        unnest(${column(({ approved }) => approved.request.dpopJkt ?? null)}::text[]) AS dpop_jkt,
        unnest(${column(({ approved }) => approved.request.nonce ?? null)}::text[]) AS nonce,
        unnest(${column(({ expiresAt }) => expiresAt)}::timestamptz[]) AS expires_at,
        unnest(${pushedRequests}::uuid[]) AS pushed_request_id,
        unnest(${issuing.map((_call, index) => index + 1)}::integer[]) AS place
    ), standing AS (
      SELECT q.place, u.id AS user_id, u.epoch AS user_epoch, coalesce(k.epoch, 0) AS consent_epoch
      FROM q
      JOIN sign_ins i ON i.id = q.sign_in_id
      JOIN users u ON u.id = i.user_id AND u.epoch = i.user_epoch AND u.disabled_at IS NULL
      LEFT JOIN consents k ON k.user_id = u.id AND k.client_id = q.client_id
      WHERE i.ended_at IS NULL AND i.expires_at > q.now
        -- Taken back since the step was decided, it must not come back to life under the new epoch.
        AND (q.skip_consent OR (
          k.revoked_at IS NULL AND k.scope @> string_to_array(q.scope, ' ') AND k.claims @> ${[...(alone?.claims ?? [])]}::text[]))
      -- Whoever ends the sign-in waits for this grant, and sees it: its client is among those to be told.
      FOR SHARE OF i ${ofHeld(held)}
    )${arePushed ? usingPushed(held) : sql``}${alone?.pendingId === undefined ? sql`` : answering(alone.pendingId, arePushed)}, granted AS (
      INSERT INTO grants (id, client_id, user_id, user_epoch, consent_epoch, sign_in_id, session_bound, scope, authorization_details,
                          resources, claims, auth_time, acr, amr, created_at, expires_at)
      SELECT q.grant_id, q.client_id, s.user_id, s.user_epoch, s.consent_epoch, q.sign_in_id, q.session_bound, string_to_array(q.scope, ' '), q.details,
             string_to_array(q.resources, ' '), q.claims, q.auth_time, q.acr, string_to_array(q.amr, ' '), q.now, q.grant_expires_at
      FROM ${approved}
    ), coded AS (
      INSERT INTO authorization_codes (id, secret_hash, grant_id, client_id, redirect_uri, code_challenge, dpop_jkt, nonce, expires_at)
      SELECT q.code_id, q.code_hash, q.grant_id, q.client_id, q.redirect_uri, q.code_challenge, q.dpop_jkt, q.nonce, q.expires_at
      FROM ${approved}
    )
    SELECT q.place FROM ${approved}`.execute(database);
  return inPlace(rows, issuing.length).map((row) => row !== undefined);
}

// What none of the requests came by is no part of their statement: each table in a plan costs, also where nothing is done to it.

/** A pushed request is good for one code; whoever finishes second finds it gone (RFC 9126 §7.3): a row is updated once. */
const usingPushed = (held: Held) => sql`, usable AS (
  SELECT p.id, q.now, q.place FROM q JOIN standing s ON s.place = q.place JOIN pushed_requests p ON p.id = q.pushed_request_id
  WHERE p.consumed_at IS NULL FOR UPDATE OF p ${ofHeld(held)}
), used AS (
  UPDATE pushed_requests p SET consumed_at = usable.now FROM usable WHERE p.id = usable.id RETURNING usable.place
)`;

/** Only with a grant to show for it: else the client is still to be told that there is none. */
const answering = (pendingId: string, pushed: boolean) => sql`, answered AS (
  UPDATE pending_authorizations SET closed_at = (SELECT now FROM q)
  WHERE id = ${pendingId}::uuid AND closed_at IS NULL AND EXISTS (SELECT FROM standing)
    AND ${pushed ? sql`EXISTS (SELECT FROM used)` : sql`true`} RETURNING id
)`;

interface Redeeming extends WithMarks {
  readonly code: Credential;
  readonly clientId: string;
  readonly minted: Minted;
  readonly now: Date;
}

/** Uses codes up and stores what was minted for them. */
async function redeemAll(database: Sql, redeeming: readonly Redeeming[], held: Held) {
  const { rows } = await sql<SpentRow>`
    ${withMarks(redeeming)} valid AS (
      SELECT a.id, q.now, q.place
      FROM unnest(
        ${redeeming.map(({ code }) => code.id)}::uuid[], ${redeeming.map(({ code }) => code.hash)}::bytea[],
        ${redeeming.map(({ clientId }) => clientId)}::text[], ${redeeming.map(({ now }) => now)}::timestamptz[]
      ) WITH ORDINALITY AS q (id, secret_hash, client_id, now, place)
      JOIN authorization_codes a ON a.id = q.id AND a.secret_hash = q.secret_hash
      WHERE a.client_id = q.client_id AND a.redeemed_at IS NULL AND a.expires_at > q.now ${andNotRefused(redeeming, 'q.place')}
        AND EXISTS (
          SELECT FROM grants g LEFT JOIN sign_ins i ON i.id = g.sign_in_id
          WHERE g.id = a.grant_id AND ${signInStands(sql`q.now`)})
      FOR UPDATE OF a ${ofHeld(held)}
    ), redeemed AS (
      -- Of two callers with one code one has it: a row is updated once.
      UPDATE authorization_codes a SET redeemed_at = valid.now FROM valid WHERE a.id = valid.id
      RETURNING a.grant_id, a.client_id, valid.place
    )${storing(
      redeeming.map(({ minted }) => minted),
      'redeemed',
    )}
    ${selectSpent('redeemed', redeeming)}`.execute(database);
  return spentOf(redeeming, rows[0]);
}

async function findAll(database: Sql, presented: readonly Presented[]): Promise<(IssuedCode | undefined)[]> {
  const now = sql<Date>`q.now`;
  const { rows } = await sql<Row>`
    SELECT q.place::integer, a.client_id, a.redirect_uri, a.code_challenge, a.dpop_jkt, a.nonce, a.expires_at, a.redeemed_at,
           ${grantColumns},
           (${grantStands(now)} AND ${signInStands(now)}) AS stands
    FROM ${asked(presented)}
    JOIN authorization_codes a ON a.id = q.id AND a.secret_hash = q.secret_hash
    JOIN grants g ON g.id = a.grant_id
    ${rootsWithSignIn}`.execute(database);
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
