/**
 * Partitions: tables of short-lived things are RANGE-partitioned by the time inside their UUIDv7 ids.
 *
 *   inserts go to the newest partition · a look-up by id touches one · what is over is dropped whole
 *
 * So there is no janitor and no bloat. {@link keepPartitions} runs on every node now and then: under one advisory lock
 * it makes what is missing from a little before now to a little ahead, and drops what nothing can need any more. A
 * missed run heals at the next one, and an INSERT that comes too early makes its own (database.ts).
 */
import { sql } from 'kysely';
import { idFloor } from '../protocol/secrets.ts';
import type { Sql } from './database.ts';

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

interface Life {
  /** Seconds a partition spans. */
  readonly span: number;
  /** Seconds that rows are kept after it ends. */
  readonly keep: number;
  /** Partitions that are made before the present one, where ids may be of an earlier time; 1 where it is not said. */
  readonly behind?: number;
  /**
   * Percent of a page that INSERTs fill. The rest is for new versions of its rows: an UPDATE that finds room beside the row, and
   * changes no column of an index, touches no index (HOT), and what it leaves behind goes without VACUUM.
   */
  readonly fill?: number;
}

/** At most about 24 live ones each. Filled by half where each row is changed once or twice, by 80 % where now and then. */
export const PARTITIONED = {
  access_tokens: { span: 15 * MINUTE, keep: 2 * HOUR },
  revocation_marks: { span: 15 * MINUTE, keep: 2 * HOUR },
  replay_marks: { span: 10 * MINUTE, keep: 30 * MINUTE },
  pushed_requests: { span: 15 * MINUTE, keep: 2 * HOUR, fill: 50 },
  pending_authorizations: { span: 30 * MINUTE, keep: 2 * HOUR, fill: 50 },
  authorization_codes: { span: 2 * HOUR, keep: 24 * HOUR, fill: 50 },
  sessions: { span: 4 * HOUR, keep: 2 * DAY, fill: 80 },
  sign_ins: { span: 4 * HOUR, keep: 2 * DAY },
  // Of the time of a grant, whose sign-in is seen to be over up to two days later; a day of attempts, days to look at them.
  logout_deliveries: { span: 12 * HOUR, keep: 8 * DAY, behind: 5 },
  refresh_tokens: { span: 8 * DAY, keep: 120 * DAY, fill: 80 },
  grants: { span: 8 * DAY, keep: 120 * DAY },
  // The stories of calls, for as long as what happened is told.
  exchanges: { span: 20 * DAY, keep: 400 * DAY },
  audit: { span: 20 * DAY, keep: 400 * DAY },
} as const satisfies Record<string, Life>;

type Table = keyof typeof PARTITIONED;

/** 'GATE' and 'PART': one number for the whole deployment. */
const LOCK = 0x47415445_50415254n;

/**
 * Makes and drops partitions as `now` demands.
 * @returns the names of partitions that could not be dropped because somebody was reading them; the next run tries again
 */
export async function keepPartitions(database: Sql, now: Date): Promise<string[]> {
  const obsolete = await database.transaction().execute(async (transaction) => {
    await sql`SELECT pg_advisory_xact_lock(${String(LOCK)}::bigint)`.execute(transaction);
    const { rows } = await sql<{ parent: string; name: string }>`
      SELECT parent.relname AS parent, child.relname AS name
      FROM pg_inherits i
      JOIN pg_class parent ON parent.oid = i.inhparent
      JOIN pg_class child ON child.oid = i.inhrelid
      WHERE parent.relnamespace = current_schema()::regnamespace AND parent.relkind = 'p'
        AND child.relkind = 'r'`.execute(transaction);
    const existing = new Set(rows.map(({ name }) => name));
    for (const table of Object.keys(PARTITIONED) as Table[]) {
      for (const start of wanted(table, now)) {
        if (!existing.has(partitionName(table, start))) await make(transaction, table, start);
      }
    }
    return rows.filter(({ parent, name }) => isOver(parent, name, now)).map(({ name }) => name);
  });
  const busy: string[] = [];
  for (const name of obsolete) {
    if (!(await drop(database, name))) busy.push(name);
  }
  return busy;
}

/** Starts, in seconds, of the partitions that must exist: the previous ones, the present one and two ahead. */
function wanted(table: Table, now: Date): number[] {
  const { span, behind = 1 }: Life = PARTITIONED[table];
  const present = Math.floor(now.getTime() / 1000 / span) * span;
  return Array.from({ length: behind + 3 }, (_, step) => present + (step - behind) * span);
}

function partitionName(table: string, start: number): string {
  return `${table}_${start}`;
}

function isOver(parent: string, name: string, now: Date): boolean {
  const rule = Object.hasOwn(PARTITIONED, parent) ? PARTITIONED[parent as Table] : undefined;
  const start = Number(name.slice(parent.length + 1));
  return rule !== undefined && Number.isInteger(start) && (start + rule.span + rule.keep) * 1000 < now.getTime();
}

/** ATTACH locks less than CREATE … PARTITION OF: readers and writers of the parent go on. */
async function make(transaction: Sql, table: Table, start: number): Promise<void> {
  const { span, fill }: Life = PARTITIONED[table];
  const from = idFloor(new Date(start * 1000));
  const to = idFloor(new Date((start + span) * 1000));
  const name = sql.table(partitionName(table, start));
  // A parent has no storage parameters, and LIKE would not copy them.
  const storage = fill === undefined ? sql`` : sql` WITH (fillfactor = ${sql.lit(fill)})`;
  await sql`CREATE TABLE ${name} (LIKE ${sql.table(table)} INCLUDING ALL)${storage}`.execute(transaction);
  await sql`ALTER TABLE ${sql.table(table)} ATTACH PARTITION ${name} FOR VALUES FROM (${sql.lit(from)}) TO (${sql.lit(to)})`.execute(
    transaction,
  );
}

/** Waits 100 ms for the lock at most: behind a waiting DROP every other statement would queue. */
async function drop(database: Sql, name: string): Promise<boolean> {
  try {
    await database.transaction().execute(async (transaction) => {
      await sql`SET LOCAL lock_timeout = '100ms'`.execute(transaction);
      await sql`DROP TABLE IF EXISTS ${sql.table(name)}`.execute(transaction);
    });
    return true;
  } catch (error) {
    // Somebody reads it, or drops it too: the next run sees. A right that is missing will be missing then as well.
    if (error instanceof Error && 'code' in error && error.code === '42501') throw error;
    return false;
  }
}
