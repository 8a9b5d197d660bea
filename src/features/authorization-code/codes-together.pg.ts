/**
 * Codes of several callers in one statement each (src/postgres/gathering.ts): those that nobody else holds at this moment.
 *
 *   gathered ──▶ rows that are free, `SKIP LOCKED` ──▶ done
 *                     └── not done, for whatever reason ──▶ the caller's own statement (codes.pg.ts) waits, and says why
 *
 * So these never wait for a lock: two nodes whose callers present the same codes in another order cannot block each other, nor can one
 * caller's sign-out hold up the others.
 */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { done } from '../../postgres/gathering.ts';
import { serialized, signInStands, storingAll } from '../../postgres/ledger.pg.ts';
import { NO_CLAIMS } from '../../protocol/claims-request.ts';
import type { Minted } from '../../protocol/feature.ts';
import type { Credential } from '../../protocol/secrets.ts';
import type { NewCode } from './index.ts';

export interface Issuing {
  readonly code: NewCode;
  readonly now: Date;
}

/** Grants and codes of people who are signed in and need not be asked. @returns whether each was made */
export async function issueFree(database: Sql, issuing: readonly Issuing[]): Promise<boolean[]> {
  const column = <T>(of: (code: NewCode, now: Date) => T) => issuing.map(({ code, now }) => of(code, now));
  const { rows } = await sql<{ place: number }>`
    WITH q AS (
      SELECT * FROM unnest(
        ${column(({ approved }) => approved.signIn.id)}::uuid[], ${column((_code, now) => now)}::timestamptz[],
        ${column(({ approved }) => approved.request.client.id)}::text[], ${column(({ approved }) => approved.request.client.skipConsent)}::boolean[],
        ${column(({ approved }) => approved.request.scope.join(' '))}::text[], ${column(({ approved }) => serialized(approved.request.authorizationDetails))}::jsonb[],
        ${column(({ approved }) => approved.request.resources.join(' '))}::text[],
        ${column(({ approved: { request } }) => serialized(request.claims === NO_CLAIMS ? undefined : request.claims))}::jsonb[],
        ${column(({ approved }) => approved.signIn.authentication.time)}::timestamptz[], ${column(({ approved }) => approved.signIn.authentication.acr)}::text[],
        ${column(({ approved }) => approved.signIn.authentication.amr.join(' '))}::text[],
        ${column(({ grantId }) => grantId)}::uuid[], ${column(({ sessionBound }) => sessionBound)}::boolean[],
        ${column(({ grantExpiresAt }) => grantExpiresAt)}::timestamptz[], ${column(({ code }) => code.id)}::uuid[], ${column(({ code }) => code.hash)}::bytea[],
        ${column(({ approved }) => approved.address.redirectUri)}::text[], ${column(({ approved }) => approved.request.codeChallenge ?? null)}::text[],
        ${column(({ approved }) => approved.request.dpopJkt ?? null)}::text[], ${column(({ approved }) => approved.request.nonce ?? null)}::text[],
        ${column(({ expiresAt }) => expiresAt)}::timestamptz[]
      ) WITH ORDINALITY AS q (sign_in_id, now, client_id, skip_consent, scope, details, resources, claims, auth_time, acr, amr, grant_id, session_bound,
                              grant_expires_at, code_id, code_hash, redirect_uri, code_challenge, dpop_jkt, nonce, expires_at, place)
    ), standing AS (
      SELECT q.place, u.id AS user_id, u.epoch AS user_epoch, coalesce(k.epoch, 0) AS consent_epoch
      FROM q
      JOIN sign_ins i ON i.id = q.sign_in_id
      JOIN users u ON u.id = i.user_id AND u.epoch = i.user_epoch AND u.disabled_at IS NULL
      LEFT JOIN consents k ON k.user_id = u.id AND k.client_id = q.client_id
      WHERE i.ended_at IS NULL AND i.expires_at > q.now
        AND (q.skip_consent OR (k.revoked_at IS NULL AND k.scope @> string_to_array(q.scope, ' ')))
      FOR SHARE OF i SKIP LOCKED
    ), granted AS (
      INSERT INTO grants (id, client_id, user_id, user_epoch, consent_epoch, sign_in_id, session_bound, scope, authorization_details,
                          resources, claims, auth_time, acr, amr, created_at, expires_at)
      SELECT q.grant_id, q.client_id, s.user_id, s.user_epoch, s.consent_epoch, q.sign_in_id, q.session_bound, string_to_array(q.scope, ' '), q.details,
             string_to_array(q.resources, ' '), q.claims, q.auth_time, q.acr, string_to_array(q.amr, ' '), q.now, q.grant_expires_at
      FROM q JOIN standing s ON s.place = q.place
    ), coded AS (
      INSERT INTO authorization_codes (id, secret_hash, grant_id, client_id, redirect_uri, code_challenge, dpop_jkt, nonce, expires_at)
      SELECT q.code_id, q.code_hash, q.grant_id, q.client_id, q.redirect_uri, q.code_challenge, q.dpop_jkt, q.nonce, q.expires_at
      FROM q JOIN standing s ON s.place = q.place
    )
    SELECT place::integer FROM standing`.execute(database);
  return done(rows, issuing.length);
}

export interface Redeeming {
  readonly code: Credential;
  readonly clientId: string;
  readonly minted: Minted;
  readonly now: Date;
}

/** Uses codes up and stores what was minted for them. @returns whether each was used up */
export async function redeemFree(database: Sql, redeeming: readonly Redeeming[]): Promise<boolean[]> {
  const { rows } = await sql<{ place: number }>`
    WITH free AS (
      SELECT a.id, q.now, q.place
      FROM unnest(
        ${redeeming.map(({ code }) => code.id)}::uuid[], ${redeeming.map(({ code }) => code.hash)}::bytea[],
        ${redeeming.map(({ clientId }) => clientId)}::text[], ${redeeming.map(({ now }) => now)}::timestamptz[]
      ) WITH ORDINALITY AS q (id, secret_hash, client_id, now, place)
      JOIN authorization_codes a ON a.id = q.id AND a.secret_hash = q.secret_hash
      WHERE a.client_id = q.client_id AND a.redeemed_at IS NULL AND a.expires_at > q.now
        AND EXISTS (
          SELECT FROM grants g LEFT JOIN sign_ins i ON i.id = g.sign_in_id
          WHERE g.id = a.grant_id AND ${signInStands(sql`q.now`)})
      FOR UPDATE OF a SKIP LOCKED
    ), redeemed AS (
      -- Of two callers with one code one has it: a row is updated once.
      UPDATE authorization_codes a SET redeemed_at = free.now FROM free WHERE a.id = free.id
      RETURNING a.grant_id, a.client_id, free.place
    )${storingAll(
      redeeming.map(({ minted }) => minted),
      'redeemed',
    )}
    SELECT place::integer FROM redeemed`.execute(database);
  return done(rows, redeeming.length);
}
