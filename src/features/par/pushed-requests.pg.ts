/** Pushed requests in PostgreSQL: each verb one statement. They are used up where codes are issued (codes.pg.ts). */
import { sql } from 'kysely';
import type { Sql } from '../../postgres/database.ts';
import { gathering, inPlace } from '../../postgres/gathering.ts';
import {
  andNotRefused,
  gatheringMarks,
  type Marked,
  selectMarked,
  usedMark,
  type WithMarks,
  withMarks,
} from '../../postgres/replay-marks.pg.ts';
import { Parameters } from '../../protocol/message.ts';
import type { ReplayMark } from '../../protocol/replay.ts';
import type { Credential } from '../../protocol/secrets.ts';
import type { PushedRequest, PushedRequests } from './index.ts';

interface Row {
  place: number;
  parameters: [string, string][];
  registration: Buffer;
}

export function postgresPushedRequests(database: Sql): PushedRequests {
  const push = gatheringMarks((calls: readonly Pushing[]) => pushAll(database, calls));
  const find = gathering((calls: readonly Finding[]) => findAll(database, calls));
  return {
    push: (credential, clientId, request, marks) => push({ credential, clientId, request, marks }),
    find: (credential, clientId, now) => find({ credential, clientId, now }),
  };
}

interface Pushing extends WithMarks {
  readonly credential: Credential;
  readonly clientId: string;
  readonly request: PushedRequest & { readonly expiresAt: Date };
}

async function pushAll(database: Sql, calls: readonly Pushing[]): Promise<(ReplayMark | undefined)[]> {
  const { rows } = await sql<Marked>`
    ${withMarks(calls)} pushed AS (
      INSERT INTO pushed_requests (id, secret_hash, client_id, parameters, registration, expires_at)
      SELECT q.id, q.secret_hash, q.client_id, q.parameters, q.registration, q.expires_at
      FROM unnest(
        ${calls.map(({ credential }) => credential.id)}::uuid[], ${calls.map(({ credential }) => credential.hash)}::bytea[],
        ${calls.map(({ clientId }) => clientId)}::text[],
        ${calls.map(({ request }) => JSON.stringify(request.parameters.pairs()))}::jsonb[],
        ${calls.map(({ request }) => request.registration)}::bytea[], ${calls.map(({ request }) => request.expiresAt)}::timestamptz[]
      ) WITH ORDINALITY AS q (id, secret_hash, client_id, parameters, registration, expires_at, place)
      WHERE true ${andNotRefused(calls, 'q.place')}
    )
    SELECT ${selectMarked(calls)}`.execute(database);
  return calls.map(({ marks }) => usedMark(marks, rows[0]));
}

interface Finding {
  readonly credential: Credential;
  readonly clientId: string;
  readonly now: Date;
}

async function findAll(database: Sql, calls: readonly Finding[]): Promise<(PushedRequest | undefined)[]> {
  const { rows } = await sql<Row>`
    SELECT q.place::integer, p.parameters, p.registration
    FROM unnest(
      ${calls.map(({ credential }) => credential.id)}::uuid[], ${calls.map(({ credential }) => credential.hash)}::bytea[],
      ${calls.map(({ clientId }) => clientId)}::text[], ${calls.map(({ now }) => now)}::timestamptz[]
    ) WITH ORDINALITY AS q (id, secret_hash, client_id, now, place)
    JOIN pushed_requests p ON p.id = q.id AND p.secret_hash = q.secret_hash AND p.client_id = q.client_id
    WHERE p.expires_at > q.now AND p.consumed_at IS NULL`.execute(database);
  return inPlace(rows, calls.length).map(
    (row) => row && { parameters: new Parameters(row.parameters), registration: row.registration },
  );
}
