/** Pushed requests in PostgreSQL: each verb one statement. They are used up where codes are issued (codes.pg.ts). */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { andAllMarked, type Spent, spent, usedMark, withMarks } from '../../postgres/replay-marks.pg.ts';
import { Parameters } from '../../protocol/message.ts';
import type { PushedRequests } from './index.ts';

interface Row {
  parameters: [string, string][];
  registration: Buffer;
}

export function postgresPushedRequests(database: Sql): PushedRequests {
  return {
    async push({ id, hash }, clientId, { parameters, registration, expiresAt }, marks) {
      const { rows } = await sql<Spent>`
        ${withMarks(marks)} pushed AS (
          INSERT INTO pushed_requests (id, secret_hash, client_id, parameters, registration, expires_at)
          SELECT ${id}::uuid, ${hash}::bytea, ${clientId}::text, ${JSON.stringify(parameters.pairs())}::jsonb,
                 ${registration}::bytea, ${expiresAt}::timestamptz
          WHERE true ${andAllMarked(marks)}
          RETURNING id
        )
        ${spent('pushed', marks)}`.execute(database);
      return rows[0]?.spent ? undefined : usedMark(marks, rows[0]);
    },

    async find({ id, hash }, clientId, now) {
      const { rows } = await sql<Row>`
        SELECT parameters, registration FROM pushed_requests
        WHERE id = ${id} AND secret_hash = ${hash} AND client_id = ${clientId}
          AND expires_at > ${now} AND consumed_at IS NULL`.execute(database);
      const [row] = rows;
      return row && { parameters: new Parameters(row.parameters), registration: row.registration };
    },
  };
}
