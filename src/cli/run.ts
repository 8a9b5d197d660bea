/** `gatehouse dev`, `serve`, `migrate`: the commands that run. */
import cluster from 'node:cluster';
import type { Command } from 'commander';
import type { Logger } from 'pino';
import {
  type ClientCertificates,
  type Config,
  ConfigurationError,
  clientCertificates,
  readConfig,
  readEnvironment,
  type Secrets,
} from '../config.ts';
import { workersMetrics } from '../http/observe.ts';
import { serveMetrics } from '../http/side-doors.ts';
import { type DemoSecrets, developmentKeys, readDemoSecrets } from '../operator/data-folder.ts';
import { ensureDemoData } from '../operator/demo-data.ts';
import { openDatabase } from '../postgres/database.ts';
import { migrate } from '../postgres/migrations.ts';
import { holdsDemoData } from '../postgres/people.pg.ts';
import { Passwords } from '../protocol/secrets.ts';
import { awaitDatabase, createLogger, probePort, startServer } from '../server.ts';
import { systemContext } from '../system-context.ts';
import { banner } from './banner.ts';
import { checkedClients } from './checked-clients.ts';
import { collectOften } from './memory.ts';
import { print } from './output.ts';
import { stopSignal, toldToStop } from './signals.ts';
import { eventLoopFirst } from './threads.ts';
import { unwell } from './unwell.ts';
import { shareConnections, superviseWorkers, tellLeaving } from './workers.ts';
import { findDatabase, inDataFolder, rulesFor } from './workplace.ts';

/** Milliseconds that a process has to end in once it is unwell: longer than all that it waits for on the way. */
const LAST_PATIENCE = 60_000;

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
      const database = openDatabase({
        url: variables.DATABASE_DIRECT_URL ?? url,
        poolMax: 2,
        prepared: false,
        timeout: 0,
      });
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
  // Told to stop while it starts, it finishes that first: the database must not be left behind.
  const stop = stopSignal();
  const { url, embedded } = await findDatabase(variables);
  try {
    const keys = await inDataFolder(developmentKeys(variables.GATEHOUSE_DATA, systemContext));
    const { config, secrets } = readConfig('dev', variables, { databaseUrl: url, ...keys });
    await refuseNeighbour(config, embedded?.joined === true);
    const { demo, forbidden } = await prepare(config, clientCertificates(variables), secrets.databaseDirectUrl);
    const server = await startServer({ config, secrets, signal: stop });
    console.log(banner(config, demo, forbidden));
    await toldToStop(stop);
    await server.close();
  } finally {
    await embedded?.stop();
  }
}

/**
 * A data folder is one server's. A second one would write its own address and demo data there, and under another profile retire keys that
 * the first one signs with; so it is refused before anything is written.
 * @param joined whether somebody else uses the database of the folder
 */
async function refuseNeighbour(config: Config, joined: boolean): Promise<void> {
  await probePort(config);
  const other = joined ? (await readDemoSecrets(config.dataFolder))?.issuer : undefined;
  if (other === undefined || other === config.issuer) return;
  const answers = await fetch(`${other}/healthz`, { signal: AbortSignal.timeout(2000) }).then(
    ({ ok }) => ok,
    () => false,
  );
  if (answers)
    throw new ConfigurationError(
      `GATEHOUSE_DATA: the Gatehouse at ${other} works with this folder: stop it, or choose another folder.`,
    );
}

async function prepare(
  config: Config,
  certificates: ClientCertificates,
  url: string,
): Promise<{ demo: DemoSecrets | undefined; forbidden: readonly string[] }> {
  const database = openDatabase({ url, poolMax: 2, prepared: false, timeout: 0 });
  const passwords = new Passwords();
  try {
    await migrate(database.sql, systemContext.now());
    if (!config.demoData && (await holdsDemoData(database.sql))) {
      throw new ConfigurationError(
        'HOST: this data folder holds demo data with published passwords: listen on loopback, choose another GATEHOUSE_DATA, or set GATEHOUSE_DEMO_DATA=on if you keep the port to this machine yourself.',
      );
    }
    const demo = config.demoData
      ? await ensureDemoData(database.sql, {
          folder: config.dataFolder,
          issuer: config.issuer,
          rules: rulesFor(database.sql, config.profile, passwords, systemContext),
          passwords,
          context: systemContext,
        })
      : undefined;
    const place = { database: database.sql, clientCertificates: certificates };
    const forbidden: string[] = [];
    for await (const { id, problems } of checkedClients(config.profile, place)) {
      if (problems.length > 0) forbidden.push(id);
    }
    return { demo, forbidden };
  } finally {
    await database.close();
  }
}

async function serve(): Promise<void> {
  collectOften();
  const { config, secrets } = readConfig('serve', readEnvironment(process.env));
  const stop = stopSignal();
  const logger = createLogger(config.logLevel);
  if (config.workers > 1 && cluster.isPrimary) {
    process.exitCode = await supervise(config, secrets, stop, logger);
    return;
  }
  await eventLoopFirst();
  try {
    const server = await startServer({ config, secrets, logger, signal: stop }).catch((error: unknown) => {
      // Told to stop while it waited for its database.
      if (stop.aborted) return undefined;
      throw error;
    });
    if (server) shareConnections(server.doors);
    const bad = unwell(logger);
    await toldToStop(AbortSignal.any([stop, bad]));
    tellLeaving({ unwell: bad.aborted });
    // Unwell it shuts its door at once. However it is, it ends.
    if (bad.aborted) setTimeout(() => process.exit(1), LAST_PATIENCE).unref();
    await server?.close({ notice: !bad.aborted });
    // What threw may have left behind what would keep the process alive.
    if (bad.aborted) process.exit(1);
  } finally {
    // The channel to the primary would keep a worker alive.
    cluster.worker?.disconnect();
  }
}

/**
 * The primary of several workers serves no requests; it waits for the database for all of them, and has the port for
 * metrics, which are those of all.
 */
async function supervise(config: Config, secrets: Secrets, stop: AbortSignal, logger: Logger): Promise<number> {
  const { workers, port, mutualTls, metricsPort, host } = config;
  const metrics = metricsPort === undefined ? undefined : await serveMetrics(host, metricsPort, workersMetrics());
  const ports = [port, ...(mutualTls?.door ? [mutualTls.door.port] : [])];
  try {
    await awaitDatabase({ config, secrets, logger, signal: stop });
    if (stop.aborted) return 0;
    const bad = unwell(logger);
    const code = await superviseWorkers(workers, ports, AbortSignal.any([stop, bad]), logger);
    return bad.aborted ? 1 : code;
  } catch (error) {
    // Told to stop while it waited for the database.
    if (stop.aborted) return 0;
    throw error;
  } finally {
    await metrics?.close();
  }
}
