/**
 * Memory over time: Gatehouse under a steady load of everything for minutes, its resident memory once a minute. It grows until its
 * caches are full, and must not grow after that.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { drive } from './harness/load.ts';
import { memoryOf } from './harness/system.ts';
import type { Options } from './options.ts';
import { onStage } from './run.ts';
import { buildGatehouse, seedGatehouse, startGatehouse } from './servers/gatehouse.ts';
import type { Setting, Target } from './servers/target.ts';
import { workloads } from './workloads/index.ts';

export interface SoakResult {
  readonly minutes: readonly { readonly megabytes: number; readonly iterations: number; readonly errors: number }[];
}

const WORKLOADS = [
  'client-credentials-opaque',
  'client-credentials-jwt',
  'introspection-jwt',
  'code-flow',
  'refresh-rotation',
  'fapi-flow',
  'token-exchange',
  'userinfo',
  'revocation',
];
/** Milliseconds each of them runs at a time, and the pause after it: half a load, so that what runs beside is not starved. */
const TURN = 1000;

export async function soak(options: Options, minutes: number): Promise<SoakResult> {
  return onStage(async (stage) => {
    const { folder, postgres, serverCore: core } = stage;
    const databaseUrl = await postgres.createDatabase('gatehouse');
    const cast = await seedGatehouse(databaseUrl, options.connections);
    const process = await startGatehouse({
      built: buildGatehouse(folder),
      databaseUrl,
      folder,
      name: 'gatehouse',
      core,
    });
    stage.atEnd(() => process.stop());
    const target: Target = { name: 'gatehouse', kind: 'gatehouse', process, databaseUrl };
    const setting: Setting = { cast, connections: options.connections, tokens: options.tokens };
    const chosen = workloads.filter(({ name }) => WORKLOADS.includes(name));
    const result: SoakResult['minutes'][number][] = [];
    for (let minute = 0; minute < minutes; minute += 1) {
      const end = performance.now() + 60_000;
      let [iterations, errors] = [0, 0];
      while (performance.now() < end) {
        for (const workload of chosen) {
          const script = await workload.prepare(target, { ...setting, tokens: Math.min(setting.tokens, 100) });
          const scripts = Array.from({ length: setting.connections }, (_, connection) => script(connection));
          const tally = await drive({ ports: [process.port], scripts, warmUp: 0, window: TURN });
          iterations += tally.iterations;
          errors += tally.errors;
          await sleep(TURN);
        }
      }
      const megabytes = Math.round((memoryOf(process.pid) ?? 0) / 2 ** 20);
      console.log(`minute ${minute + 1}: ${megabytes} MB, ${iterations} iterations, ${errors} errors`);
      result.push({ megabytes, iterations, errors });
    }
    return { minutes: result };
  });
}
