/** The command line of `npm run bench`. */
import { parseArgs } from 'node:util';

export interface Options {
  /** Names of workloads; empty for all. */
  readonly only: readonly string[];
  readonly rounds: number;
  /** Length of the measured window of each server in each round. */
  readonly seconds: number;
  readonly connections: number;
  /** Distinct tokens that are cycled through. */
  readonly tokens: number;
  /** A folder for profiles of Gatehouse. */
  readonly profile: string | undefined;
  /** Rows that Gatehouse's database is filled with; `undefined` for the comparison of servers. */
  readonly scale: number | undefined;
  /** Workers that are compared with a lone process and as many nodes. */
  readonly workers: number | undefined;
  /** Minutes of steady load. */
  readonly soak: number | undefined;
  /** The file the results go to. */
  readonly json: string | undefined;
  readonly help: boolean;
}

export const HELP = `npm run bench -- [options]

Measures Gatehouse beside oidc-provider and beside a bare server that does only the unavoidable, on one
PostgreSQL: the one of DATABASE_URL, or an embedded one. See docs/performance.md.

  --only a,b         these workloads only
  --rounds N         rounds of each workload (5)
  --seconds S        measured seconds of each server in each round (3)
  --connections N    connections, each with one request at a time (64; with --scale 128, so that the server never
                     waits for the database)
  --tokens N         distinct tokens that introspection and the like go through (2000)
  --quick            2 rounds of 1 second: shows that everything works, measures nothing
  --profile [DIR]    profiles the processor of Gatehouse, which runs alone; prints where it spent its time
  --scale N          fills a database with N live tokens and what belongs to them, and compares Gatehouse on it
                     with Gatehouse on an empty one
  --workers N        compares N workers with a lone process and with N nodes, on all cores
  --soak N           N minutes of everything, and what memory the server holds
  --json FILE        writes all figures
  --help
`;

/** @throws Error that says which option is wrong */
export function readOptions(parameters: readonly string[]): Options {
  // An optional value is not a thing parseArgs knows.
  const given = parameters.flatMap((one, index) => {
    const bare = one === '--profile' && (parameters[index + 1] ?? '--').startsWith('--');
    return bare ? ['--profile', 'bench-profile'] : [one];
  });
  const { values } = parseArgs({
    args: given,
    options: {
      only: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string' },
      tokens: { type: 'string', default: '2000' },
      quick: { type: 'boolean', default: false },
      profile: { type: 'string' },
      scale: { type: 'string' },
      workers: { type: 'string' },
      soak: { type: 'string' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const { quick, only, profile, json, help } = values;
  return {
    only: only === undefined ? [] : only.split(','),
    rounds: wholeNumber('rounds', values.rounds ?? (quick ? '2' : '5')),
    seconds: positive('seconds', values.seconds ?? (quick ? '1' : '3')),
    connections: wholeNumber('connections', values.connections ?? (values.scale === undefined ? '64' : '128')),
    tokens: wholeNumber('tokens', values.tokens),
    profile,
    scale: values.scale === undefined ? undefined : wholeNumber('scale', values.scale),
    workers: values.workers === undefined ? undefined : wholeNumber('workers', values.workers),
    soak: values.soak === undefined ? undefined : wholeNumber('soak', values.soak),
    json,
    help,
  };
}

function positive(name: string, text: string): number {
  const number = Number(text);
  if (!(number > 0)) throw new Error(`--${name} must be a number above 0.`);
  return number;
}

function wholeNumber(name: string, text: string): number {
  const number = positive(name, text);
  if (!Number.isInteger(number)) throw new Error(`--${name} must be a whole number.`);
  return number;
}
