/** Sign-in attempts in PostgreSQL: counted by upsert, so parallel ones on many nodes add up. */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { toUser, type UserRow } from '../../postgres/people.pg.ts';
import { ATTEMPT_WINDOW, type Attempt, type AttemptKeys, type Attempts } from './index.ts';

interface Row extends Omit<UserRow, 'id'> {
  id: string | null;
  epoch: number;
  password_hash: string;
  source_failures: number;
  account_failures: number;
  source_since: Date;
  account_since: Date;
}

export function postgresAttempts(database: Sql): Attempts {
  return {
    async begin(name: string, keys: AttemptKeys, now: Date): Promise<Attempt> {
      const over = new Date(now.getTime() - ATTEMPT_WINDOW);
      const { rows } = await sql<Row>`
        WITH counted AS (
          INSERT INTO sign_in_attempts AS a (key, window_start, failures)
          SELECT key, ${now}::timestamptz, 1 FROM unnest(${ordered(keys)}::bytea[]) AS key
          ON CONFLICT (key) DO UPDATE SET
            failures = CASE WHEN a.window_start <= ${over} THEN 1 ELSE a.failures + 1 END,
            window_start = CASE WHEN a.window_start <= ${over} THEN ${now}::timestamptz ELSE a.window_start END
          RETURNING key, failures, window_start
        )
        SELECT s.failures AS source_failures, a.failures AS account_failures, s.window_start AS source_since,
               a.window_start AS account_since,
               u.id, u.username, u.claims, u.epoch, u.password_hash
        FROM counted s
        JOIN counted a ON a.key = ${keys.account}
        LEFT JOIN users u ON (u.username_key = ${name} OR u.email_key = ${name}) AND u.disabled_at IS NULL
        WHERE s.key = ${keys.source}`.execute(database);
      const [row] = rows;
      if (!row) throw new Error('an attempt was not counted');
      return {
        failures: { source: row.source_failures, account: row.account_failures },
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
          SELECT key FROM sign_in_attempts WHERE key = ANY(${ordered(keys)}::bytea[]) ORDER BY key FOR UPDATE
        ), cleared AS (
          DELETE FROM sign_in_attempts a USING held WHERE a.key = held.key AND a.key = ${keys.account}
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

/** Rows are locked in the order of their keys, or two sign-ins could wait for each other. */
function ordered({ source, account }: AttemptKeys): Buffer[] {
  return [source, account].sort(Buffer.compare);
}
