/**
 * Fills a database of Gatehouse with what years of use leave behind: live tokens, and the grants, people, sign-ins and events
 * that belong to them, straight into their partitions.
 *
 * Every row's id and secret follow from its number, so each can be presented: `id = UUIDv7(time of the row ‖ md5(kind, number))`,
 * `secret = sha256(kind, number)`, of which the table holds the digest as always. Times run evenly over the life of a table.
 */
import { createHash } from 'node:crypto';
import { Client } from 'pg';
import { PARTITIONED } from '../../src/postgres/partitions.ts';
import { idFloor } from '../../src/protocol/secrets.ts';
import { type Series, tables } from './tables.ts';

/** Credentials of rows from all over a table. */
export interface Samples {
  readonly accessTokens: readonly string[];
  readonly refreshTokens: readonly string[];
}

export interface Filled {
  readonly samples: Samples;
  readonly seconds: number;
  readonly tables: readonly { name: string; rows: number; bytes: number; partitions: number }[];
}

export interface FillOptions {
  readonly databaseUrl: string;
  /** Live access tokens; all else follows from it. */
  readonly tokens: number;
  /** How many credentials of each kind are wanted back. */
  readonly samples: number;
  /** `recent`: everything happened a moment ago; all but the latest partitions are empty. */
  readonly history: 'years' | 'recent';
}

/** Rows of one INSERT. */
const CHUNK = 100_000;
export async function fill(options: FillOptions): Promise<Filled> {
  const { databaseUrl, tokens, history } = options;
  const began = performance.now();
  const now = new Date();
  const client = new Client({ connectionString: databaseUrl });
  await client.connect();
  try {
    for (const helper of HELPERS) await client.query(helper);
    const series = tables({ tokens, now: now.getTime(), history });
    // As many as in a database of that age, in both: what is compared is rows.
    await makePastPartitions(client, tables({ tokens, now: now.getTime(), history: 'years' }), now);
    for (const { name, rows, insert } of series) {
      for (let first = 0; first < rows; first += CHUNK)
        await client.query(insert, [first, Math.min(first + CHUNK, rows) - 1]);
      if (history === 'years') console.log(`  ${name}: ${rows.toLocaleString('en-US')} rows`);
    }
    // As a database that became so large in years was, behind its inserts. Otherwise autovacuum does it while it is measured, and
    // whoever first reads a page writes to it.
    await client.query('VACUUM (ANALYZE)');
    return {
      samples: {
        accessTokens: await credentials(client, series, 'access_tokens', 'gate_at_', options.samples),
        refreshTokens: await credentials(client, series, 'refresh_tokens', 'gate_rt_', options.samples),
      },
      seconds: (performance.now() - began) / 1000,
      tables: await sizes(client, series),
    };
  } finally {
    await client.end();
  }
}

/** Of the session, so nothing of them stays. All they use is immutable, or PostgreSQL would call them instead of taking their text in. */
const HELPERS = [
  `CREATE FUNCTION pg_temp.row_id(milliseconds bigint, kind text, number bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
     SELECT (lpad(to_hex(milliseconds), 12, '0') || '7' || substr(md5(kind || number::text), 1, 3) || '8' || substr(md5(kind || number::text), 4, 15))::uuid $$`,
  `CREATE FUNCTION pg_temp.secret_hash(kind text, number bigint) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$
     SELECT sha256(sha256((kind || number::text)::bytea)) $$`,
  `CREATE FUNCTION pg_temp.at(milliseconds bigint) RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$
     SELECT to_timestamp(milliseconds::float8 / 1000) $$`,
];

/** Those that the rows need, by the names and bounds of src/postgres/partitions.ts: the server takes them for its own. */
async function makePastPartitions(client: Client, series: readonly Series[], now: Date): Promise<void> {
  for (const { name, back } of series) {
    if (!Object.hasOwn(PARTITIONED, name)) continue;
    const { span } = PARTITIONED[name as keyof typeof PARTITIONED];
    const present = Math.floor(now.getTime() / 1000 / span) * span;
    for (let start = present; start + span > (now.getTime() - back) / 1000; start -= span) {
      const bounds = [start, start + span].map((second) => idFloor(new Date(second * 1000)));
      await client.query(
        `CREATE TABLE IF NOT EXISTS ${name}_${start} PARTITION OF ${name} FOR VALUES FROM ('${bounds[0]}') TO ('${bounds[1]}')`,
      );
    }
  }
}

/** Credentials of `count` rows, evenly spread over those that are live. */
async function credentials(
  client: Client,
  series: readonly Series[],
  name: string,
  prefix: string,
  count: number,
): Promise<string[]> {
  const one = series.find((candidate) => candidate.name === name);
  if (!one) throw new Error(`No table ${name} is filled.`);
  const live = one.rows - one.firstLive;
  const numbers = Array.from({ length: Math.min(count, live) }, (_, index) =>
    Math.floor(one.firstLive + (live * index) / Math.min(count, live)),
  );
  const { rows } = await client.query<{ n: string; id: string }>(
    `SELECT n, ${one.id} AS id FROM unnest($1::bigint[]) AS n`,
    [numbers],
  );
  return rows.map(({ n, id }) => {
    const secret = createHash('sha256').update(`${name}${n}`).digest();
    return prefix + Buffer.concat([Buffer.from(id.replaceAll('-', ''), 'hex'), secret]).toString('base64url');
  });
}

async function sizes(client: Client, series: readonly Series[]) {
  const found: { name: string; rows: number; bytes: number; partitions: number }[] = [];
  for (const { name, rows } of series) {
    const { rows: sums } = await client.query<{ bytes: string; partitions: string }>(
      `SELECT coalesce(sum(pg_total_relation_size(relid)), 0) AS bytes, count(*) FILTER (WHERE isleaf) AS partitions
       FROM pg_partition_tree($1::regclass)`,
      [name],
    );
    const plain = await client.query<{ bytes: string }>('SELECT pg_total_relation_size($1::regclass) AS bytes', [name]);
    const [sum] = sums;
    const partitions = Number(sum?.partitions ?? 0);
    found.push({ name, rows, partitions, bytes: Number(partitions > 0 ? sum?.bytes : plain.rows[0]?.bytes) });
  }
  return found;
}
