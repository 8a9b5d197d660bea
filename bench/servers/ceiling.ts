/** Starts the ceiling in a process of its own; what runs there is bench/ceiling. */
import { join } from 'node:path';
import { PARAMETERS } from '../../src/cli/memory.ts';
import { freePort, type ServerProcess, startServer } from '../harness/processes.ts';
import { SCRIPT_PARAMETERS, type ScriptServerOptions } from './oidc-provider.ts';

export async function startCeiling({ cast, databaseUrl, folder, core }: ScriptServerOptions): Promise<ServerProcess> {
  const port = await freePort();
  return startServer({
    name: 'ceiling',
    parameters: [...PARAMETERS, ...SCRIPT_PARAMETERS, join(import.meta.dirname, '../ceiling/process.ts')],
    cwd: join(import.meta.dirname, '../..'),
    env: {
      NODE_ENV: 'production',
      DATABASE_URL: databaseUrl,
      PORT: String(port),
      CLIENT_KEY: JSON.stringify(cast.key.publicJwk),
    },
    port,
    readyPath: '/ready',
    logFile: join(folder, 'ceiling.log'),
    core,
  });
}
