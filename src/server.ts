/**
 * Composition: configuration, stores and features become one running server.
 *
 *   start ─▶ database and schema there? ──no──▶ wait, answering 503, until they are
 *              └─yes─▶ keys, jobs, registries ─▶ listen ─▶ SIGTERM: not ready, drain, flush, close
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, pino } from 'pino';
import type { Config, Secrets } from './config.ts';
import { buildKeyring, keyring } from './features/key-rotation/index.ts';
import { postgresSigningKeys } from './features/key-rotation/keys.pg.ts';
import { features as allFeatures, type FeatureLine } from './features.ts';
import { type App, createApp } from './http/app.ts';
import { Metrics } from './http/observe.ts';
import { serveMetrics, waitingRoom } from './http/side-doors.ts';
import { startJobs } from './jobs.ts';
import { Audit } from './postgres/audit.pg.ts';
import { PostgresCatalogue } from './postgres/catalogue.ts';
import { findClientLogo } from './postgres/clients.pg.ts';
import { clockProblem } from './postgres/clock.ts';
import { type Database, openDatabase, type Sql } from './postgres/database.ts';
import { postgresLedger } from './postgres/ledger.pg.ts';
import { missingMigrations } from './postgres/migrations.ts';
import { keepPartitions } from './postgres/partitions.ts';
import { postgresPendingAuthorizations } from './postgres/pending-authorizations.pg.ts';
import { holdsDemoData } from './postgres/people.pg.ts';
import { postgresSessions } from './postgres/sessions.pg.ts';
import { sharedKey } from './postgres/shared-keys.pg.ts';
import type { AuthorizationServer } from './protocol/authorization-server.ts';
import type { Context } from './protocol/context.ts';
import { assemble, type Job } from './protocol/feature.ts';
import { KeyEncryption } from './protocol/key-encryption.ts';
import { Passwords } from './protocol/secrets.ts';

export const systemContext: Context = { now: () => new Date(), random: (size) => randomBytes(size) };

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

export interface RunningServer {
  readonly app: App;
  /** Where it listens. */
  readonly address: string;
  readonly database: Database;
  readonly passwords: Passwords;
  /** Names of what it was assembled from. */
  readonly features: readonly string[];
  /** Stops taking requests, finishes those under way, writes what is gathered. */
  close(): Promise<void>;
}

/** Nothing that is secret can get into the log by accident: these names are blanked wherever they appear. */
const REDACTED = [
  'authorization',
  'cookie',
  'password',
  'client_secret',
  'code',
  'refresh_token',
  'access_token',
  'id_token',
  'token',
];

export function createLogger(level: string): Logger {
  return pino({ level, redact: { paths: REDACTED.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' } });
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
    makePartitions: async () => void (await keepPartitions(database.sql, context.now())),
    onError: (error) => logger.warn({ err: error }, 'a database connection broke'),
  });
  try {
    await waitForDatabase(database.sql, options, logger);
    if (config.mode === 'serve' && (await holdsDemoData(database.sql))) {
      throw new Error('This database holds demo data with published passwords: `gatehouse serve` needs another one.');
    }
    return await run(database, options, context, logger);
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Until database and schema are there, the port answers 503 and says why; then the start goes on by itself. */
async function waitForDatabase(database: Sql, { config, signal }: StartOptions, logger: Logger): Promise<void> {
  let reason = await notYet(database);
  if (reason === undefined) return;
  const room = await waitingRoom(config, () => reason ?? 'starting');
  try {
    while (reason !== undefined) {
      logger.warn({ reason }, 'waiting');
      await sleep(1000, undefined, signal && { signal });
      reason = await notYet(database);
    }
  } finally {
    await room.close();
  }
}

async function notYet(database: Sql): Promise<string | undefined> {
  try {
    const missing = await missingMigrations(database);
    return missing.length === 0
      ? undefined
      : `the database schema is older than this version (${missing[0]}): run \`gatehouse migrate\``;
  } catch {
    return 'the database is away';
  }
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
  const passwords = new Passwords();
  const audit = new Audit(database.sql, context);
  const catalogue = new PostgresCatalogue({
    database: database.sql,
    directUrl: secrets.databaseDirectUrl,
    onError: (error) => logger.warn({ err: error }, 'the catalogue could not be confirmed'),
  });
  const keys = postgresSigningKeys(database.sql);
  const loadedKeys = catalogue.versioned(async () => buildKeyring(await keys.list(), encryption));
  const parts = { database: database.sql, profile, passwords, cookieKeys: secrets.cookieKeys, encryption };
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
  for (const job of jobs) {
    if (job.atStart) await job.run(context.now());
  }

  const server: AuthorizationServer = {
    issuer: config.issuer,
    brandName: config.brand.name,
    profile,
    context,
    registries,
    catalogue,
    keyring: keyring(async () => {
      await catalogue.fresh();
      return loadedKeys.get();
    }),
    ledger: postgresLedger(database.sql),
    sessions: postgresSessions(database.sql, profile.lifetimes.sessionIdle * 1000),
    pendingAuthorizations: postgresPendingAuthorizations(database.sql),
    csrfKey: await sharedKey(database.sql, 'csrf', encryption, context),
  };
  // A key-encryption key that does not open the signing keys stops the start here, not the first request.
  await server.keyring.published();

  const metrics = new Metrics({
    password_queue: { help: 'Sign-ins waiting to be hashed', read: () => passwords.queued },
    audit_dropped: { help: 'Audit events that were dropped since the start', read: () => audit.dropped },
  });
  let draining = false;
  const app = await createApp({
    config,
    server,
    logger,
    metrics,
    audit: (event) => audit.record(event),
    unready: async () =>
      draining ? 'draining' : ((await notYet(database.sql)) ?? (await clockProblem(database.sql, systemContext.now))),
    clientLogo: (id) => findClientLogo(database.sql, id),
  });
  const clock = await clockProblem(database.sql, systemContext.now);
  if (clock !== undefined) logger.error({ reason: clock }, 'not ready');
  catalogue.start();
  const running = startJobs(jobs, context, (job, error) =>
    logger.warn({ err: error, job }, 'a job failed; it will run again'),
  );
  const metricsDoor =
    config.metricsPort === undefined ? undefined : await serveMetrics(config.host, config.metricsPort, metrics);
  const address = await app.listen({ port: config.port, host: config.host });
  return {
    app,
    address,
    database,
    passwords,
    features: registries.features.map(({ name }) => name),
    async close() {
      draining = true;
      await app.close();
      await metricsDoor?.close();
      await running.stop();
      await catalogue.stop();
      await audit.flush();
      await database.close();
    },
  };
}
