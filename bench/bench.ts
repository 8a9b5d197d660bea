/** `npm run bench`: see options.ts for what it takes, docs/performance.md for how it measures. */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { profileSummary } from './harness/cpu-profile.ts';
import { isGood } from './harness/report.ts';
import { HELP, readOptions } from './options.ts';
import { compareServers } from './run.ts';
import { compareGrowth } from './scale/growth.ts';

try {
  const options = readOptions(process.argv.slice(2));
  if (options.help) console.log(HELP);
  else {
    const profile = options.profile === undefined ? undefined : resolve(options.profile);
    const result =
      options.scale === undefined
        ? await compareServers({ ...options, profile })
        : await compareGrowth(options, options.scale);
    if (profile !== undefined) console.log(profileSummary(profile));
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
    if (!isGood(result.workloads)) process.exitCode = 1;
  }
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
