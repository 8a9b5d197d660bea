/**
 * Replay marks in PostgreSQL, and how a statement that spends something claims them with it:
 *
 *   WITH marked AS (…), redeemed AS (UPDATE … AND all are marked RETURNING …), … SELECT was it spent, what was marked
 *
 * So a proof is used up exactly when what it was for happens, and one round trip tells which of the two went wrong.
 */
import { type RawBuilder, sql } from 'kysely';
import type { ReplayMark, ReplayMarks } from '../protocol/replay.ts';
import type { Sql } from './database.ts';

export function postgresReplayMarks(database: Sql): ReplayMarks {
  return {
    async claim(marks) {
      const { rows } = await sql<Marked>`WITH ${marking(marks)} SELECT ${marked}`.execute(database);
      return usedMark(marks, rows[0]);
    },
  };
}

/** The table expression `marked`: the ids of the marks that were new, which it claims. */
function marking(marks: readonly ReplayMark[]): RawBuilder<unknown> {
  const column = (of: (mark: ReplayMark) => string) => sql`${marks.map(of)}::uuid[]`;
  return sql`marked AS (
    INSERT INTO replay_marks (id)
    SELECT m.id FROM unnest(${column(({ id }) => id)}, ${column(({ neighbours }) => neighbours[0])},
                            ${column(({ neighbours }) => neighbours[1])}) AS m (id, before, after)
    WHERE NOT EXISTS (SELECT FROM replay_marks r WHERE r.id = ANY (ARRAY[m.id, m.before, m.after]))
    ON CONFLICT DO NOTHING RETURNING id
  )`;
}

const marked = sql`ARRAY(SELECT id FROM marked) AS marked`;

const markedOf = (marks: readonly ReplayMark[]) => (marks.length === 0 ? sql`NULL::uuid[] AS marked` : marked);

interface Marked {
  marked: string[] | null;
}

/** How a spending statement begins; its own table expressions follow. */
export function withMarks(marks: readonly ReplayMark[]): RawBuilder<unknown> {
  return marks.length === 0 ? sql`WITH` : sql`WITH ${marking(marks)},`;
}

/** What the table expression that spends demands beside its own guard. */
export function andAllMarked(marks: readonly ReplayMark[]): RawBuilder<unknown> {
  return marks.length === 0 ? sql`` : sql`AND (SELECT count(*) FROM marked) = ${marks.length}`;
}

/** How it ends where it is about several callers' things: with the `place` of each row of `expression`. */
export function outcome(expression: string, marks: readonly ReplayMark[]): RawBuilder<unknown> {
  return sql`SELECT ARRAY(SELECT place::integer FROM ${sql.table(expression)}) AS places, ${markedOf(marks)}`;
}

export interface Outcome extends Marked {
  places: number[];
}

/** How it ends where it is about one. */
export function spent(expression: string, marks: readonly ReplayMark[]): RawBuilder<unknown> {
  return sql`SELECT EXISTS (SELECT FROM ${sql.table(expression)}) AS spent, ${markedOf(marks)}`;
}

export interface Spent extends Marked {
  spent: boolean;
}

/** A mark that had been used before, if there is one. */
export function usedMark(marks: readonly ReplayMark[], row: Marked | undefined): ReplayMark | undefined {
  return marks.find(({ id }) => !row?.marked?.includes(id));
}
