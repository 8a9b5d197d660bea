/** Logout deliveries in PostgreSQL: each verb one guarded statement. */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { queueLogouts } from '../../postgres/logout-outbox.pg.ts';
import type { Deliveries, Delivery } from './outbox.ts';

/** Sign-ins announced by one statement. */
const BATCH = 200;

interface Row {
  grant_id: string;
  client_id: string;
  user_id: string;
  sign_in_id: string;
  queued_at: Date;
  attempts: number;
}

export function postgresDeliveries(database: Sql): Deliveries {
  return {
    async announce(now) {
      // Announced, a sign-in has ended: a node whose clock is behind cannot renew one that expired.
      // By ANY: a join with what is over would read all of the sign-ins, as long as they are not too many.
      const { rows } = await sql`
        WITH over AS MATERIALIZED (
          SELECT id FROM sign_ins
          WHERE announced_at IS NULL AND least(ended_at, expires_at) <= ${now}
          LIMIT ${sql.lit(BATCH)} FOR UPDATE SKIP LOCKED
        ), announced AS (
          UPDATE sign_ins i SET announced_at = ${now}, ended_at = least(i.ended_at, i.expires_at)
          WHERE i.id = ANY (ARRAY(SELECT id FROM over))
          RETURNING i.id AS sign_in_id, NULL::text AS client_id
        ), queued AS (${queueLogouts('announced', now)})
        SELECT sign_in_id FROM announced`.execute(database);
      return rows.length === BATCH ? 'more' : 'done';
    },

    async claim(crowded, now, until) {
      const { rows } = await sql<Row>`
        WITH due AS MATERIALIZED (
          SELECT grant_id FROM logout_deliveries
          WHERE next_attempt_at <= ${now} AND client_id <> ALL (${[...crowded]}::text[])
          ORDER BY next_attempt_at LIMIT 1 FOR UPDATE SKIP LOCKED
        )
        UPDATE logout_deliveries d SET attempts = d.attempts + 1, next_attempt_at = ${until}
        WHERE d.grant_id = (SELECT grant_id FROM due)
        RETURNING d.grant_id, d.client_id, d.user_id, d.sign_in_id, d.queued_at, d.attempts`.execute(database);
      return rows[0] && toDelivery(rows[0]);
    },

    async settle(delivery, outcome, now) {
      const { rows } = await sql`
        UPDATE logout_deliveries SET
          next_attempt_at = ${outcome.kind === 'retry' ? outcome.at : null}::timestamptz,
          last_error = ${outcome.kind === 'delivered' ? null : outcome.error}::text,
          delivered_at = ${outcome.kind === 'delivered' ? now : null}::timestamptz,
          failed_at = ${outcome.kind === 'failed' ? now : null}::timestamptz
        WHERE grant_id = ${delivery.grantId} AND attempts = ${delivery.attempt} AND next_attempt_at IS NOT NULL
        RETURNING grant_id`.execute(database);
      return rows.length === 1 ? 'settled' : 'overtaken';
    },
  };
}

function toDelivery(row: Row): Delivery {
  return {
    grantId: row.grant_id,
    clientId: row.client_id,
    userId: row.user_id,
    signInId: row.sign_in_id,
    queuedAt: row.queued_at,
    attempt: row.attempts,
  };
}

export const deliveryStates = ['pending', 'delivered', 'failed'] as const;
export type DeliveryState = (typeof deliveryStates)[number];

/** For operators: deliveries, the latest first. */
export async function listLogoutDeliveries(
  database: Sql,
  filter: { clientId?: string | undefined; state?: DeliveryState | undefined },
  limit: number,
) {
  const { rows } = await sql<{
    client_id: string;
    user_id: string;
    username: string;
    sign_in_id: string;
    state: DeliveryState;
    attempts: number;
    queued_at: Date;
    next_attempt_at: Date | null;
    delivered_at: Date | null;
    failed_at: Date | null;
    last_error: string | null;
  }>`
    SELECT d.client_id, d.user_id, u.username, d.sign_in_id, s.state, d.attempts, d.queued_at, d.next_attempt_at,
           d.delivered_at, d.failed_at, d.last_error
    FROM logout_deliveries d
    JOIN users u ON u.id = d.user_id
    CROSS JOIN LATERAL (
      SELECT CASE WHEN d.delivered_at IS NOT NULL THEN 'delivered' WHEN d.failed_at IS NOT NULL THEN 'failed' ELSE 'pending' END AS state
    ) s
    WHERE ${filter.clientId === undefined ? sql`true` : sql`d.client_id = ${filter.clientId}`}
      AND ${filter.state === undefined ? sql`true` : sql`s.state = ${filter.state}`}
    ORDER BY d.queued_at DESC, d.grant_id DESC LIMIT ${limit}`.execute(database);
  return rows;
}
