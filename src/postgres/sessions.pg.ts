/** Sessions and sign-ins in PostgreSQL: each change is one statement. */
import { sql } from 'kysely';
import { type Credential, idFloor } from '../protocol/secrets.ts';
import type { EndedSignIn, NewSignIn, Session, Sessions, SignIn } from '../protocol/session.ts';
import type { Sql } from './database.ts';
import { asked, gathering, type Presented } from './gathering.ts';
import { toUser, type UserRow } from './people.pg.ts';

/**
 * A sign-in that stands keeps its id (and with it the tokens bound to it) when the same person signs in again within this
 * time; its partition stands for at least twice as long. One that is over stays over, with all that was bound to it.
 */
const SAME_SIGN_IN = 24 * 3600 * 1000;
/** Last use is written at most this often: a write for every page would be a write for nothing. */
const TOUCH_EVERY = 3600 * 1000;

interface Row extends UserRow {
  place: number;
  session_id: string;
  last_used_at: Date;
  sign_in_id: string | null;
  auth_time: Date;
  acr: string;
  amr: string[];
  consented_scope: string[] | null;
  consented_claims: string[] | null;
}

/** @param idle milliseconds after which an unused session is over */
export function postgresSessions(database: Sql, idle: number): Sessions {
  const find = gathering((presented: readonly PresentedSession[]) => findAll(database, presented, idle));
  return {
    async find(credential: Credential, now: Date, clientId = ''): Promise<Session | undefined> {
      const rows = await find({ credential, now, clientId });
      const [first] = rows;
      if (!first) return undefined;
      if (now.getTime() - first.last_used_at.getTime() > TOUCH_EVERY) await touch(database, credential, now);
      return { id: first.session_id, signIns: rows.filter((row) => row.sign_in_id !== null).map(toSignIn) };
    },

    async signIn(record: NewSignIn, now: Date): Promise<'signed in' | 'gone'> {
      const { session, previous, authentication } = record;
      const samePerson = sql`i.user_id = ${record.userId}::uuid`;
      const renewable = idFloor(new Date(now.getTime() - SAME_SIGN_IN));
      const { rows } = await sql`
        WITH person AS (
          -- All of it, or, when the person's epoch has moved on, nothing.
          SELECT id, epoch FROM users WHERE id = ${record.userId} AND epoch = ${record.userEpoch} AND disabled_at IS NULL
        ), ended AS (
          UPDATE sessions SET ended_at = ${now} FROM person
          WHERE sessions.id = ${previous?.id ?? null}::uuid AND secret_hash = ${previous?.hash ?? null} AND ended_at IS NULL
          RETURNING sessions.id
        ), started AS (
          INSERT INTO sessions (id, secret_hash, created_at, last_used_at)
          SELECT ${session.id}::uuid, ${session.hash}::bytea, ${now}::timestamptz, ${now}::timestamptz FROM person
        ), moved AS (
          UPDATE sign_ins i SET
            session_id = ${session.id},
            auth_time = CASE WHEN ${samePerson} THEN ${now}::timestamptz ELSE i.auth_time END,
            acr = CASE WHEN ${samePerson} THEN ${authentication.acr} ELSE i.acr END,
            amr = CASE WHEN ${samePerson} THEN ${[...authentication.amr]}::text[] ELSE i.amr END,
            expires_at = CASE WHEN ${samePerson} THEN ${record.expiresAt}::timestamptz ELSE i.expires_at END
          FROM ended, users u
          WHERE i.session_id = ended.id AND i.ended_at IS NULL AND i.expires_at > ${now}
            AND u.id = i.user_id AND u.epoch = i.user_epoch
            AND i.id > ${idFloor(new Date(now.getTime() - 2 * SAME_SIGN_IN))} AND (NOT (${samePerson}) OR i.id > ${renewable})
          RETURNING i.id, i.user_id
        ), left_behind AS (
          -- No cookie leads to it any more: what is bound to it could never be signed out of.
          UPDATE sign_ins i SET ended_at = ${now} FROM ended
          WHERE i.session_id = ended.id AND i.ended_at IS NULL AND ${samePerson} AND i.id <= ${renewable}
        ), added AS (
          INSERT INTO sign_ins (id, session_id, user_id, user_epoch, auth_time, acr, amr, expires_at)
          SELECT ${record.signInId}::uuid, ${session.id}::uuid, id, epoch, ${authentication.time}::timestamptz,
                 ${authentication.acr}::text, ${[...authentication.amr]}::text[], ${record.expiresAt}::timestamptz
          FROM person
          WHERE NOT EXISTS (SELECT FROM moved m WHERE m.user_id = ${record.userId})
          RETURNING id
        ), signed_in AS (
          (SELECT m.id FROM moved m WHERE m.user_id = ${record.userId} LIMIT 1) UNION ALL SELECT id FROM added
        ), recorded AS (
          UPDATE pending_authorizations p SET signed_in_at = ${now}, sign_in_id = signed_in.id
          FROM signed_in WHERE p.id = ${record.pendingId ?? null}::uuid AND p.closed_at IS NULL
        )
        SELECT id FROM signed_in`.execute(database);
      return rows.length === 1 ? 'signed in' : 'gone';
    },

    async end(credential: Credential, now: Date): Promise<EndedSignIn[]> {
      const { rows } = await sql<{ id: string; user_id: string }>`
        WITH ended AS (
          UPDATE sessions SET ended_at = ${now}
          WHERE id = ${credential.id} AND secret_hash = ${credential.hash} AND ended_at IS NULL
          RETURNING id
        )
        UPDATE sign_ins SET ended_at = ${now} FROM ended
        WHERE session_id = ended.id AND sign_ins.ended_at IS NULL
        RETURNING sign_ins.id, sign_ins.user_id`.execute(database);
      if (rows.length === 0) return [];
      // After, not with it: a code that was being issued held the update up, and its grant is in no older snapshot.
      const told = await sql<{ sign_in_id: string; client_id: string }>`
        SELECT DISTINCT sign_in_id, client_id FROM grants
        WHERE sign_in_id = ANY (${rows.map(({ id }) => id)}::uuid[]) AND 'openid' = ANY (scope)
          AND id > ${oldestGrant(now)}`.execute(database);
      const clientsOf = (id: string) => told.rows.filter((row) => row.sign_in_id === id).map((row) => row.client_id);
      return rows.map(({ id, user_id }) => ({ id, userId: user_id, clientIds: clientsOf(id) }));
    },
  };
}

interface PresentedSession extends Presented {
  readonly clientId: string;
}

/** The sign-ins of each session, the latest first; one row without any where nobody is signed in. */
async function findAll(database: Sql, presented: readonly PresentedSession[], idle: number): Promise<Row[][]> {
  const earliest = Math.min(...presented.map(({ now }) => now.getTime()));
  const { rows } = await sql<Row>`
    SELECT q.place::integer, s.id AS session_id, s.last_used_at, i.id AS sign_in_id, i.auth_time, i.acr, i.amr,
           u.id, u.username, u.claims, k.scope AS consented_scope, k.claims AS consented_claims
    FROM ${asked(presented)}
    JOIN sessions s ON s.id = q.id AND s.secret_hash = q.secret_hash
    LEFT JOIN (
      sign_ins i JOIN users u ON u.id = i.user_id AND u.epoch = i.user_epoch AND u.disabled_at IS NULL
    ) ON i.session_id = s.id AND i.ended_at IS NULL AND i.expires_at > q.now
      AND i.id > ${idFloor(new Date(earliest - 2 * SAME_SIGN_IN))}
    LEFT JOIN consents k ON k.user_id = u.id AND k.client_id = (${presented.map(({ clientId }) => clientId)}::text[])[q.place]
      AND k.revoked_at IS NULL
    WHERE s.ended_at IS NULL AND s.last_used_at > q.now - ${idle / 1000} * interval '1 second'
    ORDER BY i.auth_time DESC`.execute(database);
  return presented.map((_one, index) => rows.filter(({ place }) => place === index + 1));
}

/** Grants of a sign-in are made while it stands: the id says so, and old partitions are left alone. */
export function oldestGrant(now: Date): string {
  return idFloor(new Date(now.getTime() - 3 * SAME_SIGN_IN));
}

function toSignIn(row: Row): SignIn {
  return {
    id: row.sign_in_id ?? '',
    user: toUser(row),
    authentication: { time: row.auth_time, acr: row.acr, amr: row.amr },
    consentedScope: row.consented_scope ?? [],
    consentedClaims: row.consented_claims ?? [],
  };
}

async function touch(database: Sql, credential: Credential, now: Date): Promise<void> {
  await sql`UPDATE sessions SET last_used_at = ${now} WHERE id = ${credential.id} AND ended_at IS NULL`.execute(
    database,
  );
}

/** For operators: sessions in use, the latest first. */
export async function listSessions(database: Sql, userId: string | undefined, now: Date, limit: number) {
  const { rows } = await sql<{
    sign_in_id: string;
    session_id: string;
    user_id: string;
    username: string;
    auth_time: Date;
    expires_at: Date;
  }>`
    SELECT i.id AS sign_in_id, i.session_id, u.id AS user_id, u.username, i.auth_time, i.expires_at
    FROM sign_ins i JOIN users u ON u.id = i.user_id AND u.epoch = i.user_epoch AND u.disabled_at IS NULL
    WHERE i.ended_at IS NULL AND i.expires_at > ${now} AND i.id > ${idFloor(new Date(now.getTime() - 2 * SAME_SIGN_IN))}
      AND ${userId === undefined ? sql`true` : sql`i.user_id = ${userId}::uuid`}
    ORDER BY i.auth_time DESC LIMIT ${limit}`.execute(database);
  return rows;
}

/** For operators: ends a session with all its sign-ins, by its id. */
export async function endSession(database: Sql, sessionId: string, now: Date): Promise<'ended' | 'unknown'> {
  const { rows } = await sql`
    WITH ended AS (
      UPDATE sessions SET ended_at = ${now} WHERE id = ${sessionId} AND ended_at IS NULL RETURNING id
    ), signed_out AS (
      UPDATE sign_ins SET ended_at = ${now} FROM ended WHERE session_id = ended.id AND sign_ins.ended_at IS NULL
    )
    SELECT id FROM ended`.execute(database);
  return rows.length === 0 ? 'unknown' : 'ended';
}
