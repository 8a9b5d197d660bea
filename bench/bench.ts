/** `npm run bench`: see options.ts for what it takes, docs/performance.md for how it measures. */
import { writeFileSync } from 'node:fs';
import { isGood } from './harness/report.ts';
import { HELP, readOptions } from './options.ts';
import { compareServers } from './run.ts';

try {
  const options = readOptions(process.argv.slice(2));
  if (options.help) console.log(HELP);
  else {
    const result = await compareServers(options);
    if (options.json !== undefined) writeFileSync(options.json, `${JSON.stringify(result, null, 2)}\n`);
    if (!isGood(result.workloads)) process.exitCode = 1;
  }
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
