/**
 * The ledger in PostgreSQL, and the fragments that grants' own statements share: what it takes for a grant to stand,
 * and how minted tokens are stored from the row that was spent.
 */
import { type RawBuilder, sql } from 'kysely';
import type { Authentication, Authorization } from '../protocol/authorization.ts';
import type { Actor, Call } from '../protocol/call.ts';
import { type ClaimsRequest, NO_CLAIMS } from '../protocol/claims-request.ts';
import type { Confirmation } from '../protocol/confirmation.ts';
import type { AuthorizationDetail } from '../protocol/details-type.ts';
import type { Minted } from '../protocol/feature.ts';
import type {
  AccessTokenRecord,
  Ledger,
  RefreshTokenRecord,
  Revocation,
  SignedToken,
  StandingToken,
} from '../protocol/ledger.ts';
import type { ReplayMark } from '../protocol/replay.ts';
import type { Credential } from '../protocol/secrets.ts';
import type { Sql } from './database.ts';
import { asked, gathering, inPlace, type Moment, type Presented } from './gathering.ts';
import { queueLogouts } from './logout-outbox.pg.ts';
import { toUser } from './people.pg.ts';
import {
  andNotRefused,
  gatheringMarks,
  type Marked,
  postgresReplayMarks,
  selectMarked,
  usedMark,
  type WithMarks,
  withMarks,
} from './replay-marks.pg.ts';

const roots = (signInId: RawBuilder<unknown>) => sql`
  LEFT JOIN users u ON u.id = g.user_id
  LEFT JOIN consents k ON k.user_id = g.user_id AND k.client_id = g.client_id AND k.epoch > 0
  LEFT JOIN sign_ins i ON i.id = ${signInId}`;

/**
 * Joins a grant `g` with everything that can end it. The joins are outer: a token may have no grant. Where no sign-in can end it, none
 * is looked for, and of consents only those that were ever withdrawn: among millions of rows each page that is not read counts.
 */
export const rootsOfGrant = roots(sql`CASE WHEN g.session_bound THEN g.sign_in_id END`);

/** The same with the sign-in of every grant, for {@link signInStands}. */
export const rootsWithSignIn = roots(sql`g.sign_in_id`);

/** True when the grant `g` of {@link rootsOfGrant} or {@link rootsWithSignIn} stands; NULL or false otherwise. */
export const grantStands = (now: Moment): RawBuilder<boolean> => sql<boolean>`(
  g.revoked_at IS NULL AND g.expires_at > ${now}
  AND u.disabled_at IS NULL AND u.epoch = g.user_epoch
  AND coalesce(k.epoch, 0) = g.consent_epoch
  AND (NOT g.session_bound OR (i.ended_at IS NULL AND i.expires_at > ${now})))`;

/**
 * True when the sign-in of an OpenID grant still stands. A code belongs to it even where what it gives may outlive it: after a
 * sign-out no client shall learn that somebody signed in (Back-Channel Logout 1.0 §2.7 is about refresh tokens).
 */
export const signInStands = (now: Moment): RawBuilder<boolean> =>
  sql<boolean>`(NOT 'openid' = ANY (g.scope) OR (i.ended_at IS NULL AND i.expires_at > ${now}))`;

/** True when the client `c` may still use what it holds. */
export const clientStands = sql`(c.disabled_at IS NULL AND c.deleted_at IS NULL)`;

export const grantColumns = sql`
  g.id AS grant_id, g.sign_in_id, g.scope AS granted_scope, g.authorization_details AS granted_details, g.resources, g.claims AS requested_claims, g.auth_time, g.acr, g.amr, g.expires_at AS grant_expires_at,
  u.id AS user_id, u.username, u.claims`;

export interface GrantRow {
  grant_id: string | null;
  sign_in_id: string | null;
  granted_scope: string[];
  granted_details: AuthorizationDetail[] | null;
  requested_claims: ClaimsRequest | null;
  resources: string[];
  auth_time: Date | null;
  acr: string | null;
  amr: string[] | null;
  grant_expires_at: Date;
  user_id: string | null;
  username: string;
  claims: Record<string, never>;
}

function toAuthentication(row: Pick<GrantRow, 'auth_time' | 'acr' | 'amr'>): Authentication | undefined {
  return row.auth_time ? { time: row.auth_time, acr: row.acr ?? '', amr: row.amr ?? [] } : undefined;
}

function toGrantUser(row: GrantRow) {
  return row.user_id === null ? undefined : toUser({ id: row.user_id, username: row.username, claims: row.claims });
}

/** What a grant authorizes: all of it for a code, the scope of the token for a refresh token. */
export function toAuthorization(
  row: GrantRow,
  { scope, nonce }: { scope: readonly string[]; nonce?: string | undefined },
): Omit<Authorization, 'client'> {
  return {
    grantId: row.grant_id ?? undefined,
    user: toGrantUser(row),
    authentication: toAuthentication(row),
    signInId: row.sign_in_id ?? undefined,
    claims: row.requested_claims ?? NO_CLAIMS,
    scope,
    authorizationDetails: row.granted_details ?? [],
    resources: row.resources,
    nonce,
    expiresAt: row.grant_expires_at,
  };
}

interface TokenRow extends GrantRow {
  id: string;
  client_id: string;
  scope: string[];
  authorization_details: AuthorizationDetail[] | null;
  audience: string[];
  cnf: Confirmation | null;
  issued_at: Date;
  expires_at: Date;
}

function toStanding(row: TokenRow, kind: StandingToken['kind']): StandingToken {
  return {
    kind,
    jti: row.id,
    grantId: row.grant_id ?? undefined,
    clientId: row.client_id,
    scope: row.scope,
    authorizationDetails: row.authorization_details ?? [],
    audience: row.audience,
    issuedAt: row.issued_at,
    expiresAt: row.expires_at,
    user: toGrantUser(row),
    authentication: toAuthentication(row),
    cnf: row.cnf ?? undefined,
    claims: row.requested_claims ?? NO_CLAIMS,
  };
}

interface ExchangedRow extends TokenRow {
  txn: string;
  origin: Call['origin'];
  subject: string;
  act: Actor | null;
  hops: Call['hops'];
  lineage: string[];
  clients: string[];
  actor_grants: string[];
  authentication: { time: number; acr: string; amr: string[] } | null;
}

/**
 * True when nothing that the exchanged token `x` came from has ended: no token by a mark, no client it went through, no grant of
 * a person who acts. Its own grant is asked beside it.
 */
const chainStands = (now: Date): RawBuilder<boolean> => sql<boolean>`(
  NOT EXISTS (SELECT FROM unnest(x.lineage || x.id) AS came (id) JOIN revocation_marks m ON m.id = came.id)
  AND NOT EXISTS (
    SELECT FROM unnest(x.clients) AS through (id) LEFT JOIN clients c ON c.id = through.id AND ${clientStands} WHERE c.id IS NULL)
  AND NOT EXISTS (
    SELECT FROM unnest(x.actor_grants) AS acting (id) LEFT JOIN grants g ON g.id = acting.id ${rootsOfGrant}
    WHERE ${grantStands(now)} IS NOT TRUE))`;

function toStory(row: ExchangedRow): Pick<StandingToken, 'call' | 'authentication'> {
  const { authentication: foreign } = row;
  return {
    call: {
      txn: row.txn,
      origin: row.origin,
      subject: row.subject,
      act: row.act ?? undefined,
      hops: row.hops,
      lineage: row.lineage,
      clients: row.clients,
      actorGrants: row.actor_grants,
    },
    // A person of another domain has no grant here that would say it.
    authentication: foreign
      ? { time: new Date(foreign.time * 1000), acr: foreign.acr, amr: foreign.amr }
      : toAuthentication(row),
  };
}

export function postgresLedger(database: Sql): Ledger {
  const replayMarks = postgresReplayMarks(database);
  const record = gatheringMarks((calls: readonly Recording[]) => recordAll(database, calls));
  const find = gathering((presented: readonly Presented[]) => findAll(database, presented));
  const confirm = gathering((presented: readonly PresentedJwt[]) => confirmAll(database, presented));
  return {
    async record(token, marks) {
      if (token) return record({ token, marks });
      return marks.length > 0 ? replayMarks.claim(marks) : undefined;
    },

    findAccessToken: (credential: Credential, now: Date) => find({ credential, now }),

    async findExchanged(jti: string, hash: Buffer | undefined, now: Date): Promise<StandingToken | undefined> {
      const { rows } = await sql<ExchangedRow>`
        SELECT x.id, x.client_id, x.scope, NULL::jsonb AS authorization_details, x.audience, x.cnf, x.issued_at, x.expires_at,
               x.txn, x.origin, x.subject, x.act, x.hops, x.lineage, x.clients, x.actor_grants, x.authentication,
               ${grantColumns}
        FROM exchanges x
        LEFT JOIN grants g ON g.id = x.grant_id
        ${rootsOfGrant}
        WHERE x.id = ${jti} AND x.secret_hash IS NOT DISTINCT FROM ${hash ?? null}::bytea
          AND x.refused IS NULL AND x.expires_at > ${now}
          AND (x.grant_id IS NULL OR ${grantStands(now)}) AND ${chainStands(now)}`.execute(database);
      return rows[0] && { ...toStanding(rows[0], 'access_token'), ...toStory(rows[0]) };
    },

    async findRefreshToken(credential: Credential, now: Date): Promise<StandingToken | undefined> {
      const { rows } = await sql<TokenRow>`
        SELECT t.id, t.client_id, t.scope, g.authorization_details, '{}'::text[] AS audience, t.cnf, t.issued_at, t.expires_at, ${grantColumns}
        FROM refresh_tokens t
        JOIN clients c ON c.id = t.client_id
        JOIN grants g ON g.id = t.grant_id
        ${rootsOfGrant}
        WHERE t.id = ${credential.id} AND t.secret_hash = ${credential.hash}
          AND t.rotated_at IS NULL AND t.expires_at > ${now} AND ${clientStands} AND ${grantStands(now)}`.execute(
        database,
      );
      return rows[0] && toStanding(rows[0], 'refresh_token');
    },

    confirm: (token: SignedToken, now: Date) => confirm({ token, now }),

    async revokeAccessToken(credential: Credential, clientId: string, now: Date): Promise<Revocation> {
      const { rows } = await sql<{ client_id: string }>`
        WITH presented AS (
          SELECT id, client_id FROM access_tokens WHERE id = ${credential.id} AND secret_hash = ${credential.hash}
        ), revoked AS (
          UPDATE access_tokens SET revoked_at = ${now}
          WHERE id = ${credential.id} AND secret_hash = ${credential.hash} AND client_id = ${clientId} AND revoked_at IS NULL
          RETURNING id
        ), marked AS (
          -- What was made from it looks for its mark (exchanges.pg.ts).
          INSERT INTO revocation_marks (id, revoked_at) SELECT id, ${now}::timestamptz FROM revoked ON CONFLICT DO NOTHING
        )
        SELECT client_id FROM presented`.execute(database);
      return outcome(rows[0], clientId);
    },

    async revokeExchanged(credential: Credential, clientId: string, now: Date): Promise<Revocation> {
      const { rows } = await sql<{ client_id: string }>`
        WITH presented AS (
          SELECT id, client_id FROM exchanges WHERE id = ${credential.id} AND secret_hash = ${credential.hash}
        ), marked AS (
          INSERT INTO revocation_marks (id, revoked_at)
          SELECT id, ${now}::timestamptz FROM presented WHERE client_id = ${clientId} ON CONFLICT DO NOTHING
        )
        SELECT client_id FROM presented`.execute(database);
      return outcome(rows[0], clientId);
    },

    async revokeSigned(token: SignedToken, clientId: string, now: Date): Promise<Revocation> {
      if (token.clientId !== clientId) return 'foreign';
      await sql`
        INSERT INTO revocation_marks (id, revoked_at) VALUES (${token.jti}, ${now}) ON CONFLICT DO NOTHING`.execute(
        database,
      );
      return 'revoked';
    },

    async revokeRefreshToken(credential: Credential, clientId: string, now: Date): Promise<Revocation> {
      const { rows } = await sql<{ client_id: string }>`
        WITH presented AS (
          SELECT grant_id, client_id FROM refresh_tokens WHERE id = ${credential.id} AND secret_hash = ${credential.hash}
        ), revoked AS (
          UPDATE grants g SET revoked_at = ${now}, revoked_because = 'revoked by its client'
          FROM presented WHERE g.id = presented.grant_id AND presented.client_id = ${clientId} AND g.revoked_at IS NULL
        )
        SELECT client_id FROM presented`.execute(database);
      return outcome(rows[0], clientId);
    },

    async revokeGrant(grantId: string, reason: string, now: Date): Promise<void> {
      await revokeGrant(database, grantId, reason, now);
    },
  };
}

interface Recording extends WithMarks {
  readonly token: AccessTokenRecord;
}

/** In one statement; all that are not refused or, when it fails, none. */
async function recordAll(database: Sql, calls: readonly Recording[]): Promise<(ReplayMark | undefined)[]> {
  const tokens = calls.map(({ token }, index) => [index + 1, token] as const);
  const { rows } = await sql<Marked>`
    ${withMarks(calls)} recorded AS (
      INSERT INTO access_tokens (id, secret_hash, grant_id, client_id, scope, authorization_details, audience, cnf, issued_at, expires_at)
      SELECT t.id, t.secret_hash, t.grant_id, t.client_id, string_to_array(t.scope, ' '), t.authorization_details, string_to_array(t.audience, ' '), t.cnf,
             t.issued_at, t.expires_at
      FROM ${accessTokenRows(tokens)} WHERE true ${andNotRefused(calls, 't.place')}
    )
    SELECT ${selectMarked(calls)}`.execute(database);
  return calls.map(({ marks }) => usedMark(marks, rows[0]));
}

/** What belongs to one call of several: its `place`, and the rest. */
type Placed<T> = readonly (readonly [place: number, T])[];

/**
 * The table expression `t`. Lists are texts there, because arrays of arrays need equal lengths: neither a scope token nor an
 * audience holds a space (RFC 6749 §3.3, RFC 3986).
 */
function accessTokenRows(tokens: Placed<AccessTokenRecord>): RawBuilder<unknown> {
  const column = <T>(of: (token: AccessTokenRecord) => T) => tokens.map(([, token]) => of(token));
  return sql`unnest(
    ${tokens.map(([place]) => place)}::integer[], ${column(({ id }) => id)}::uuid[], ${column(({ hash }) => hash)}::bytea[],
    ${column(({ grantId }) => grantId ?? null)}::uuid[], ${column(({ clientId }) => clientId)}::text[],
    ${column(({ scope }) => scope.join(' '))}::text[], ${column(({ authorizationDetails }) => serialized(authorizationDetails))}::jsonb[],
    ${column(({ audience }) => audience.join(' '))}::text[], ${column(({ cnf }) => serialized(cnf))}::jsonb[],
    ${column(({ issuedAt }) => issuedAt)}::timestamptz[], ${column(({ expiresAt }) => expiresAt)}::timestamptz[]
  ) AS t (place, id, secret_hash, grant_id, client_id, scope, authorization_details, audience, cnf, issued_at, expires_at)`;
}

function refreshTokenRows(tokens: Placed<RefreshTokenRecord>): RawBuilder<unknown> {
  const column = <T>(of: (token: RefreshTokenRecord) => T) => tokens.map(([, token]) => of(token));
  return sql`unnest(
    ${tokens.map(([place]) => place)}::integer[], ${column(({ id }) => id)}::uuid[], ${column(({ hash }) => hash)}::bytea[],
    ${column(({ scope }) => scope.join(' '))}::text[], ${column(({ cnf }) => serialized(cnf))}::jsonb[],
    ${column(({ issuedAt }) => issuedAt)}::timestamptz[], ${column(({ expiresAt }) => expiresAt)}::timestamptz[]
  ) AS t (place, id, secret_hash, scope, cnf, issued_at, expires_at)`;
}

/** JSON for a jsonb column; `null` for nothing, and for none. */
export function serialized(value: object | undefined): string | null {
  return value === undefined || (Array.isArray(value) && value.length === 0) ? null : JSON.stringify(value);
}

/**
 * Common table expressions that store what was minted, of each call for the row of the table expression `spent` (columns `place`,
 * `grant_id`, `client_id`) that has its place: nothing spent, nothing stored.
 */
export function storing(minted: readonly Minted[], spent: string): RawBuilder<unknown> {
  const placed = minted.map((one, index) => [index + 1, one] as const);
  const accessTokens = placed.flatMap(([place, { accessToken }]) =>
    accessToken ? [[place, accessToken] as const] : [],
  );
  const refreshTokens = placed.flatMap(([place, { refreshToken }]) =>
    refreshToken ? [[place, refreshToken] as const] : [],
  );
  const from = sql.table(spent);
  return sql`${
    accessTokens.length > 0
      ? sql`, stored_access_tokens AS (
          INSERT INTO access_tokens (id, secret_hash, grant_id, client_id, scope, authorization_details, audience, cnf, issued_at, expires_at)
          SELECT t.id, t.secret_hash, s.grant_id, s.client_id, string_to_array(t.scope, ' '), t.authorization_details, string_to_array(t.audience, ' '), t.cnf,
                 t.issued_at, t.expires_at
          FROM ${from} AS s JOIN ${accessTokenRows(accessTokens)} ON t.place = s.place)`
      : sql``
  }${
    refreshTokens.length > 0
      ? sql`, stored_refresh_tokens AS (
          INSERT INTO refresh_tokens (id, secret_hash, grant_id, client_id, scope, cnf, issued_at, expires_at)
          SELECT t.id, t.secret_hash, s.grant_id, s.client_id, string_to_array(t.scope, ' '), t.cnf, t.issued_at, t.expires_at
          FROM ${from} AS s JOIN ${refreshTokenRows(refreshTokens)} ON t.place = s.place)`
      : sql``
  }`;
}

async function findAll(
  database: Sql,
  presented: readonly Presented[],
): Promise<readonly (StandingToken | undefined)[]> {
  const { rows } = await sql<TokenRow & { place: number }>`
    SELECT q.place::integer, t.id, t.client_id, t.scope, t.authorization_details, t.audience, t.cnf, t.issued_at, t.expires_at, ${grantColumns}
    FROM ${asked(presented)}
    JOIN access_tokens t ON t.id = q.id AND t.secret_hash = q.secret_hash
    JOIN clients c ON c.id = t.client_id
    LEFT JOIN grants g ON g.id = t.grant_id
    ${rootsOfGrant}
    WHERE t.revoked_at IS NULL AND t.expires_at > q.now AND ${clientStands}
      AND (t.grant_id IS NULL OR ${grantStands(sql`q.now`)})`.execute(database);
  return inPlace(rows, presented.length).map((row) => row && toStanding(row, 'access_token'));
}

interface PresentedJwt {
  readonly token: SignedToken;
  readonly now: Date;
}

async function confirmAll(
  database: Sql,
  presented: readonly PresentedJwt[],
): Promise<readonly (Pick<StandingToken, 'user' | 'claims'> | undefined)[]> {
  const { rows } = await sql<GrantRow & { place: number }>`
    SELECT q.place::integer, ${grantColumns}
    FROM unnest(
      ${presented.map(({ token }) => token.jti)}::uuid[], ${presented.map(({ token }) => token.clientId)}::text[],
      ${presented.map(({ token }) => token.grantId ?? null)}::uuid[], ${presented.map(({ now }) => now)}::timestamptz[]
    ) WITH ORDINALITY AS q (jti, client_id, grant_id, now, place)
    JOIN clients c ON c.id = q.client_id
    LEFT JOIN grants g ON g.id = q.grant_id
    ${rootsOfGrant}
    WHERE ${clientStands} AND (q.grant_id IS NULL OR ${grantStands(sql`q.now`)})
      AND NOT EXISTS (SELECT FROM revocation_marks m WHERE m.id = q.jti)`.execute(database);
  return inPlace(rows, presented.length).map(
    (row) => row && { user: toGrantUser(row), claims: row.requested_claims ?? NO_CLAIMS },
  );
}

function outcome(row: { client_id: string } | undefined, clientId: string): Revocation {
  if (!row) return 'unknown';
  return row.client_id === clientId ? 'revoked' : 'foreign';
}

const revoking = (grantId: string, reason: string, now: Date): RawBuilder<unknown> => sql`
  UPDATE grants SET revoked_at = ${now}, revoked_because = ${reason}
  WHERE id = ${grantId} AND revoked_at IS NULL RETURNING id, sign_in_id, client_id, scope`;

/** Ends a grant, and tells nobody; `unknown` also when it had ended before. */
export async function revokeGrant(
  database: Sql,
  grantId: string,
  reason: string,
  now: Date,
): Promise<'revoked' | 'unknown'> {
  const { rows } = await revoking(grantId, reason, now).execute(database);
  return rows.length === 0 ? 'unknown' : 'revoked';
}

/**
 * For operators: ends a grant, and with it what its client began with the ID token: it gets a logout token, if the sign-in
 * still stands (else it was told then).
 */
export async function revokeGrantAndTell(
  database: Sql,
  grantId: string,
  reason: string,
  now: Date,
): Promise<'revoked' | 'unknown'> {
  const { rows } = await sql`
    WITH revoked AS (${revoking(grantId, reason, now)}), over AS (
      SELECT r.sign_in_id, r.client_id FROM revoked r
      JOIN sign_ins i ON i.id = r.sign_in_id AND i.announced_at IS NULL WHERE 'openid' = ANY (r.scope)
    ), queued AS (${queueLogouts('over', now)})
    SELECT id FROM revoked`.execute(database);
  return rows.length === 0 ? 'unknown' : 'revoked';
}

/** For operators: grants, the latest first. */
export async function listGrants(
  database: Sql,
  filter: { userId?: string | undefined; clientId?: string | undefined; all: boolean },
  now: Date,
  limit: number,
) {
  const { rows } = await sql<{
    id: string;
    client_id: string;
    user_id: string;
    username: string;
    scope: string[];
    created_at: Date;
    expires_at: Date;
    revoked_at: Date | null;
    revoked_because: string | null;
    stands: boolean | null;
  }>`
    SELECT g.id, g.client_id, g.user_id, u.username, g.scope, g.created_at, g.expires_at, g.revoked_at, g.revoked_because,
           (${grantStands(now)} AND ${clientStands}) AS stands
    FROM grants g JOIN clients c ON c.id = g.client_id ${rootsOfGrant}
    WHERE ${filter.userId === undefined ? sql`true` : sql`g.user_id = ${filter.userId}::uuid`}
      AND ${filter.clientId === undefined ? sql`true` : sql`g.client_id = ${filter.clientId}`}
      AND ${filter.all ? sql`true` : sql`(${grantStands(now)} AND ${clientStands})`}
    ORDER BY g.id DESC LIMIT ${limit}`.execute(database);
  return rows;
}
