/** `gatehouse dev`, `serve`, `migrate`: the commands that run. */
import cluster from 'node:cluster';
import type { Command } from 'commander';
import { type Config, readConfig, readEnvironment } from '../config.ts';
import { type DemoSecrets, developmentKeys } from '../operator/data-folder.ts';
import { ensureDemoData } from '../operator/demo-data.ts';
import { openDatabase } from '../postgres/database.ts';
import { migrate } from '../postgres/migrations.ts';
import { Passwords } from '../protocol/secrets.ts';
import { type RunningServer, startServer, systemContext } from '../server.ts';
import { print } from './output.ts';
import { findDatabase, rulesFor } from './workplace.ts';

export function runCommands(program: Command): void {
  program
    .command('dev')
    .description('Run a development server: its own database, migrated, with keys and demo data')
    .action(dev);
  program
    .command('serve')
    .description('Run in production: needs DATABASE_URL, GATEHOUSE_ISSUER and the keys; never migrates')
    .action(serve);
  program
    .command('migrate')
    .description('Bring the database schema up to this version')
    .action(async (_options, command) => {
      const variables = readEnvironment(process.env);
      const { url, embedded } = await findDatabase(variables);
      const database = openDatabase({ url: variables.DATABASE_DIRECT_URL ?? url, poolMax: 2, prepared: false });
      try {
        print(command, { applied: await migrate(database.sql, systemContext.now()) });
      } finally {
        await database.close();
        await embedded?.stop();
      }
    });
}

async function dev(): Promise<void> {
  const variables = readEnvironment(process.env);
  // A wrong value is told before anything is started.
  readConfig('dev', variables, { databaseUrl: 'postgres://', cookieKeys: [], keyEncryptionKeys: [] });
  const { url, embedded } = await findDatabase(variables);
  try {
    const keys = await developmentKeys(variables.GATEHOUSE_DATA, systemContext);
    const { config, secrets } = readConfig('dev', variables, { databaseUrl: url, ...keys });
    const demo = await prepare(config, secrets.databaseDirectUrl);
    const server = await startServer({ config, secrets });
    console.log(banner(config, demo));
    await untilSignal(server);
  } finally {
    await embedded?.stop();
  }
}

async function prepare(config: Config, url: string): Promise<DemoSecrets | undefined> {
  const database = openDatabase({ url, poolMax: 2, prepared: false });
  const passwords = new Passwords();
  try {
    await migrate(database.sql, systemContext.now());
    if (!config.demoData) return undefined;
    return await ensureDemoData(database.sql, {
      folder: config.dataFolder,
      issuer: config.issuer,
      rules: rulesFor(database.sql, config.profile, passwords, systemContext),
      passwords,
      context: systemContext,
    });
  } finally {
    await database.close();
  }
}

function banner({ issuer, profile, demoData }: Config, demo: DemoSecrets | undefined): string {
  const secret = (client: string) => demo?.clients[client]?.client_secret ?? '';
  const lines = [
    '',
    `  Gatehouse is ready on ${issuer} (profile ${profile.name}${issuer.startsWith('http:') ? '; plain http, because this is loopback' : ''})`,
    '',
  ];
  if (demo) {
    lines.push(
      '  Sign in as alice / wonderland or bob / builder:',
      `    ${issuer}/account`,
      '  A token for a backend:',
      `    curl -s -u photos-batch:${secret('photos-batch')} -d grant_type=client_credentials ${issuer}/token`,
      '  What a token is worth, asked by the API it is for:',
      `    curl -s -u photos-api:${secret('photos-api')} -d token=TOKEN ${issuer}/token_info`,
      '  The whole story in a browser (in another terminal):',
      '    npm run demo',
      '',
    );
  } else {
    lines.push(
      demoData
        ? '  This database has users of its own, so there is no demo data.'
        : '  No demo data: it is made only where the server listens on loopback.',
      '  Begin with: npx gatehouse users create --help, npx gatehouse clients create --help',
      '',
    );
  }
  return lines.join('\n');
}

async function serve(): Promise<void> {
  const { config, secrets } = readConfig('serve', readEnvironment(process.env));
  if (config.workers > 1 && cluster.isPrimary) return superviseWorkers(config.workers);
  const waiting = new AbortController();
  const giveUp = () => waiting.abort();
  process.once('SIGTERM', giveUp).once('SIGINT', giveUp);
  const server = await startServer({ config, secrets, signal: waiting.signal }).catch((error: unknown) => {
    if (waiting.signal.aborted) return undefined;
    throw error;
  });
  process.off('SIGTERM', giveUp).off('SIGINT', giveUp);
  if (server) await untilSignal(server);
}

/** Runs until it is told to stop, then drains; told twice, it stops at once. */
async function untilSignal(server: RunningServer): Promise<void> {
  await new Promise<void>((resolve) => {
    process.once('SIGTERM', () => resolve()).once('SIGINT', () => resolve());
  });
  const atOnce = () => process.exit(1);
  process.once('SIGTERM', atOnce).once('SIGINT', atOnce);
  await server.close();
  process.off('SIGTERM', atOnce).off('SIGINT', atOnce);
}

/** One port, several processes: one that dies is replaced, unless it dies at its start again and again. */
async function superviseWorkers(count: number): Promise<void> {
  let stopping = false;
  let failures = 0;
  const fork = () => {
    const worker = cluster.fork();
    worker.once('listening', () => {
      failures = 0;
    });
  };
  for (let index = 0; index < count; index += 1) fork();
  const stop = () => {
    stopping = true;
    for (const worker of Object.values(cluster.workers ?? {})) worker?.process.kill('SIGTERM');
  };
  process.on('SIGTERM', stop).on('SIGINT', stop);
  await new Promise<void>((resolve) => {
    cluster.on('exit', (_worker, code) => {
      failures += 1;
      if (!stopping && failures < 5 * count) return fork();
      if (Object.keys(cluster.workers ?? {}).length > 0) return stop();
      process.exitCode = stopping ? 0 : code || 1;
      resolve();
    });
  });
}
