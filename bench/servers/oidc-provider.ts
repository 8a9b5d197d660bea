/** Starts oidc-provider in a process of its own; what runs there is oidc-provider-process.ts. */
import { join } from 'node:path';
import { freePort, type ServerProcess, startServer } from '../harness/processes.ts';
import type { Cast } from './cast.ts';
import { clientMetadata } from './cast.ts';

export interface ScriptServerOptions {
  readonly cast: Cast;
  readonly databaseUrl: string;
  readonly folder: string;
  readonly core: number | undefined;
}

/** How processes of our own scripts are started: compiled on loading, once. */
export const SCRIPT_PARAMETERS = ['--conditions=gatehouse-source', '--import', 'tsx'] as const;

/** What the process is told, as JSON in its environment. */
export interface OidcProviderSettings {
  readonly clients: readonly ({ client_id: string } & Record<string, unknown>)[];
  readonly people: Cast['people'];
}

export async function startOidcProvider({
  cast,
  databaseUrl,
  folder,
  core,
}: ScriptServerOptions): Promise<ServerProcess> {
  const port = await freePort();
  const settings: OidcProviderSettings = {
    // Scopes are those of its resource servers; a client's own list would be of scopes of OpenID Connect.
    clients: clientMetadata(cast.key).map(({ scope: _scope, ...metadata }) => ({
      ...metadata,
      response_types: Array.isArray(metadata.redirect_uris) && metadata.redirect_uris.length > 0 ? ['code'] : [],
      ...(cast.secrets.has(metadata.client_id) && { client_secret: cast.secrets.get(metadata.client_id) }),
    })),
    people: cast.people,
  };
  return startServer({
    name: 'oidc-provider',
    parameters: [...SCRIPT_PARAMETERS, join(import.meta.dirname, 'oidc-provider-process.ts')],
    cwd: join(import.meta.dirname, '../..'),
    env: { NODE_ENV: 'production', DATABASE_URL: databaseUrl, PORT: String(port), SETTINGS: JSON.stringify(settings) },
    port,
    readyPath: '/.well-known/openid-configuration',
    logFile: join(folder, 'oidc-provider.log'),
    core,
  });
}
