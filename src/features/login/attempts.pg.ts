/** Sign-in attempts in PostgreSQL: counted by upsert, so parallel ones on many nodes add up. */
import { type RawBuilder, sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { toUser, type UserRow } from '../../postgres/people.pg.ts';
import { ATTEMPT_WINDOW, type Attempt, type AttemptKeys, type Attempts } from './index.ts';

interface Row extends Omit<UserRow, 'id'> {
  id: string | null;
  epoch: number;
  password_hash: string;
  source_failures: number;
  account_failures: number;
  person_failures: number;
  source_since: Date;
  account_since: Date;
}

export function postgresAttempts(database: Sql): Attempts {
  return {
    async begin(name: string, keys: AttemptKeys, now: Date): Promise<Attempt> {
      const over = new Date(now.getTime() - ATTEMPT_WINDOW);
      const { rows } = await sql<Row>`
        WITH person AS (
          SELECT id, username, claims, epoch, password_hash FROM users
          WHERE (username_key = ${name} OR email_key = ${name}) AND disabled_at IS NULL
        ), who AS (
          SELECT ${personKey(keys, sql`coalesce((SELECT id::text FROM person), ${name})`)} AS key
        ), counted AS (
          -- Rows are locked in the order of their keys, or two sign-ins could wait for each other.
          INSERT INTO sign_in_attempts AS a (key, window_start, failures)
          SELECT key, ${now}::timestamptz, 1
          FROM (SELECT unnest(${[keys.source, keys.account]}::bytea[]) AS key UNION SELECT key FROM who) AS k ORDER BY key
          ON CONFLICT (key) DO UPDATE SET
            failures = CASE WHEN a.window_start <= ${over} THEN 1 ELSE a.failures + 1 END,
            window_start = CASE WHEN a.window_start <= ${over} THEN ${now}::timestamptz ELSE a.window_start END
          RETURNING key, failures, window_start
        )
        SELECT s.failures AS source_failures, a.failures AS account_failures, p.failures AS person_failures,
               s.window_start AS source_since, a.window_start AS account_since,
               u.id, u.username, u.claims, u.epoch, u.password_hash
        FROM counted s
        JOIN counted a ON a.key = ${keys.account}
        JOIN counted p ON p.key = (SELECT key FROM who)
        LEFT JOIN person u ON true
        WHERE s.key = ${keys.source}`.execute(database);
      const [row] = rows;
      if (!row) throw new Error('an attempt was not counted');
      return {
        failures: { source: row.source_failures, account: row.account_failures, person: row.person_failures },
        since: { source: row.source_since, account: row.account_since },
        person:
          row.id === null
            ? undefined
            : { user: toUser({ ...row, id: row.id }), epoch: row.epoch, passwordHash: row.password_hash },
      };
    },

    async succeeded(keys: AttemptKeys, { userId, epoch, rehash = null }): Promise<void> {
      await sql`
        WITH held AS (
          SELECT key FROM sign_in_attempts
          WHERE key = ANY(${[keys.source, keys.account]}::bytea[]) OR key = ${personKey(keys, sql`${userId}::text`)}
          ORDER BY key FOR UPDATE
        ), cleared AS (
          DELETE FROM sign_in_attempts a USING held WHERE a.key = held.key AND a.key <> ${keys.source}
        ), taken_back AS (
          UPDATE sign_in_attempts a SET failures = greatest(failures - 1, 0)
          FROM held WHERE a.key = held.key AND a.key = ${keys.source}
        )
        UPDATE users SET password_hash = ${rehash}
        WHERE id = ${userId} AND epoch = ${epoch} AND ${rehash}::text IS NOT NULL`.execute(database);
    },

    async forget(before: Date): Promise<void> {
      // What somebody is counting on just now is not over, or will be the next time.
      await sql`
        DELETE FROM sign_in_attempts WHERE key IN (
          SELECT key FROM sign_in_attempts WHERE window_start < ${before} FOR UPDATE SKIP LOCKED)`.execute(database);
    },
  };
}

/** The count of whoever a name leads to: a person's id, or, where there is nobody, the name itself. */
function personKey(keys: AttemptKeys, who: RawBuilder<unknown>): RawBuilder<unknown> {
  return sql`sha256(${keys.person}::bytea || convert_to(${who}, 'UTF8'))`;
}
