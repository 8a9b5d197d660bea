/** Gatehouse as it runs in production: `gatehouse serve` of compiled code, with its log, its audit trail and its jobs. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PARAMETERS } from '../../src/cli/memory.ts';
import { rulesFor } from '../../src/cli/workplace.ts';
import { registerClient } from '../../src/operator/clients.ts';
import { addExchangePolicy } from '../../src/operator/exchange-policies.ts';
import { registerResource } from '../../src/operator/resources.ts';
import { registerUser } from '../../src/operator/users.ts';
import { openDatabase } from '../../src/postgres/database.ts';
import { migrate } from '../../src/postgres/migrations.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { Passwords } from '../../src/protocol/secrets.ts';
import { systemContext } from '../../src/system-context.ts';
import { freePort, type ServerProcess, startServer } from '../harness/processes.ts';
import { ISSUER } from '../harness/request.ts';
import {
  ACCESS_TOKEN_LIFETIME,
  ARCHIVE,
  type Cast,
  type ClientKey,
  clientMetadata,
  EXCHANGE_GRANT,
  makeKey,
  PASSWORD,
  PHOTOS,
  STORAGE,
} from './cast.ts';

const CHECKOUT = join(import.meta.dirname, '../..');

/**
 * Compiles the sources into a folder that looks like the image: what is not compiled is linked there.
 * Types are not checked again; that changes nothing of what is emitted.
 */
export function buildGatehouse(folder: string): string {
  const built = join(folder, 'gatehouse');
  mkdirSync(built);
  for (const name of ['migrations', 'views', 'node_modules', 'package.json'])
    symlinkSync(join(CHECKOUT, name), join(built, name));
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const parameters = ['-p', join(CHECKOUT, 'tsconfig.build.json'), '--outDir', join(built, 'dist'), '--noCheck'];
  execFileSync(process.execPath, [tsc, ...parameters], { stdio: 'inherit' });
  return built;
}

const KEYS = { cookie: randomBytes(32), encryption: randomBytes(32) };

export interface GatehouseOptions {
  /** Made by {@link buildGatehouse}. */
  readonly built: string;
  readonly databaseUrl: string;
  readonly folder: string;
  readonly name: string;
  readonly core: number | undefined;
  /** A folder for a profile of the processor. */
  readonly profile?: string | undefined;
  readonly workers?: number;
}

export async function startGatehouse(options: GatehouseOptions): Promise<ServerProcess> {
  const { built, databaseUrl, folder, name, core, profile, workers = 1 } = options;
  const port = await freePort();
  const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`];
  return startServer({
    name,
    parameters: [...profiling, ...PARAMETERS, join(built, 'dist/cli.js'), 'serve'],
    cwd: folder,
    env: {
      // As in the image.
      NODE_ENV: 'production',
      DATABASE_URL: databaseUrl,
      GATEHOUSE_ISSUER: ISSUER,
      GATEHOUSE_COOKIE_KEY: KEYS.cookie.toString('base64url'),
      GATEHOUSE_KEY_ENCRYPTION_KEY: KEYS.encryption.toString('base64url'),
      GATEHOUSE_TRUSTED_PROXIES: '127.0.0.1',
      HOST: '127.0.0.1',
      PORT: String(port),
      GATEHOUSE_WORKERS: String(workers),
      LOG_LEVEL: 'info',
    },
    port,
    readyPath: '/readyz',
    logFile: join(folder, `${name}.log`),
    core,
  });
}

/**
 * Migrates a database and registers the cast in it, by what operators use.
 * @param people how many
 */
export async function seedGatehouse(databaseUrl: string, people: number): Promise<Cast> {
  const database = openDatabase({ url: databaseUrl, poolMax: 4, prepared: false, timeout: 0 });
  try {
    const { sql } = database;
    const context = systemContext;
    // All are registered at once.
    const passwords = new Passwords({ queueLimit: people });
    await migrate(sql, context.now());
    const rules = rulesFor(sql, oauth21, passwords, context);
    const key = makeKey('keyed-key');
    const secrets = new Map<string, string>();
    const metadata = gatehouseClients(key);
    // Scopes of clients and introspecting clients of resources name each other: those that introspect come first.
    for (const one of metadata.filter(({ scope }) => scope === undefined)) await register(one);
    for (const resource of RESOURCES)
      await registerResource(sql, resource, { profile: oauth21, issuer: ISSUER }, context.now());
    for (const one of metadata.filter(({ scope }) => scope !== undefined)) await register(one);
    for (const policy of POLICIES)
      await addExchangePolicy(sql, policy, { profile: oauth21, issuer: ISSUER }, context.now());
    const usernames = Array.from({ length: people }, (_, index) => `person${index}`);
    const registered = usernames.map(async (username) => {
      const claims = { name: `Person ${username}`, email: `${username}@people.example` };
      const { id } = await registerUser(
        sql,
        { username, password: PASSWORD, claims },
        { passwordMin: 8, passwords },
        context,
      );
      return { username, id };
    });
    return { key, secrets, people: await Promise.all(registered) };

    async function register(one: Record<string, unknown>): Promise<void> {
      const { clientId, clientSecret } = await registerClient(sql, one, rules, context);
      if (clientSecret !== undefined) secrets.set(clientId, clientSecret);
    }
  } finally {
    await database.close();
  }
}

function gatehouseClients(key: ClientKey): Record<string, unknown>[] {
  const own = { access_token_lifetime: ACCESS_TOKEN_LIFETIME };
  const api = { grant_types: ['client_credentials', EXCHANGE_GRANT], ...own };
  return [
    { client_id: 'photos-api', client_name: 'photos-api', ...api },
    ...clientMetadata(key).map(({ scope, redirect_uris, ...metadata }) => ({
      ...metadata,
      client_name: metadata.client_id,
      ...(Array.isArray(redirect_uris) && redirect_uris.length > 0 && { redirect_uris }),
      // Its API is registered after it.
      ...(metadata.client_id !== 'storage-api' && { scope }),
      ...own,
    })),
  ];
}

const RESOURCES = [
  { resource: PHOTOS, name: 'Photos', scopes: { 'photos.read': 'See photos' }, introspection_clients: ['photos-api'] },
  {
    resource: STORAGE,
    name: 'Storage',
    scopes: { 'storage.read': 'Read files' },
    access_token_format: 'opaque',
    introspection_clients: ['storage-api'],
  },
  { resource: ARCHIVE, name: 'Archive', scopes: { 'archive.read': 'Read the archive' }, introspection_clients: [] },
].map((resource) => ({ access_token_format: 'jwt', access_token_lifetime: ACCESS_TOKEN_LIFETIME, ...resource }));

const POLICIES = [
  {
    name: 'photos-to-archive',
    client: 'photos-api',
    source: PHOTOS,
    target: ARCHIVE,
    scopes: { 'photos.read': ['archive.read'] },
  },
];
