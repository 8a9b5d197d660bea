/**
 * Composition: configuration, stores and features become one running server.
 *
 *   start ─▶ database and schema there? ──no──▶ wait, answering 503, until they are
 *              └─yes─▶ keys, jobs, registries ─▶ listen ─▶ SIGTERM: not ready, drain, flush, close
 */
import cluster from 'node:cluster';
import type { Server } from 'node:http';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DestinationStream, type Logger, pino } from 'pino';
import { type Config, ConfigurationError, type Secrets } from './config.ts';
import { buildKeyring, keyring } from './features/key-rotation/keyring.ts';
import { postgresKeys } from './features/key-rotation/keys.pg.ts';
import { features as allFeatures, type FeatureLine } from './features.ts';
import { type App, type AppOptions, createApp, createMutualTlsApp } from './http/app.ts';
import { answerPrimary, Metrics } from './http/observe.ts';
import { serveMetrics, waitingRoom } from './http/side-doors.ts';
import { startJobs } from './jobs.ts';
import { CachedRemoteKeys } from './outgoing/remote-keys.ts';
import { Audit } from './postgres/audit.pg.ts';
import { PostgresCatalogue } from './postgres/catalogue.ts';
import { findClientLogo } from './postgres/clients.pg.ts';
import { clockProblem } from './postgres/clock.ts';
import { type Database, openDatabase, type Sql, turnedAway } from './postgres/database.ts';
import { missingMigrations } from './postgres/migrations.ts';
import { keepPartitions } from './postgres/partitions.ts';
import { holdsDemoData } from './postgres/people.pg.ts';
import { postgresStores } from './postgres/stores.ts';
import type { AuthorizationServer } from './protocol/authorization-server.ts';
import type { Context } from './protocol/context.ts';
import type { Job } from './protocol/feature.ts';
import { KeyEncryption } from './protocol/key-encryption.ts';
import { assemble } from './protocol/registries.ts';
import { Passwords } from './protocol/secrets.ts';
import { systemContext } from './system-context.ts';

export interface StartOptions {
  readonly config: Config;
  readonly secrets: Secrets;
  /** Time and chance; tests shift them. */
  readonly context?: Context;
  readonly logger?: Logger;
  readonly features?: readonly FeatureLine[];
  /** Gives up waiting for database and schema. */
  readonly signal?: AbortSignal;
}

/** Milliseconds from "not ready" to no longer listening, for balancers to notice. */
const NOTICE = 2000;
/** Milliseconds that requests under way have to finish: more than any statement is given. */
const PATIENCE = 20_000;

export interface RunningServer {
  readonly app: App;
  /** What it listens with: for everybody, and for clients with certificates. */
  readonly doors: readonly Server[];
  /** Where it listens. */
  readonly address: string;
  readonly database: Database;
  /** As its rooms see it. */
  readonly server: AuthorizationServer;
  readonly passwords: Passwords;
  /** Names of what it was assembled from. */
  readonly features: readonly string[];
  /**
   * Stops taking requests, finishes those under way, writes what is gathered.
   * @param options.notice whether balancers get the time to look away first; they do where nothing is said
   */
  close(options?: { readonly notice?: boolean }): Promise<void>;
}

/** Nothing that is secret can get into the log by accident: these names are blanked, as they stand and one level down. */
const REDACTED = ['authorization', 'cookie', 'password', 'client_secret', 'refresh_token', 'access_token', 'id_token'];

/** PostgreSQL repeats in its details what it was sent. */
function withoutValues(error: Error): object {
  const { detail, where, hint, internalQuery, ...rest } = pino.stdSerializers.err(error) as Record<string, unknown>;
  return rest;
}

/**
 * Lines are gathered for a tenth of a second at most, or some fifty of them, and written beside the event loop: a write each
 * holds up whoever is waited for, and a full pipe all of them. An end of the process writes what is left; only a kill
 * that cannot be caught loses the last moment.
 */
function gatheredOutput(): DestinationStream & { flushSync(): void } {
  // Not in larger pieces: workers share a pipe, which has room for 64 KB, and what does not fit at once is torn by others' lines.
  const output = pino.destination({ sync: false, contentMode: 'buffer', minLength: 16_000, periodicFlush: 100 });
  return {
    // As bytes, which it counts; text it would join and measure from the beginning with each line, a copy of 8 KB on average.
    // Its types know text only.
    write: (line) => void output.write(Buffer.from(line) as unknown as string),
    flushSync: () => output.flushSync(),
  };
}

/** The log of a process: lines of JSON on standard output, without what is secret. */
export function createLogger(level: string): Logger {
  return pino(
    {
      level,
      redact: { paths: REDACTED.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
      serializers: { err: withoutValues },
    },
    gatheredOutput(),
  );
}

/**
 * Starts a server and returns once it listens and is ready.
 * @throws Error when it must not run: a key that opens nothing, demo data in production, a port that is taken
 */
export async function startServer(options: StartOptions): Promise<RunningServer> {
  const { config, secrets, context = systemContext, logger = createLogger(config.logLevel) } = options;
  const database = openDatabase({
    url: secrets.databaseUrl,
    poolMax: config.poolMax,
    prepared: config.prepared,
    makePartitions: async (connection) => void (await keepPartitions(connection, context.now())),
    onError: (error) => logger.warn({ err: error }, 'a database connection broke'),
  });
  try {
    await waitForDatabase(database.sql, options, logger);
    if (config.mode === 'serve' && (await holdsDemoData(database.sql))) {
      throw new ConfigurationError(
        'DATABASE_URL: this database holds demo data with published passwords: give `gatehouse serve` another one.',
      );
    }
    return await run(database, options, context, logger);
  } catch (error) {
    await database.close();
    throw error;
  }
}

/**
 * For the process that is in front of the workers: waits as a server would, so that none of them has to.
 * @throws ConfigurationError when PostgreSQL refuses the credentials
 */
export async function awaitDatabase(options: StartOptions): Promise<void> {
  const { config, secrets, logger = createLogger(config.logLevel) } = options;
  const onError = (error: Error) => logger.warn({ err: error }, 'a database connection broke');
  const database = openDatabase({ url: secrets.databaseUrl, poolMax: 1, prepared: false, onError });
  try {
    await waitForDatabase(database.sql, options, logger);
  } finally {
    await database.close();
  }
}

/**
 * Until database and schema are there, the port answers 503 and says why; then the start goes on by itself.
 *
 * A worker waits without opening the port: when the last worker closes a port that they share, connections that none has
 * accepted yet are reset. Its primary has waited before, so this is a database that went away in between, or a worker that
 * is replaced beside others.
 */
async function waitForDatabase(database: Sql, { config, signal }: StartOptions, logger: Logger): Promise<void> {
  let reason = await notReady(database, (error) => {
    const words = turnedAway(error);
    if (words !== undefined) throw new ConfigurationError(`DATABASE_URL: PostgreSQL refuses it (${words}).`);
  });
  if (reason === undefined) return;
  const room = cluster.isWorker
    ? undefined
    : await listening(
        'PORT',
        config.host,
        waitingRoom(config, () => reason ?? 'starting'),
      );
  try {
    for (let told: string | undefined; reason !== undefined; reason = await notReady(database)) {
      if (reason !== told) logger.warn({ reason }, 'waiting');
      told = reason;
      await sleep(1000, undefined, signal && { signal });
    }
  } finally {
    await room?.close();
  }
}

/** @returns why no request should come here, for operators, or `undefined` when they may */
async function notReady(database: Sql, onError?: (error: unknown) => void): Promise<string | undefined> {
  try {
    const [missing] = await missingMigrations(database);
    return missing === undefined
      ? await clockProblem(database, systemContext.now)
      : `the database schema is older than this version (${missing}): run \`gatehouse migrate\``;
  } catch (error) {
    onError?.(error);
    return 'the database is away';
  }
}

/** @throws ConfigurationError naming the variable when there is no listening there */
async function listening<T>(
  variable: 'PORT' | 'GATEHOUSE_MTLS_PORT' | 'GATEHOUSE_METRICS_PORT',
  host: string,
  door: Promise<T>,
): Promise<T> {
  try {
    return await door;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE')
      throw new ConfigurationError(`${variable}: another program listens there: stop it, or choose another port.`);
    if (code === 'EACCES')
      throw new ConfigurationError(`${variable}: this user may not listen there: choose a port above 1023.`);
    if (code === 'ENOTFOUND' || code === 'EADDRNOTAVAIL' || code === 'EAI_AGAIN')
      throw new ConfigurationError(`HOST: ${host} is not an address of this machine.`);
    throw error;
  }
}

/**
 * Whether a server could listen, asked before anything is written.
 * @throws ConfigurationError when it could not
 */
export async function probePort({ host, port }: Pick<Config, 'host' | 'port'>): Promise<void> {
  const probe = createServer();
  const opened = new Promise<void>((resolve, reject) => {
    probe.once('error', reject).listen(port, host, resolve);
  });
  await listening('PORT', host, opened);
  await new Promise((resolve) => probe.close(resolve));
}

async function run(
  database: Database,
  options: StartOptions,
  context: Context,
  logger: Logger,
): Promise<RunningServer> {
  const { config, secrets } = options;
  const { profile } = config;
  const encryption = new KeyEncryption(secrets.keyEncryptionKeys, context.random);
  const passwords = new Passwords({ cores: availableParallelism() / config.workers });
  const audit = new Audit(database.sql, context, (error) =>
    logger.warn({ err: error }, 'audit events could not be written; they are kept and tried again'),
  );
  const catalogue = new PostgresCatalogue({
    database: database.sql,
    directUrl: secrets.databaseDirectUrl,
    profile,
    onError: (error) => logger.warn({ err: error }, 'the catalogue could not be confirmed'),
    onForbidden: (client, problem) =>
      logger.warn({ client, problem }, 'the profile forbids this client; it is not served'),
  });
  const keys = postgresKeys(database.sql);
  const loadedKeys = catalogue.versioned(async () => buildKeyring(await keys.list(), encryption));
  const { sessionManagement, dpopNonce, mutualTls, allowLoopbackFetch } = config;
  const parts = {
    database: database.sql,
    profile,
    passwords,
    cookieKeys: secrets.cookieKeys,
    encryption,
    sessionManagement,
    dpopNonce,
    mutualTls: mutualTls && {
      authorities: mutualTls.authorities.length > 0,
      aliasOrigin: mutualTls.door?.origin,
    },
    allowLoopbackFetch,
  };
  const registries = assemble(
    (options.features ?? allFeatures).map((line) => line(parts)),
    profile,
  );

  const jobs: Job[] = [
    {
      name: 'keep partitions',
      every: 300,
      atStart: true,
      run: async (now) => void (await keepPartitions(database.sql, now)),
    },
    { name: 'write the audit trail', every: 1, run: () => audit.flush() },
    ...registries.features.flatMap((feature) => feature.jobs ?? []),
  ];
  const server: AuthorizationServer = {
    issuer: config.issuer,
    profile,
    context,
    registries,
    catalogue,
    keyring: keyring(() => catalogue.confirmed(() => loadedKeys.get())),
    ...(await postgresStores(database.sql, profile, encryption, context)),
    remoteKeys: new CachedRemoteKeys(context, allowLoopbackFetch),
  };
  for (const job of jobs) {
    if (job.atStart) await job.run(context.now(), server);
  }
  // A key-encryption key that does not open our keys stops the start here, not the first request.
  await server.keyring.published();

  const metrics = new Metrics({
    password_queue: { help: 'Sign-ins waiting to be hashed', read: () => passwords.queued },
    audit_dropped: { help: 'Audit events that were dropped since the start', read: () => audit.dropped },
  });
  let draining = false;
  const edge: AppOptions = {
    config,
    server,
    logger,
    metrics,
    audit: (event) => audit.record(event),
    unready: async () => (draining ? 'draining' : notReady(database.sql)),
    clientLogo: (id) => findClientLogo(database.sql, id),
  };
  const app = await createApp(edge);
  const mutualTlsApp = mutualTls?.door && (await createMutualTlsApp(edge, mutualTls.door.origin));
  const apps = [app, ...(mutualTlsApp ? [mutualTlsApp] : [])];
  for (const { server: listener } of apps) {
    // While draining, no connection outlives its request.
    listener.prependListener('request', (_request, response) => {
      if (draining) response.setHeader('connection', 'close');
    });
  }
  catalogue.start();
  const running = startJobs(jobs, server, (job, error) =>
    logger.warn({ err: error, job }, 'a job failed; it will run again'),
  );
  let metricsDoor: Awaited<ReturnType<typeof serveMetrics>> | undefined;
  const stop = async () => {
    await Promise.all(apps.map(closeApp));
    await metricsDoor?.close();
    await running.stop();
    await catalogue.stop();
    await audit.flush();
  };
  try {
    if (cluster.isWorker) answerPrimary(metrics);
    else if (config.metricsPort !== undefined) {
      const door = serveMetrics(config.host, config.metricsPort, metrics);
      metricsDoor = await listening('GATEHOUSE_METRICS_PORT', config.host, door);
    }
    const { port, host } = config;
    if (mutualTlsApp)
      await listening('GATEHOUSE_MTLS_PORT', host, mutualTlsApp.listen({ port: mutualTls.door?.port ?? 0, host }));
    const address = await listening('PORT', host, app.listen({ port, host }));
    return {
      app,
      doors: apps.map(({ server: door }) => door),
      address,
      database,
      server,
      passwords,
      features: registries.features.map(({ name }) => name),
      async close({ notice = true } = {}) {
        draining = true;
        // Balancers look away before the door shuts. In development there is none, and somebody waits for the prompt.
        if (config.mode === 'serve' && notice) await sleep(NOTICE);
        await stop();
        await database.close();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Finishes the requests under way; a connection that is kept alive closes with the last of them. */
async function closeApp(app: App): Promise<void> {
  const idle = setInterval(() => app.server.closeIdleConnections(), 100);
  const late = setTimeout(() => app.server.closeAllConnections(), PATIENCE);
  try {
    await app.close();
  } finally {
    clearInterval(idle);
    clearTimeout(late);
  }
}
