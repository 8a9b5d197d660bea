/** One run: starts what is needed, measures, stops all of it, whatever happens. */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { measure, type WorkloadResult } from './harness/measure.ts';
import { openPostgres, type Postgres } from './harness/postgres.ts';
import { tableOf } from './harness/report.ts';
import { canPin, pin } from './harness/system.ts';
import type { Options } from './options.ts';
import { startCeiling } from './servers/ceiling.ts';
import { buildGatehouse, seedGatehouse, startGatehouse } from './servers/gatehouse.ts';
import { startOidcProvider } from './servers/oidc-provider.ts';
import type { Setting, Target, Workload } from './servers/target.ts';
import { workloads } from './workloads/index.ts';

export interface RunResult {
  readonly startedAt: string;
  readonly node: string;
  readonly cores: number;
  /** Whether servers had a core to themselves, and the generator and PostgreSQL the other. */
  readonly pinned: boolean;
  readonly postgres: Pick<Postgres, 'version' | 'embedded' | 'settings'>;
  readonly options: Pick<Options, 'rounds' | 'seconds' | 'connections' | 'tokens'>;
  readonly workloads: readonly WorkloadResult[];
}

/** What a run has started, to be stopped in reverse. */
export interface Stage {
  readonly folder: string;
  readonly postgres: Postgres;
  /** How many cores there were for all. */
  readonly cores: number;
  /** `undefined` where nothing is pinned. */
  readonly serverCore: number | undefined;
  /** Has something stopped at the end, before what was started earlier. */
  atEnd(stop: () => unknown): void;
}

const SERVER_CORE = 0;
const OTHER_CORE = 1;

/** Gives `work` a PostgreSQL and a folder, and stops afterwards whatever was started, also when a signal ends the run. */
export async function onStage<Result>(work: (stage: Stage) => Promise<Result>): Promise<Result> {
  const stops: (() => unknown)[] = [];
  const stopAll = async () => {
    for (const stop of stops.splice(0).reverse()) await stop();
  };
  let interrupted = false;
  const onSignal = (signal: NodeJS.Signals) => {
    interrupted = true;
    stopAll().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143));
  };
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal);
  const cores = availableParallelism();
  const pinned = canPin();
  if (pinned) pin(OTHER_CORE, [process.pid]);
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-bench-'));
  // To be passed through: PostgreSQL's account, where we are root, would otherwise have to work elsewhere, and nobody would clean up there.
  chmodSync(folder, 0o711);
  stops.push(() => rmSync(folder, { recursive: true, force: true }));
  try {
    const postgres = await openPostgres(folder, pinned ? OTHER_CORE : undefined);
    stops.push(() => postgres.close());
    const serverCore = pinned ? SERVER_CORE : undefined;
    return await work({ folder, postgres, cores, serverCore, atEnd: (stop) => void stops.push(stop) });
  } finally {
    // What fails while everything is being stopped is no news; the signal ends the process.
    if (interrupted) await new Promise<never>(() => undefined);
    await stopAll();
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

/** @throws Error when `names` has one that is none */
export function chosen(all: readonly Workload[], names: readonly string[]): Workload[] {
  const unknown = names.find((name) => !all.some((workload) => workload.name === name));
  if (unknown !== undefined)
    throw new Error(`--only: there is no ${unknown}; there are ${all.map(({ name }) => name).join(', ')}.`);
  return all.filter(({ name }) => names.length === 0 || names.includes(name));
}

/** Gatehouse beside oidc-provider and the ceiling; with a profile, Gatehouse alone. */
export async function compareServers(options: Options): Promise<RunResult> {
  const selected = chosen(workloads, options.only);
  return onStage(async (stage) => {
    const { postgres } = stage;
    const { cast, targets } = await startServers(stage, options);
    const setting: Setting = { cast, connections: options.connections, tokens: options.tokens };
    const pairs = [
      ['gatehouse', 'oidc-provider'],
      ['gatehouse', 'ceiling'],
    ] as const;
    return measureAll(selected, targets, { ...options, setting, postgres, pairs }, stage);
  });
}

async function startServers(stage: Stage, { connections, profile }: Options) {
  const { folder, postgres, serverCore: core } = stage;
  const built = buildGatehouse(folder);
  const databaseUrl = await postgres.createDatabase('gatehouse');
  const cast = await seedGatehouse(databaseUrl, connections);
  const gatehouse = await startGatehouse({ built, databaseUrl, folder, name: 'gatehouse', core, profile });
  stage.atEnd(() => gatehouse.stop());
  const targets: Target[] = [{ name: 'gatehouse', kind: 'gatehouse', process: gatehouse, databaseUrl }];
  if (profile !== undefined) return { cast, targets };
  for (const [kind, start] of [
    ['oidc-provider', startOidcProvider],
    ['ceiling', startCeiling],
  ] as const) {
    const url = await postgres.createDatabase(kind);
    const started = await start({ cast, databaseUrl: url, folder, core });
    stage.atEnd(() => started.stop());
    targets.push({ name: kind, kind, process: started, databaseUrl: url });
  }
  return { cast, targets };
}

type MeasureAllOptions = Parameters<typeof measure>[2] & Pick<Options, 'connections' | 'tokens'>;

/** Measures one workload after the other and prints each table as it is there. */
export async function measureAll(
  selected: readonly Workload[],
  targets: readonly Target[],
  options: MeasureAllOptions,
  { cores, serverCore }: Stage,
): Promise<RunResult> {
  const { postgres, rounds, seconds, connections, tokens } = options;
  const startedAt = new Date().toISOString();
  const pinned = serverCore !== undefined;
  const settings = Object.entries(postgres.settings).map(([name, value]) => `${name} ${value}`);
  console.log(`Node ${process.version}, PostgreSQL ${postgres.version} (${settings.join(', ')}), ${cores} core(s)`);
  console.log(
    pinned
      ? `Servers on core ${SERVER_CORE}; the generator${postgres.embedded ? ' and PostgreSQL' : ''} on core ${OTHER_CORE}.`
      : 'Nothing is pinned: servers, generator and PostgreSQL compete.',
  );
  console.log(`${rounds} rounds of ${seconds} s, ${connections} connections\n`);
  const results: WorkloadResult[] = [];
  for (const workload of selected) {
    const result = await measure(workload, targets, options);
    console.log(`${tableOf(result)}\n`);
    results.push(result);
  }
  return {
    startedAt,
    node: process.version,
    cores,
    pinned,
    postgres: { version: postgres.version, embedded: postgres.embedded, settings: postgres.settings },
    options: { rounds, seconds, connections, tokens },
    workloads: results,
  };
}
