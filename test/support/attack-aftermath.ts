/** What an attack left behind: rows, audit events, and whether a secret lies anywhere in the database in clear. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { rawJws } from './client-key.ts';

interface OnDatabase {
  readonly databaseUrl: string;
}

/** Rows of what gives access: nothing refused may add one. */
export interface Tally {
  readonly authorization_codes: number;
  readonly access_tokens: number;
  readonly refresh_tokens: number;
  readonly grants: number;
}

export interface AuditRow {
  readonly id: string;
  readonly event: string;
  readonly client_id: string | null;
  readonly user_id: string | null;
  readonly source: string | null;
  readonly times: number;
  readonly detail: { readonly route?: string; readonly error?: string } | null;
}

export async function query<Row>({ databaseUrl }: OnDatabase, text: string, values: unknown[] = []): Promise<Row[]> {
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    return (await client.query(text, values)).rows as Row[];
  } finally {
    await client.end();
  }
}

export async function tally(world: OnDatabase): Promise<Tally> {
  const [row] = await query<Tally>(
    world,
    `SELECT (SELECT count(*)::int FROM authorization_codes) AS authorization_codes,
            (SELECT count(*)::int FROM access_tokens) AS access_tokens,
            (SELECT count(*)::int FROM refresh_tokens) AS refresh_tokens,
            (SELECT count(*)::int FROM grants) AS grants`,
  );
  if (!row) throw new Error('no tally');
  return row;
}

/** The audit trail so far, oldest first. Written once a second: {@link auditOf} waits. */
export function auditTrail({ databaseUrl }: OnDatabase): Promise<AuditRow[]> {
  return query<AuditRow>(
    { databaseUrl },
    'SELECT id, event, client_id, user_id, source, times, detail FROM audit ORDER BY id',
  );
}

/**
 * Runs an attack and waits for the trail it leaves: the rows added since, counting repeats, once `event` is among them.
 * An event that never comes shows as the caller's time running out.
 * @param nodes addresses of all nodes that have been asked anything, if that is not the world's own alone
 */
export async function auditOf(
  world: OnDatabase & { readonly issuer: string },
  event: string,
  attack: () => Promise<unknown>,
  nodes: readonly string[] = [world.issuer],
): Promise<AuditRow[]> {
  await writtenDown(world, nodes);
  const before = new Map((await auditTrail(world)).map(({ id, times }) => [id, times]));
  // Equal refusals of a minute are one row: what is new may be that it counts one more.
  const added = async () =>
    (await auditTrail(world))
      .map((row) => ({ ...row, times: row.times - (before.get(row.id) ?? 0) }))
      .filter(({ times, client_id }) => times > 0 && !client_id?.startsWith(MARKER));
  await attack();
  while (!(await added()).some((row) => row.event === event)) await delay(20);
  await writtenDown(world, nodes);
  return added();
}

const MARKER = 'the-last-one-so-far-';

/** Waits until all that nodes were asked so far is in the trail: what each is asked last is, and each writes in order. */
async function writtenDown(world: OnDatabase, nodes: readonly string[]): Promise<void> {
  for (const node of nodes) {
    const client_id = MARKER + randomUUID();
    // Refused under every profile, and told by the name it claims.
    const client_assertion = rawJws({ alg: 'ES256' }, { sub: client_id });
    const client_assertion_type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
    const body = new URLSearchParams({ grant_type: 'client_credentials', client_assertion, client_assertion_type });
    await fetch(`${node}/token`, { method: 'POST', body });
    while (!(await auditTrail(world)).some((row) => row.client_id === client_id)) await delay(20);
  }
}

/** Every row of every table, as text; bytes in hexadecimal. */
export async function dump(world: OnDatabase): Promise<string> {
  const tables = await query<{ name: string }>(
    world,
    `SELECT quote_ident(c.relname) AS name FROM pg_class c
     WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' ORDER BY 1`,
  );
  const parts: string[] = [];
  for (const { name } of tables) {
    const rows = await query<{ row: string }>(world, `SELECT t::text AS row FROM ${name} t`);
    parts.push(...rows.map(({ row }) => `${name} ${row}`));
  }
  return parts.join('\n');
}

/** Waits until every node has seen a change of the catalogue: none serves anything older than a second. */
export function caughtUp(): Promise<void> {
  return delay(1100);
}
