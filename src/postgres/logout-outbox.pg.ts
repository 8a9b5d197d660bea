/**
 * The way into the outbox of logout tokens (Back-Channel Logout 1.0), for every statement that ends what clients were told
 * of by an ID token. It is one statement with the end itself: neither is there without the other.
 *
 * A delivery's key is the client's latest OpenID grant of the sign-in. So an end that is noticed twice (an operator revokes
 * the grant, the person signs out) is told once, and a client that came back in between is told again.
 */
import { type RawBuilder, sql } from 'kysely';
import { oldestGrant } from './sessions.pg.ts';

/**
 * An INSERT for a common table expression.
 * @param ended a table expression: `sign_in_id`, and `client_id`, NULL for all clients of that sign-in. Of sign-ins that
 * were announced before nothing more is to be said
 */
export function queueLogouts(ended: string, now: Date): RawBuilder<unknown> {
  return sql`
    INSERT INTO logout_deliveries (grant_id, client_id, user_id, sign_in_id, queued_at, next_attempt_at)
    SELECT DISTINCT ON (g.sign_in_id, g.client_id)
           g.id, g.client_id, g.user_id, g.sign_in_id, ${now}::timestamptz, ${now}::timestamptz
    FROM ${sql.table(ended)} e
    -- By ANY once more: so that no plan reads all grants for a few.
    JOIN grants g ON g.sign_in_id = ANY (ARRAY(SELECT sign_in_id FROM ${sql.table(ended)}))
      AND g.sign_in_id = e.sign_in_id AND g.client_id = coalesce(e.client_id, g.client_id)
      AND 'openid' = ANY (g.scope) AND g.id > ${oldestGrant(now)}
    JOIN clients c ON c.id = g.client_id AND c.metadata ->> 'backchannel_logout_uri' IS NOT NULL
    ORDER BY g.sign_in_id, g.client_id, g.id DESC
    ON CONFLICT DO NOTHING`;
}
