/**
 * The audit trail: events gathered and written once a second, or a thousand of them, in one statement, equal refusals of
 * a minute as one row. The gathering is bounded: beyond it events are dropped and counted, the protocol never waits for its own diary. A
 * process that is killed may lose the last second.
 */
import { sql } from 'kysely';
import type { Context } from '../protocol/context.ts';
import { isUuid, mintId, sha256 } from '../protocol/secrets.ts';
import type { Sql } from './database.ts';

export interface AuditEvent {
  readonly event: string;
  readonly requestId?: string | undefined;
  readonly clientId?: string | undefined;
  readonly userId?: string | undefined;
  readonly grantId?: string | undefined;
  readonly source?: string | undefined;
  readonly detail?: Readonly<Record<string, unknown>> | undefined;
  /** Refusals are gathered by minute; what was done is not. */
  readonly refusal: boolean;
}

/** What is `undefined` is left out of the JSON, and is NULL in the table. */
interface Row {
  id: string;
  /** Seconds. */
  at: number;
  event: string;
  request_id: string | undefined;
  client_id: string | undefined;
  user_id: string | undefined;
  grant_id: string | undefined;
  source: string | undefined;
  times: number;
  detail: unknown;
}

const MOST = 10_000;
/** So many are written without waiting for the second to be over. */
const BATCH = 1000;

/** Equal refusals of a minute share an id, and so a row, whichever batch or node they come in. */
function refusalId({ event, clientId = '', userId = '', source = '' }: AuditEvent, now: Date): string {
  const minute = new Date(Math.floor(now.getTime() / 60_000) * 60_000);
  return mintId(minute, () => sha256(JSON.stringify([event, clientId, userId, source])).subarray(0, 16));
}

export class Audit {
  readonly #database: Sql;
  readonly #context: Context;
  readonly #onError: ((error: unknown) => void) | undefined;
  #gathered = new Map<string, Row>();
  #flushing: Promise<void> = Promise.resolve();
  dropped = 0;

  constructor(database: Sql, context: Context, onError?: (error: unknown) => void) {
    this.#database = database;
    this.#context = context;
    this.#onError = onError;
  }

  record(event: AuditEvent): void {
    const now = this.#context.now();
    const id = event.refusal ? refusalId(event, now) : mintId(now, this.#context.random);
    const known = this.#gathered.get(id);
    if (known) {
      known.times += 1;
      return;
    }
    // A flood of refusals leaves room for what was done.
    if (this.#gathered.size >= (event.refusal ? MOST / 2 : MOST)) {
      this.dropped += 1;
      return;
    }
    this.#gathered.set(id, {
      id,
      at: now.getTime() / 1000,
      event: event.event,
      request_id: event.requestId,
      client_id: event.clientId,
      user_id: isUuid(event.userId) ? event.userId : undefined,
      grant_id: isUuid(event.grantId) ? event.grantId : undefined,
      source: event.source,
      times: 1,
      detail: event.detail,
    });
    if (this.#gathered.size === BATCH) void this.flush();
  }

  /** Writes what was gathered; on failure it is kept for the next time. */
  flush(): Promise<void> {
    this.#flushing = this.#flushing.then(() => this.#write());
    return this.#flushing;
  }

  async #write(): Promise<void> {
    if (this.#gathered.size === 0) return;
    const rows = this.#gathered;
    this.#gathered = new Map();
    try {
      await sql`
        INSERT INTO audit (id, at, event, request_id, client_id, user_id, grant_id, source, times, detail)
        SELECT id, to_timestamp(at), event, request_id, client_id, user_id, grant_id, source, times, detail
        FROM jsonb_to_recordset(${storable(JSON.stringify([...rows.values()]))}::jsonb)
          AS r(id uuid, at double precision, event text, request_id text, client_id text, user_id uuid, grant_id uuid,
               source text, times integer, detail jsonb)
        ORDER BY id -- two nodes under one attack must not wait for each other
        ON CONFLICT (id) DO UPDATE SET times = audit.times + excluded.times`.execute(this.#database);
    } catch (error) {
      this.#onError?.(error);
      for (const [key, row] of rows) {
        const newer = this.#gathered.get(key);
        if (newer) newer.times += row.times;
        else if (this.#gathered.size < MOST) this.#gathered.set(key, row);
        else this.dropped += 1;
      }
    }
  }
}

const UNSTORABLE = /(?<!\\)((?:\\\\)*)\\u(?:0000|d[89a-f][0-9a-f]{2})/g;

/**
 * JSON without what PostgreSQL has no text for, NUL and halves of characters: one of them would keep the whole batch out, for
 * good. JSON.stringify writes just those as escapes; a backslash that is text has another one before it.
 */
function storable(json: string): string {
  return json.replace(UNSTORABLE, '$1\\ufffd');
}
