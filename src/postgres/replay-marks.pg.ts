/**
 * Replay marks in PostgreSQL, and how a statement that spends something claims them with it, for one caller or for several that
 * come together (gathering.ts):
 *
 *   WITH presented AS (…), marked AS (…), refused AS (…), redeemed AS (UPDATE … AND its caller is not refused RETURNING …), …
 *   SELECT whose was spent, what was marked
 *
 * So a proof is used up with what it was for, and one round trip tells which of the two went wrong.
 *
 * Who claims a mark that another statement is just claiming waits for the end of that statement, which waits for nobody's lock
 * while it is together with others. All claim in the order of the ids, so two of them never wait for each other.
 */
import { type RawBuilder, sql } from 'kysely';
import type { ReplayMark, ReplayMarks } from '../protocol/replay.ts';
import type { Sql } from './database.ts';
import { gathering } from './gathering.ts';

/** A call and what it brings that is good once. */
export interface Bringing {
  readonly marks: readonly ReplayMark[];
}

export function postgresReplayMarks(database: Sql): ReplayMarks {
  const claim = gatheringMarks(async (calls: readonly Bringing[]) => {
    const { rows } = await sql<Marked>`WITH ${marking(calls)} SELECT ${marked(calls)}`.execute(database);
    return calls.map(({ marks }) => usedMark(marks, rows[0]));
  });
  return { claim: (marks) => claim({ marks }) };
}

/**
 * As `gathering`, for calls that bring marks. Of two in one statement that bring the same, the later is refused before it is sent: the row
 * would be claimed once, and both be told that it was theirs.
 */
export function gatheringMarks<Call extends Bringing, Answer>(
  send: (calls: readonly Call[]) => Promise<readonly Answer[]>,
): (call: Call) => Promise<Answer | ReplayMark> {
  return gathering(async (calls: readonly Call[]) => {
    const taken = new Set<string>();
    const twice = calls.map(({ marks }) => {
      const used = marks.find(({ id, neighbours }) => [id, ...neighbours].some((known) => taken.has(known)));
      if (!used) for (const { id } of marks) taken.add(id);
      return used;
    });
    const rest = calls.filter((_call, index) => !twice[index]);
    const answers = (rest.length > 0 ? await send(rest) : []).values();
    return twice.map((used) => used ?? (answers.next().value as Answer));
  });
}

/** How a spending statement begins; its own table expressions follow. */
export function withMarks(calls: readonly Bringing[]): RawBuilder<unknown> {
  return bringAny(calls) ? sql`WITH ${marking(calls)},` : sql`WITH`;
}

/** The table expressions `presented`, `marked` (the ids that were new, which it claims) and `refused` (whose were not). */
function marking(calls: readonly Bringing[]): RawBuilder<unknown> {
  const presented = calls.flatMap(({ marks }, index) => marks.map((mark) => ({ ...mark, place: index + 1 })));
  const column = (of: (mark: ReplayMark) => string) => sql`${presented.map(of)}::uuid[]`;
  return sql`presented AS (
    SELECT * FROM unnest(${column(({ id }) => id)}, ${column(({ neighbours }) => neighbours[0])}, ${column(({ neighbours }) => neighbours[1])},
                         ${presented.map(({ place }) => place)}::integer[]) AS m (id, before, after, place)
  ), marked AS (
    INSERT INTO replay_marks (id)
    SELECT m.id FROM presented m
    WHERE NOT EXISTS (SELECT FROM replay_marks r WHERE r.id = ANY (ARRAY[m.id, m.before, m.after]))
    ORDER BY m.id
    ON CONFLICT DO NOTHING RETURNING id
  ), refused AS (
    SELECT m.place FROM presented m WHERE m.id NOT IN (SELECT id FROM marked)
  )`;
}

const bringAny = (calls: readonly Bringing[]) => calls.some(({ marks }) => marks.length > 0);

/**
 * What the table expression that spends demands beside its own guard.
 * @param place the column that says whose row it is
 */
export function andNotRefused(calls: readonly Bringing[], place: string): RawBuilder<unknown> {
  return bringAny(calls) ? sql`AND ${sql.ref(place)} NOT IN (SELECT place FROM refused)` : sql``;
}

/** How it ends where nothing but a mark can be in its way. */
export const marked = (calls: readonly Bringing[]): RawBuilder<unknown> =>
  bringAny(calls) ? sql`ARRAY(SELECT id FROM marked) AS marked` : sql`NULL::uuid[] AS marked`;

export interface Marked {
  marked: string[] | null;
}

/** How it ends elsewhere: with the `place` of each row of `expression`. */
export function outcome(expression: string, calls: readonly Bringing[]): RawBuilder<unknown> {
  return sql`SELECT ARRAY(SELECT place::integer FROM ${sql.table(expression)}) AS places, ${marked(calls)}`;
}

export interface Outcome extends Marked {
  places: number[];
}

/** A mark that had been used before, if there is one. */
export function usedMark(marks: readonly ReplayMark[], row: Marked | undefined): ReplayMark | undefined {
  return marks.find(({ id }) => !row?.marked?.includes(id));
}

/**
 * What became of each call.
 * @returns `done`; or the mark that was used before; or `undefined`: its marks are claimed, and what it was about was not to be had
 */
export function outcomes(calls: readonly Bringing[], row: Outcome | undefined): ('done' | ReplayMark | undefined)[] {
  return calls.map(({ marks }, index) => (row?.places.includes(index + 1) ? 'done' : usedMark(marks, row)));
}
