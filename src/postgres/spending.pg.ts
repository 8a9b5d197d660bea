/**
 * Spending: a statement that uses up what is good once, a code or a token, with the marks that are brought for it.
 *
 *   together ──▶ marks claimed, rows that nobody holds spent (`SKIP LOCKED`) ──▶ done, or told which mark was used before
 *                  └── marks claimed, nothing spent ──▶ alone, its marks claimed: waits for whoever holds the row ──▶ done, or not to be had
 *
 * So callers in one statement wait for no row, and whoever waits for one holds no mark that others would wait for. Where the database goes
 * away between the two statements the marks are gone and nothing is spent: the caller comes again with new proofs.
 */
import { type RawBuilder, sql } from 'kysely';
import type { ReplayMark } from '../protocol/replay.ts';
import { gatheringMarks, type Marked, selectMarked, usedMark, type WithMarks } from './replay-marks.pg.ts';

/** What is done about rows that somebody holds. */
export type Held = 'skipped' | 'awaited';

/** `done`; or the mark that was used before; or `undefined`: its marks are claimed, and what it was about was not to be had. */
export type Spent = 'done' | ReplayMark | undefined;

/**
 * @param send one statement for all `calls`, answering in their order; it takes the locks it waits for after the marks
 * @returns what spends for one of them
 */
export function spending<Call extends WithMarks>(
  send: (calls: readonly Call[], held: Held) => Promise<readonly Spent[]>,
): (call: Call) => Promise<Spent> {
  const together = gatheringMarks((calls: readonly Call[]) => send(calls, 'skipped'));
  return async (call) => {
    const spent = await together(call);
    if (spent !== undefined) return spent;
    const [alone] = await send([{ ...call, marks: [] }], 'awaited');
    return alone;
  };
}

/** The end of a locking clause. */
export const ofHeld = (held: Held): RawBuilder<unknown> => (held === 'skipped' ? sql`SKIP LOCKED` : sql``);

export interface SpentRow extends Marked {
  places: number[];
}

/** How the statement ends: with the `place` of each row of `expression`. */
export function selectSpent(expression: string, calls: readonly WithMarks[]): RawBuilder<SpentRow> {
  return sql`SELECT ARRAY(SELECT place::integer FROM ${sql.table(expression)}) AS places, ${selectMarked(calls)}`;
}

/** What became of each call. */
export function spentOf(calls: readonly WithMarks[], row: SpentRow | undefined): Spent[] {
  return calls.map(({ marks }, index) => (row?.places.includes(index + 1) ? 'done' : usedMark(marks, row)));
}
