/** Exchanges in PostgreSQL: RFC 8693. A row is a step and, if it was allowed, its token; the ledger asks whether that stands. */

import { sql } from 'kysely';
import type { Exchanges, Step } from '../protocol/exchanges.ts';
import { seconds } from '../protocol/jose.ts';
import { mintId, sha256 } from '../protocol/secrets.ts';
import type { Sql } from './database.ts';
import { andNotRefused, type Marked, selectMarked, usedMark, withMarks } from './replay-marks.pg.ts';

export function postgresExchanges(database: Sql): Exchanges {
  return {
    async record(step, minted, now) {
      const { marks, jti, expiresAt, accessToken } = minted;
      const { call, authentication, cnf } = step;
      const json = (value: unknown) => sql`${value === undefined ? null : JSON.stringify(value)}::jsonb`;
      const signedIn = authentication && {
        time: seconds(authentication.time),
        acr: authentication.acr,
        amr: authentication.amr,
      };
      // Not gathered: a row has twenty-five columns, some of them lists of their own.
      const calls = [minted];
      const { rows } = await sql<Marked>`
        ${withMarks(calls)} recorded AS (
          INSERT INTO exchanges (id, secret_hash, txn, parent, client_id, subject, user_id, grant_id, actor_grants, lineage, clients, hops,
                                 act, origin, authentication, policy, source, target, scope, audience, cnf, issued_token_type, issued_at,
                                 expires_at, request_id)
          SELECT ${jti}::uuid, ${accessToken?.hash ?? null}::bytea, ${call.txn}::text, ${step.parent}::text, ${step.clientId}::text,
                 ${call.subject}::text, ${step.userId ?? null}::uuid, ${step.grantId ?? null}::uuid, ${[...call.actorGrants]}::uuid[],
                 ${[...call.lineage]}::uuid[], ${[...call.clients]}::text[], ${json(call.hops)}, ${json(call.act)}, ${json(call.origin)},
                 ${json(signedIn)}, ${call.hops.at(-1)?.policy ?? null}::text, ${step.source ?? null}::text, ${step.target}::text, ${[...step.scope]}::text[],
                 ${[...step.audience]}::text[], ${json(cnf)}, ${step.issuedTokenType}::text, ${now}::timestamptz, ${expiresAt}::timestamptz,
                 ${step.requestId}::text
          FROM (SELECT 1 AS place) AS q WHERE true ${andNotRefused(calls, 'q.place')}
        )
        SELECT ${selectMarked(calls)}`.execute(database);
      return usedMark(marks, rows[0]);
    },

    async refuse(step, now) {
      await sql`
        INSERT INTO exchanges (id, txn, parent, client_id, subject, user_id, grant_id, hops, origin, source, target, scope, issued_at, refused,
                               request_id)
        VALUES (${refusalId(step, step.rule, now)}, ${step.txn}, ${step.parent}, ${step.clientId}, ${step.subject}, ${step.userId ?? null},
                ${step.grantId ?? null}, ${JSON.stringify(step.hops)}::jsonb, ${JSON.stringify(step.origin)}::jsonb, ${step.source ?? null},
                ${step.target}, ${[...step.scope]}::text[], ${now}, ${step.rule}, ${step.requestId})
        ON CONFLICT (id) DO UPDATE SET times = exchanges.times + 1`.execute(database);
    },
  };
}

/**
 * Equal refusals of a minute share an id, and so a row: whoever asks in a loop fills no disk. Equal in whose call it is too: another domain
 * chooses its names, and one that repeats a `jti` must not have its own step counted in place of somebody else's.
 */
function refusalId({ txn, origin, subject, parent, clientId, source, target }: Step, rule: string, now: Date): string {
  const minute = new Date(Math.floor(now.getTime() / 60_000) * 60_000);
  const equal = [txn, origin.iss, origin.jti, subject, parent, clientId, source, target, rule];
  return mintId(minute, () => sha256(JSON.stringify(equal)).subarray(0, 16));
}
