/**
 * Rounds: in each one every server runs once, in an order that is rotated from round to round, so that whatever changes on
 * the machine in the meantime meets all of them alike.
 */
import type { Setting, Target, Workload } from '../servers/target.ts';
import { Histogram } from './histogram.ts';
import { drive, type Script, type Tally } from './load.ts';
import type { Postgres } from './postgres.ts';
import { ratioOfRounds, type Spread, spread } from './statistics.ts';
import { cpuOf, memoryOf } from './system.ts';

export interface ServerResult {
  readonly connections: number;
  readonly requestsPerSecond: Spread & { readonly rounds: readonly number[] };
  /** Milliseconds, over all rounds. */
  readonly latency: { readonly p50: number; readonly p95: number; readonly p99: number };
  /** Milliseconds of processor time per iteration; `null` where nobody counts them. */
  readonly cpuPerRequest: { readonly server: number | null; readonly database: number | null };
  /** Bytes of write-ahead log per iteration. Whole pages count, each once after a checkpoint. */
  readonly walPerRequest: number;
  /** Bytes resident after the last round. */
  readonly memory: number | null;
  readonly requests: number;
  /** Iterations of load that is only there to be in the way. */
  readonly background: number;
  readonly errors: number;
  readonly firstError: string | null;
}

export interface WorkloadResult {
  readonly name: string;
  readonly about: string;
  readonly ceiling: string;
  readonly p99Target: number | null;
  /** Of each round. */
  readonly seconds: number;
  readonly servers: Readonly<Record<string, ServerResult>>;
  /** By `above/below`; `null` where a round had no result. */
  readonly ratios: Readonly<Record<string, Spread | null>>;
}

export interface MeasureOptions {
  readonly setting: Setting;
  readonly postgres: Postgres;
  readonly rounds: number;
  readonly seconds: number;
  /** Seconds before the first round, in which code is compiled and connections are opened. */
  readonly warmUp?: number;
  /**
   * What part of its full load each process gets, where not all of it: connections rest between iterations. The first of the
   * servers says in its warm-up, where nobody rests, how many it can take.
   */
  readonly share?: number;
  /** Which servers are compared, by name: above and below the line. */
  readonly pairs: readonly (readonly [above: string, below: string])[];
}

interface Round {
  readonly tally: Tally;
  readonly server: number | undefined;
  readonly database: number | undefined;
  readonly wal: number;
}

/** Seconds before the first round where nothing is said, and before each. */
const FIRST_WARM_UP = 1.5;
const WARM_UP = 0.3;

/** Measures a workload at those of the servers that take part in it. */
export async function measure(
  workload: Workload,
  servers: readonly Target[],
  options: MeasureOptions,
): Promise<WorkloadResult> {
  const { setting, postgres, rounds, pairs, share } = options;
  const { stretch = 1 } = workload;
  const seconds = options.seconds * stretch;
  const targets = servers.filter(({ kind }) => workload.servers.includes(kind));
  const scripts = new Map<Target, Script[]>();
  for (const target of targets) {
    const connections = setting.connections * (target.serving ?? 1);
    const script = await workload.prepare(target, { ...setting, connections });
    scripts.set(
      target,
      Array.from({ length: connections }, (_, connection) => script(connection)),
    );
  }
  await postgres.checkpoint();
  const scriptsOf = (target: Target) => scripts.get(target) ?? [];
  let rest = 0;
  for (const target of targets) {
    const length = (options.warmUp ?? Math.min(FIRST_WARM_UP * stretch, seconds)) * 1000;
    const tally = await drive({ ports: portsOf(target), scripts: scriptsOf(target), warmUp: 0, window: length });
    const iteration = (tally.milliseconds * scriptsOf(target).length) / Math.max(tally.iterations, 1);
    // Of an iteration under full load most is waiting for the others, which is no part of it when they rest.
    if (share !== undefined && target === targets[0]) rest = iteration / share;
  }
  const results = new Map<Target, Round[]>(targets.map((target) => [target, []]));
  for (let round = 0; round < rounds; round += 1) {
    const first = round % targets.length;
    for (const target of [...targets.slice(first), ...targets.slice(0, first)])
      results.get(target)?.push(await runRound(target, scriptsOf(target), { seconds, rest, postgres }));
  }
  const named = Object.fromEntries(
    targets.map((target) => [target.name, summary(target, scriptsOf(target).length, results.get(target) ?? [])]),
  );
  const ratios = pairs.flatMap(([above, below]) => {
    const [numerator, denominator] = [named[above], named[below]];
    if (!numerator || !denominator) return [];
    const ratio = ratioOfRounds(numerator.requestsPerSecond.rounds, denominator.requestsPerSecond.rounds);
    return [[`${above}/${below}`, ratio ?? null] as const];
  });
  const { name, about, ceiling, p99Target = null } = workload;
  return { name, about, ceiling, p99Target, seconds, servers: named, ratios: Object.fromEntries(ratios) };
}

async function runRound(
  target: Target,
  scripts: readonly Script[],
  { seconds, rest, postgres }: { seconds: number; rest: number; postgres: Postgres },
): Promise<Round> {
  const used = { server: undefined as number | undefined, database: undefined as number | undefined };
  const since = { server: undefined as number | undefined, database: undefined as number | undefined };
  const wal: Promise<number>[] = [];
  const tally = await drive({
    ports: portsOf(target),
    scripts,
    warmUp: Math.min(WARM_UP, seconds) * 1000,
    window: seconds * 1000,
    rest,
    atEdge(edge) {
      const server = sum(processesOf(target).map(({ pid }) => cpuOf(pid)));
      const database = postgres.postmaster === undefined ? undefined : cpuOf(postgres.postmaster);
      wal.push(postgres.walBytes());
      if (edge === 'opens') Object.assign(since, { server, database });
      else Object.assign(used, { server: minus(server, since.server), database: minus(database, since.database) });
    },
  });
  const [opened = 0, closed = 0] = await Promise.all(wal);
  return { tally, ...used, wal: closed - opened };
}

function processesOf({ process, nodes = [] }: Target) {
  return [process, ...nodes];
}

function portsOf(target: Target): number[] {
  return processesOf(target).map(({ port }) => port);
}

function sum(all: readonly (number | undefined)[]): number | undefined {
  return all.reduce((total, one) => (total === undefined || one === undefined ? undefined : total + one), 0);
}

function largest(all: readonly (number | undefined)[]): number | undefined {
  return all.reduce((most, one) => (most === undefined || (one ?? 0) > most ? one : most));
}

function minus(after: number | undefined, before: number | undefined): number | undefined {
  return after === undefined || before === undefined ? undefined : after - before;
}

function summary(target: Target, connections: number, rounds: readonly Round[]): ServerResult {
  const latency = new Histogram();
  for (const { tally } of rounds) latency.add(tally.latency);
  const total = (count: (round: Round) => number) => rounds.reduce((all, round) => all + count(round), 0);
  const requests = total(({ tally }) => tally.iterations);
  const perRequest = (part: 'server' | 'database') =>
    rounds.some((round) => round[part] === undefined) ? null : total((round) => round[part] ?? 0) / requests;
  const rates = rounds.map(({ tally }) => (tally.iterations * 1000) / tally.milliseconds);
  return {
    connections,
    requestsPerSecond: { ...spread(rates), rounds: rates },
    latency: { p50: latency.percentile(0.5), p95: latency.percentile(0.95), p99: latency.percentile(0.99) },
    cpuPerRequest: { server: perRequest('server'), database: perRequest('database') },
    walPerRequest: total(({ wal }) => wal) / requests,
    memory: largest(processesOf(target).map(({ pid }) => memoryOf(pid))) ?? null,
    requests,
    background: total(({ tally }) => tally.background),
    errors: total(({ tally }) => tally.errors),
    firstError: rounds.find(({ tally }) => tally.firstError !== undefined)?.tally.firstError ?? null,
  };
}
