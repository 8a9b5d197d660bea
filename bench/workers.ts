/**
 * Gatehouse with several workers beside a lone one, on all cores: what does a request cost each of them? Where generator and
 * PostgreSQL share the cores too, requests per second say nothing of workers; processor time per request does.
 */
import type { Options } from './options.ts';
import { chosen, measureAll, onStage, type RunResult } from './run.ts';
import { buildGatehouse, seedGatehouse, startGatehouse } from './servers/gatehouse.ts';
import type { Setting, Target } from './servers/target.ts';
import { workloads } from './workloads/index.ts';

const WORKLOADS = [
  'client-credentials-opaque',
  'client-credentials-jwt',
  'introspection-opaque',
  'code-flow',
  'refresh',
];

/** Both on one database, as two nodes would be. */
export async function compareWorkers(options: Options, count: number): Promise<RunResult> {
  const selected = chosen(workloads, options.only.length === 0 ? WORKLOADS : options.only);
  return onStage(async (stage) => {
    const { folder, postgres } = stage;
    const built = buildGatehouse(folder);
    const databaseUrl = await postgres.createDatabase('gatehouse');
    const cast = await seedGatehouse(databaseUrl, options.connections);
    const targets: Target[] = [];
    for (const [name, workers] of [
      ['lone', 1],
      ['workers', count],
    ] as const) {
      const process = await startGatehouse({ built, databaseUrl, folder, name, core: undefined, workers });
      stage.atEnd(() => process.stop());
      targets.push({ name, kind: 'gatehouse', process, databaseUrl });
    }
    const setting: Setting = { cast, connections: options.connections, tokens: options.tokens };
    const pairs = [['workers', 'lone']] as const;
    const result = await measureAll(
      selected,
      targets,
      { ...options, setting, postgres, pairs },
      { ...stage, serverCore: undefined },
    );
    for (const { name, servers } of result.workloads) {
      const [lone, each] = [servers.lone, servers.workers].map((server) => server?.cpuPerRequest.server ?? Number.NaN);
      console.log(`${name}: requests per processor second, workers/lone: ${((lone ?? 0) / (each ?? 0)).toFixed(2)}`);
    }
    return result;
  });
}
