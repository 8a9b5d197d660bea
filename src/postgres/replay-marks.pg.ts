/**
 * Replay marks in PostgreSQL, and how a statement claims them with what it does, for one caller or for several that come together:
 *
 *   WITH brought AS (…), marked AS (…), refused AS (…), stored AS (INSERT … whose caller is not refused), … SELECT what was marked
 *
 * Who claims a mark that another statement is just claiming waits for the end of that one. Hence two rules. All claim in the order of the
 * ids, so no two wait for each other. And a statement that claims marks waits for no row: what may have to be waited for is spent
 * in a statement after it (spending.pg.ts), by whose beginning the marks are claimed.
 *
 * Of several marks those that are new are claimed also where another one was used before: what is refused for a mark is not to be sent again.
 */
import { type RawBuilder, sql } from 'kysely';
import type { ReplayMark, ReplayMarks } from '../protocol/replay.ts';
import type { Sql } from './database.ts';
import { gathering } from './gathering.ts';

/** A call that may bring what is good once. */
export interface WithMarks {
  readonly marks: readonly ReplayMark[];
}

export function postgresReplayMarks(database: Sql): ReplayMarks {
  const claim = gatheringMarks(async (calls: readonly WithMarks[]) => {
    const { rows } = await sql<Marked>`WITH ${marking(calls)} SELECT ${selectMarked(calls)}`.execute(database);
    return calls.map(({ marks }) => usedMark(marks, rows[0]));
  });
  return { claim: (marks) => claim({ marks }) };
}

/**
 * As `gathering`, for calls that bring marks. Of two in one statement that bring the same, the later is refused before it is sent: the row
 * would be claimed once, and both be told that it was theirs.
 */
export function gatheringMarks<Call extends WithMarks, Answer>(
  send: (calls: readonly Call[]) => Promise<readonly Answer[]>,
): (call: Call) => Promise<Answer | ReplayMark> {
  return gathering(async (calls: readonly Call[]) => {
    const taken = new Set<string>();
    const twice = calls.map(({ marks }) => {
      let used: ReplayMark | undefined;
      for (const mark of marks) {
        if ([mark.id, ...mark.neighbours].some((known) => taken.has(known))) used ??= mark;
        taken.add(mark.id);
      }
      return used;
    });
    const rest = calls.filter((_call, index) => !twice[index]);
    const answers = rest.length > 0 ? await send(rest) : [];
    let next = 0;
    return twice.map((used) => used ?? (answers[next++] as Answer));
  });
}

/** How a statement begins that claims them; its own table expressions follow. */
export function withMarks(calls: readonly WithMarks[]): RawBuilder<unknown> {
  return anyMarks(calls) ? sql`WITH ${marking(calls)},` : sql`WITH`;
}

/** The table expressions `brought`, `marked` (the ids that were new, which it claims) and `refused` (whose were not). */
function marking(calls: readonly WithMarks[]): RawBuilder<unknown> {
  const brought = calls.flatMap(({ marks }, index) => marks.map((mark) => ({ ...mark, place: index + 1 })));
  const column = (of: (mark: ReplayMark) => string) => sql`${brought.map(of)}::uuid[]`;
  return sql`brought AS (
    SELECT m.id, m.before, m.after, m.place FROM unnest(${column(({ id }) => id)}, ${column(({ neighbours }) => neighbours[0])}, ${column(({ neighbours }) => neighbours[1])},
                         ${brought.map(({ place }) => place)}::integer[]) AS m (id, before, after, place)
  ), marked AS (
    INSERT INTO replay_marks (id)
    SELECT m.id FROM brought m
    WHERE NOT EXISTS (SELECT FROM replay_marks r WHERE r.id = ANY (ARRAY[m.id, m.before, m.after]))
    -- In one order everywhere, or two statements could wait for each other.
    ORDER BY m.id
    ON CONFLICT DO NOTHING RETURNING id
  ), refused AS (
    SELECT m.place FROM brought m WHERE m.id NOT IN (SELECT id FROM marked)
  )`;
}

const anyMarks = (calls: readonly WithMarks[]) => calls.some(({ marks }) => marks.length > 0);

/**
 * What the table expression that stores or spends demands beside its own guard.
 * @param place the column that says whose row it is
 */
export function andNotRefused(calls: readonly WithMarks[], place: string): RawBuilder<unknown> {
  return anyMarks(calls) ? sql`AND ${sql.ref(place)} NOT IN (SELECT place FROM refused)` : sql``;
}

/** How it ends. */
export const selectMarked = (calls: readonly WithMarks[]): RawBuilder<unknown> =>
  anyMarks(calls) ? sql`ARRAY(SELECT id FROM marked) AS marked` : sql`NULL::uuid[] AS marked`;

export interface Marked {
  marked: string[] | null;
}

/** A mark that had been used before, if there is one. */
export function usedMark(marks: readonly ReplayMark[], row: Marked | undefined): ReplayMark | undefined {
  return marks.find(({ id }) => !row?.marked?.includes(id));
}
