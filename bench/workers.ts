/**
 * Gatehouse with several workers beside a lone one, on all cores: what does a request cost each of them? Where generator and
 * PostgreSQL share the cores too, requests per second say nothing of workers; processor time per request does.
 *
 * Each process gets as many connections as the lone one. And because more processes on the same cores cost each other their
 * caches, whatever they are, there are as many nodes beside them that know nothing of each other: what workers need more
 * than nodes is the price of their being workers.
 */
import type { ServerProcess } from './harness/processes.ts';
import type { Options } from './options.ts';
import { chosen, measureAll, onStage, type RunResult, type Stage } from './run.ts';
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

/**
 * What part of its load each process gets. All of it is more than two cores can carry beside generator and PostgreSQL: then who waits for whom
 * is measured, and not what a request costs.
 */
const SHARE = 0.3;

/** In windows of a round. Each worker has to be as warm as the lone one, which is measured twice. */
const WARM_UP = 10;

/** All on one database, as nodes would be. */
export async function compareWorkers(options: Options, count: number): Promise<RunResult> {
  const selected = chosen(workloads, options.only.length === 0 ? WORKLOADS : options.only);
  return onStage(async (stage) => {
    const { postgres } = stage;
    const databaseUrl = await postgres.createDatabase('gatehouse');
    const cast = await seedGatehouse(databaseUrl, options.connections * count);
    const targets = await startServers(stage, databaseUrl, count);
    const setting: Setting = { cast, connections: options.connections, tokens: options.tokens };
    const pairs = [
      ['workers', 'lone'],
      ['workers', 'nodes'],
    ] as const;
    const result = await measureAll(
      selected,
      targets,
      { ...options, warmUp: WARM_UP * options.seconds, share: SHARE, setting, postgres, pairs },
      { ...stage, serverCore: undefined },
    );
    console.log('Requests per processor second of the servers, as ratios:');
    for (const { name, servers } of result.workloads) {
      const cost = (server: string) => servers[server]?.cpuPerRequest.server ?? Number.NaN;
      const ratio = (above: string, below: string) => `${above}/${below} ${(cost(below) / cost(above)).toFixed(2)}`;
      console.log(`  ${name}: ${ratio('workers', 'lone')}, ${ratio('nodes', 'lone')}, ${ratio('workers', 'nodes')}`);
    }
    return result;
  });
}

async function startServers(stage: Stage, databaseUrl: string, count: number): Promise<Target[]> {
  const { folder } = stage;
  const built = buildGatehouse(folder);
  const start = async (name: string, workers: number) => {
    const process = await startGatehouse({ built, databaseUrl, folder, name, core: undefined, workers });
    stage.atEnd(() => process.stop());
    return process;
  };
  const lone = await start('lone', 1);
  const workers = await start('workers', count);
  const others: ServerProcess[] = [];
  while (others.length < count - 1) others.push(await start(`node-${others.length + 2}`, 1));
  const target = { kind: 'gatehouse', databaseUrl } as const;
  return [
    { ...target, name: 'lone', process: lone },
    // The lone one is the first of the nodes.
    { ...target, name: 'nodes', process: lone, nodes: others, serving: count },
    { ...target, name: 'workers', process: workers, serving: count },
  ];
}
