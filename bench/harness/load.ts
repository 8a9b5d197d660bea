/**
 * The closed loop: each connection sends a request when the one before is answered, or when it has rested after that. Warm-up runs
 * on into the measured window without a pause, so the window sees a steady state; what is under way at its end is finished and not
 * counted.
 */
import { type Answer, Connection } from './connection.ts';
import { Histogram } from './histogram.ts';

/**
 * What one connection does, over and over: an iteration of one request or of several that need each other's answers.
 * It keeps its state (a cookie, the latest refresh token) from round to round.
 */
export interface Script {
  /** The first request of an iteration. */
  begin(): Buffer;
  /** The next request of this iteration, or how it ended; every answer is looked at. */
  answered(answer: Answer): Buffer | 'done' | 'failed';
  /** Load that is there to be in the way: its iterations are not counted, its failures are. */
  readonly background?: boolean;
}

export interface Tally {
  /** Iterations that ended well within the window. */
  readonly iterations: number;
  readonly background: number;
  readonly errors: number;
  /** The first answer that was not what it should be. */
  readonly firstError: string | undefined;
  readonly milliseconds: number;
  readonly latency: Histogram;
}

export interface LoadOptions {
  /** Connections go to them in turn. */
  readonly ports: readonly number[];
  readonly scripts: readonly Script[];
  /** Milliseconds before the window. */
  readonly warmUp: number;
  /** Milliseconds. */
  readonly window: number;
  /** Milliseconds that a connection rests after an iteration, on average: anything up to twice that, so that they do not come in step. */
  readonly rest?: number;
  /** Called as the window opens and as it closes, to read the counters of the system. */
  atEdge?(edge: 'opens' | 'closes'): void;
}

/** More errors than this say nothing new: the connection gives up for this round. */
const MOST_ERRORS = 20;

export async function drive({ ports, scripts, warmUp, window, rest = 0, atEdge }: LoadOptions): Promise<Tally> {
  const tally = { iterations: 0, background: 0, errors: 0, firstError: undefined as string | undefined };
  const latency = new Histogram();
  let counting = false;
  let over = false;

  const run = (script: Script, index: number) =>
    new Promise<void>((resolve) => {
      const connection = new Connection(ports[index % ports.length] ?? 0);
      let started = 0;
      let failures = 0;
      const begin = () => {
        if (over || failures > MOST_ERRORS) {
          connection.close();
          resolve();
          return;
        }
        started = performance.now();
        connection.send(script.begin(), onAnswer);
      };
      const onAnswer = (answer: Answer | undefined) => {
        const next = answer ? script.answered(answer) : 'failed';
        if (typeof next !== 'string') {
          connection.send(next, onAnswer);
          return;
        }
        if (next === 'failed') {
          failures += 1;
          tally.errors += 1;
          tally.firstError ??= answer ? `${answer.head}\r\n\r\n${answer.body}` : 'The connection broke.';
        } else if (counting && script.background) {
          tally.background += 1;
        } else if (counting) {
          tally.iterations += 1;
          latency.record(performance.now() - started);
        }
        pause();
      };
      const pause = () => (rest > 0 ? void setTimeout(begin, 2 * rest * Math.random()) : begin());
      pause();
    });

  const running = Promise.all(scripts.map(run));
  await after(warmUp);
  counting = true;
  atEdge?.('opens');
  const opened = performance.now();
  await after(window);
  counting = false;
  const milliseconds = performance.now() - opened;
  atEdge?.('closes');
  over = true;
  await running;
  return { ...tally, milliseconds, latency };
}

function after(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/**
 * Runs an iteration once on each script of an endless supply, a few at a time, until there are `count` of them: for tokens
 * that are made before anything is measured.
 * @throws Error with the answer that was wrong
 */
export async function repeat(port: number, count: number, make: (index: number) => Script): Promise<void> {
  let next = 0;
  const worker = async () => {
    const connection = new Connection(port);
    try {
      while (next < count) await once(connection, make(next++));
    } finally {
      connection.close();
    }
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

async function once(connection: Connection, script: Script): Promise<void> {
  let request = script.begin();
  for (;;) {
    const answer = await connection.ask(request);
    const next = script.answered(answer);
    if (next === 'done') return;
    if (next === 'failed') throw new Error(`Preparing failed: ${answer.head}\r\n\r\n${answer.body.slice(0, 2000)}`);
    request = next;
  }
}
