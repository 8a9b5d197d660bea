/**
 * Gathering: one statement for callers that come at the same time. A round trip costs more than a row does (the write, the wake-up, the
 * parsing of what its columns are), so those who come together travel together.
 *
 *   call ──▶ waits for the end of this turn of the event loop ──a lane is free──▶ sent, with all who wait
 *                                                          └──none──▶ waits until a statement comes back
 *
 * Who comes alone goes alone and at once, unless two statements are under way: then it waits for one of them, a fraction of a millisecond as a
 * rule, and for as long as a statement may take at the worst. So what is gathered must not wait for a lock whose holder may wait: for no row;
 * a mark is held for one statement that waits for none (replay-marks.pg.ts).
 *
 * Callers share a statement, never each other's rows, and not each other's faults: where it fails, and not because the database is away, each is
 * sent alone. A statement that failed has written nothing.
 */
import { type RawBuilder, sql } from 'kysely';
import { Unavailable } from '../protocol/errors.ts';
import type { Credential } from '../protocol/secrets.ts';

/** Statements under way at once: while the database works at one, the next one is made. More would only be smaller. */
const LANES = 2;
/** Calls in one statement at most: none of them waits long for the others' rows. */
const MOST = 64;

/** Milliseconds that a call waits to be sent: as long as for a connection. What is under way has a time of its own. */
const PATIENCE = 3000;

interface Waiting<Call, Answer> {
  readonly call: Call;
  /** When it came, as `performance.now()` tells. */
  readonly since: number;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

/**
 * @param send one statement for all `calls`, answering in their order
 * @returns what asks for one of them
 */
export function gathering<Call, Answer>(
  send: (calls: readonly Call[]) => Promise<readonly Answer[]>,
): (call: Call) => Promise<Answer> {
  let waiting: Waiting<Call, Answer>[] = [];
  let underWay = 0;
  let scheduled = false;
  let watching: NodeJS.Timeout | undefined;

  // While statements hang, whoever waits behind them is told to try again, and is not kept for one batch after the other.
  const watch = () => {
    if (watching || waiting.length === 0) return;
    watching = setTimeout(() => {
      watching = undefined;
      const late = performance.now() - PATIENCE;
      const given = waiting.filter(({ since }) => since <= late);
      waiting = waiting.filter(({ since }) => since > late);
      for (const { reject } of given) reject(new Unavailable('The database does not answer in time.'));
      watch();
    }, PATIENCE).unref();
  };

  const depart = () => {
    scheduled = false;
    while (waiting.length > 0 && underWay < LANES) {
      const aboard = waiting.slice(0, MOST);
      waiting = waiting.slice(MOST);
      underWay += 1;
      void travel(aboard);
    }
    watch();
  };
  const travel = async (aboard: readonly Waiting<Call, Answer>[]) => {
    try {
      const answers = await send(aboard.map(({ call }) => call));
      for (const [place, { resolve }] of aboard.entries()) resolve(answers[place] as Answer);
    } catch (error) {
      await oneByOne(aboard, error);
    } finally {
      underWay -= 1;
      schedule();
    }
  };
  /** @param error what the statement of all of them ended with */
  const oneByOne = async (aboard: readonly Waiting<Call, Answer>[], error: unknown) => {
    let last = error;
    for (const { call, resolve, reject } of aboard) {
      // Of those who would wait for the same silence each in turn the last would wait for all.
      if (aboard.length === 1 || last instanceof Unavailable) reject(last);
      else
        await send([call]).then(
          ([answer]) => resolve(answer as Answer),
          (own) => {
            last = own;
            reject(own);
          },
        );
    }
  };
  const schedule = () => {
    if (underWay >= LANES) watch();
    if (scheduled || waiting.length === 0 || underWay >= LANES) return;
    scheduled = true;
    setImmediate(depart);
  };
  return (call) =>
    new Promise((resolve, reject) => {
      waiting.push({ call, since: performance.now(), resolve, reject });
      schedule();
    });
}

/** Rows in the order of the calls they belong to, by their `place`, which begins at 1; `undefined` where there is none. */
export function inPlace<Row extends { readonly place: number }>(
  rows: readonly Row[],
  count: number,
): (Row | undefined)[] {
  const placed = new Array<Row | undefined>(count).fill(undefined);
  for (const row of rows) placed[row.place - 1] = row;
  return placed;
}

/** A credential that is looked up, in the moment of its request. */
export interface Presented {
  readonly credential: Credential;
  readonly now: Date;
}

/** A time, or the column that has it where one statement asks for several. */
export type Moment = Date | RawBuilder<Date>;

/** The table expression `q` (id, secret_hash, now, place): what a look-up of several credentials begins with. */
export function asked(presented: readonly Presented[]): RawBuilder<unknown> {
  return sql`unnest(
    ${presented.map(({ credential }) => credential.id)}::uuid[], ${presented.map(({ credential }) => credential.hash)}::bytea[],
    ${presented.map(({ now }) => now)}::timestamptz[]
  ) WITH ORDINALITY AS q (id, secret_hash, now, place)`;
}
