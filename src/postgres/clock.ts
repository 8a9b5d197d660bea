/** The database's clock, which only this file asks: everything else takes the time it is given. */
import { sql } from 'kysely';
import type { Sql } from './database.ts';

/** More than this apart, and "expired" means two things: the server does not take requests. Milliseconds. */
const MOST_DRIFT = 2000;

/** @returns what to tell the operator, or `undefined` while process and database agree on the time */
export async function clockProblem(database: Sql, now: () => Date): Promise<string | undefined> {
  const before = now().getTime();
  const { rows } = await sql<{ now: Date }>`SELECT clock_timestamp() AS now`.execute(database);
  const after = now().getTime();
  const theirs = rows[0]?.now.getTime() ?? 0;
  const drift = theirs < before ? before - theirs : Math.max(0, theirs - after);
  return drift > MOST_DRIFT
    ? `the clocks of this process and the database are ${Math.round(drift / 100) / 10} s apart`
    : undefined;
}
