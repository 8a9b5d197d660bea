/**
 * A whole Gatehouse for a test: real HTTP on loopback, a database of its own, a clock that can be moved, and the operator
 * verbs. Two of them on one database are two nodes.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Logger, pino } from 'pino';
import { rulesFor } from '../../src/cli/workplace.ts';
import { type Config, readConfig, readEnvironment } from '../../src/config.ts';
import type { FeatureLine } from '../../src/features.ts';
import { registerClient } from '../../src/operator/clients.ts';
import { registerResource } from '../../src/operator/resources.ts';
import { registerUser } from '../../src/operator/users.ts';
import type { Context } from '../../src/protocol/context.ts';
import { type RunningServer, startServer } from '../../src/server.ts';
import { createDatabase } from './database.ts';
import { freePort } from './ports.ts';
import { TEST_KEY_ENCRYPTION_KEY } from './template.ts';

export const TEST_COOKIE_KEY = Buffer.alloc(32, 9);

export interface TestServer {
  readonly issuer: string;
  readonly running: RunningServer;
  readonly databaseUrl: string;
  readonly clock: { now(): Date; advance(seconds: number): void };
  readonly context: Context;
  /** Lines of the log, as printed. */
  readonly log: readonly string[];
  client(metadata: Record<string, unknown>): Promise<{ id: string; secret: string }>;
  /** @returns the user's `sub` */
  user(user: { username: string; password: string; claims?: Record<string, unknown> }): Promise<string>;
  resource(resource: Record<string, unknown>): Promise<void>;
  /**
   * Round trips to the database that `work` takes: the fewest of several runs, since the jobs of the background (audit,
   * catalogue) add theirs now and then and never take any away.
   */
  roundTripsOf<Prepared>(
    prepare: () => Promise<Prepared>,
    work: (prepared: Prepared) => Promise<unknown>,
  ): Promise<number>;
  /** Another node on the same database, sharing this one's clock. */
  node(): Promise<TestServer>;
  close(): Promise<void>;
}

export interface TestServerOptions {
  /** Variables of the environment, e.g. `GATEHOUSE_BRAND_NAME`. */
  readonly env?: Record<string, string>;
  readonly features?: readonly FeatureLine[];
  readonly databaseUrl?: string;
  readonly clock?: TestServer['clock'];
}

export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const created = options.databaseUrl === undefined ? await createDatabase({ migrated: true }) : undefined;
  const databaseUrl = options.databaseUrl ?? created?.url ?? '';
  const port = await freePort();
  const { config, secrets } = readConfig(
    'dev',
    readEnvironment({ PORT: String(port), LOG_LEVEL: 'info', ...options.env }),
    {
      databaseUrl,
      cookieKeys: [TEST_COOKIE_KEY],
      keyEncryptionKeys: [TEST_KEY_ENCRYPTION_KEY],
    },
  );
  const clock = options.clock ?? movableClock();
  const context: Context = { now: clock.now, random: randomBytes };
  const log: string[] = [];
  const running = await startServer({
    config,
    secrets,
    context,
    logger: collecting(log),
    ...(options.features && { features: options.features }),
  });
  const { database, passwords } = running;
  const rules = rulesFor(database.sql, config.profile, passwords, context);
  return {
    issuer: config.issuer,
    running,
    databaseUrl,
    clock,
    context,
    log,
    async client(metadata) {
      const { clientId, clientSecret = '' } = await registerClient(
        database.sql,
        metadata,
        rules,
        context,
        config.allowLoopbackFetch,
      );
      return { id: clientId, secret: clientSecret };
    },
    user: async (user) => (await registerUser(database.sql, user, { passwordMin: 1, passwords }, context)).id,
    resource: async (resource) =>
      void (await registerResource(
        database.sql,
        resource,
        { profile: config.profile as Config['profile'], issuer: config.issuer },
        context.now(),
      )),
    async roundTripsOf(prepare, work) {
      let fewest = Number.POSITIVE_INFINITY;
      for (let run = 0; run < 5; run += 1) {
        const prepared = await prepare();
        const before = database.roundTrips;
        await work(prepared);
        fewest = Math.min(fewest, database.roundTrips - before);
      }
      return fewest;
    },
    node: () => startTestServer({ ...options, databaseUrl, clock }),
    async close() {
      await running.close();
      await created?.drop();
    },
  };
}

function movableClock(): TestServer['clock'] {
  let offset = 0;
  return {
    now: () => new Date(Date.now() + offset),
    advance(seconds) {
      offset += seconds * 1000;
    },
  };
}

function collecting(lines: string[]): Logger {
  return pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
}

/** Waits until a server has heard of a change that was made past it: within a second, mostly at once. */
export async function heardOf(isKnown: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await isKnown())) {
    if (Date.now() > end) throw new Error('The server has not heard of the change.');
    await sleep(10);
  }
}
