/** `npm run bench`: see options.ts for what it takes, docs/performance.md for how it measures. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { profileSummary } from './harness/cpu-profile.ts';
import { isGood } from './harness/report.ts';
import { HELP, type Options, readOptions } from './options.ts';
import { compareServers } from './run.ts';
import { compareGrowth } from './scale/growth.ts';
import { soak } from './soak.ts';
import { compareWorkers } from './workers.ts';

/** @returns what goes into the file, and whether all of it went well */
async function run(options: Options): Promise<{ result: object; good: boolean }> {
  if (options.soak !== undefined) {
    const result = await soak(options, options.soak);
    return { result, good: result.minutes.every(({ errors, iterations }) => errors === 0 && iterations > 0) };
  }
  const { scale, workers } = options;
  const result =
    scale !== undefined
      ? await compareGrowth(options, scale)
      : workers !== undefined
        ? await compareWorkers(options, workers)
        : await compareServers(options);
  return { result, good: isGood(result.workloads) };
}

try {
  const read = readOptions(process.argv.slice(2));
  if (read.help) console.log(HELP);
  else {
    const options = { ...read, profile: read.profile === undefined ? undefined : resolve(read.profile) };
    const { result, good } = await run(options);
    if (options.profile !== undefined) console.log(profileSummary(options.profile));
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
    if (!good) process.exitCode = 1;
  }
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
