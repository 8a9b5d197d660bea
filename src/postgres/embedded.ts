/**
 * The embedded, real PostgreSQL behind `gatehouse dev`, the commands beside it, and the tests.
 *
 * It belongs to a data folder, not to a process: the first command on the folder starts it, others join it, the last
 * one to leave stops it. All of that happens while holding the folder's lock.
 *
 * Invariant: whoever was handed a server keeps it until they stop(). So each holder keeps one connection open, its
 * *presence*, from before the lock is given back: a server with another session on it is in use and is left alone.
 *
 *     start: lock → no cluster? make it → postmaster alive? yes → joined; no → clear away, pg_ctl start
 *                 → wait until it answers → presence → unlock
 *     stop:  presence ends → lock → other sessions? yes → leave it to them; no → pg_ctl stop → unlock
 *
 * A holder that was killed leaves the server running; the next command joins it, and stops it when it is the last.
 *
 *     data folder          postgres.lock      see folder-lock.ts
 *                          postgres.password  0600
 *                          postgres.log       of the present or latest run
 *                          cluster/           the data, or
 *                          postgres.home      the name of the folder it is in, see embedded-folder.ts
 */
import { Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, type ClientConfig, DatabaseError } from 'pg';
import { unprivilegedAccount } from './embedded-account.ts';
import { findBinaries } from './embedded-binaries.ts';
import { type Cluster, findPostmaster, initialise, launch, SUPERUSER, shutDown } from './embedded-cluster.ts';
import { findHome, findPassword, isThere, openFolder } from './embedded-folder.ts';
import { withLock } from './folder-lock.ts';

/** One holder's share of a running server. */
export interface EmbeddedPostgres {
  /** `postgres://…` for `pg`, with the database `gatehouse`. Holds the password: not for logs. */
  readonly connectionString: string;
  /** True when a server that was already running was joined. */
  readonly joined: boolean;
  /**
   * Gives the server up: it is stopped if nobody else is connected, else left to the others. Close your own connections
   * first, or they count as somebody else's. Calling it again does nothing.
   */
  stop(): Promise<void>;
}

/** A session that shows a server to be in use, from start to stop. */
interface Presence {
  end(): Promise<void>;
}

const DATABASE = 'gatehouse';
const PRESENCE = 'gatehouse presence';
/** PostgreSQL, Appendix A: class 28, invalid authorization specification. */
const INVALID_PASSWORD = '28P01';
/** Longer than a fresh start, a recovery and a shutdown take on a slow machine. */
const LOCK_PATIENCE_MILLISECONDS = 60_000;
const ANSWER_PATIENCE_MILLISECONDS = 60_000;
/** How long sessions that were just closed may take to disappear from the server's list. */
const CLOSING_PATIENCE_MILLISECONDS = 500;

/**
 * Joins the server of a data folder, or starts one.
 *
 * @param options.dataFolder made if need be; relative paths start at the working directory
 * @param options.durable internal, for tests: false trades safety against power loss for speed
 * @param options.settings internal, for the bench: `name=value` that a server with work to do would have
 * @throws Error, in one line that says what to do: no binaries for this system, a folder of somebody else, a lock that is
 *   not given back, a server that does not start or answer
 */
export async function startEmbedded(options: {
  dataFolder: string;
  durable?: boolean;
  settings?: readonly string[];
}): Promise<EmbeddedPostgres> {
  const folder = await openFolder(options.dataFolder);
  const lock = join(folder, 'postgres.lock');
  return withLock(lock, LOCK_PATIENCE_MILLISECONDS, async () => {
    const account = await unprivilegedAccount();
    const home = await findHome(folder, account);
    const programs = await findBinaries(home, account);
    const log = join(folder, 'postgres.log');
    const { durable = true, settings = [] } = options;
    const cluster = { path: join(home, 'cluster'), log, programs, account, durable, settings };

    const exists = await isThere(cluster.path);
    const password = await findPassword(folder, exists);
    if (!exists) await initialise(cluster, password);

    const { port, joined, presence } = await joinOrLaunch(cluster, password);
    let stopped: Promise<void> | undefined;
    return {
      connectionString: `postgres://${SUPERUSER}:${password}@127.0.0.1:${port}/${DATABASE}?sslmode=disable`,
      joined,
      stop() {
        stopped ??= presence.end().then(async () => {
          // Removed under the server, which notices within a minute and ends by itself.
          if (!(await isThere(folder))) return;
          await withLock(lock, LOCK_PATIENCE_MILLISECONDS, () => stopIfUnused(cluster, password));
        });
        return stopped;
      },
    };
  });
}

async function joinOrLaunch(
  cluster: Cluster,
  password: string,
): Promise<{ port: number; joined: boolean; presence: Presence }> {
  const deadline = Date.now() + ANSWER_PATIENCE_MILLISECONDS;
  for (let joined = true; ; ) {
    let postmaster = await findPostmaster(cluster);
    if (postmaster === undefined) {
      postmaster = await launch(cluster);
      joined = false;
    }
    const { pid, port } = postmaster;
    try {
      return { port, joined, presence: await attend(port, password) };
    } catch (cause) {
      // It may be replaying its log, or on its way down, when whoever started or stopped it was killed. Then it answers
      // in a while or is gone, and the next round starts another.
      const refused = cause instanceof DatabaseError && cause.code === INVALID_PASSWORD;
      if (!refused && Date.now() < deadline) {
        await delay(50);
        continue;
      }
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`The embedded PostgreSQL, process ${pid}, does not let us in: ${reason}.`, { cause });
    }
  }
}

/** Connects, makes the database if need be, and stays. */
async function attend(port: number, password: string): Promise<Presence> {
  const socket = new Socket();
  const client = new Client({ ...loginOf(port, password), application_name: PRESENCE, stream: () => socket });
  // When the server goes, it goes: those who use it notice on their own connections.
  client.on('error', () => undefined);
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  } catch (error) {
    await client.end();
    throw error;
  }
  // A holder that forgets to stop() still comes to its end; one that does stop() is kept up until that is done.
  socket.unref();
  return {
    end() {
      socket.ref();
      return client.end();
    },
  };
}

async function stopIfUnused(cluster: Cluster, password: string): Promise<void> {
  const postmaster = await findPostmaster(cluster);
  if (postmaster === undefined) return;
  const check = new Client(loginOf(postmaster.port, password));
  check.on('error', () => undefined);
  // A server that takes no more sessions is on its way down already, or full and so in use.
  const admitted = await check.connect().then(
    () => true,
    () => false,
  );
  if (!admitted) return;
  const inUse = await isInUse(check).finally(() => check.end());
  if (!inUse) await shutDown(cluster);
}

async function isInUse(check: Client): Promise<boolean> {
  const deadline = Date.now() + CLOSING_PATIENCE_MILLISECONDS;
  for (;;) {
    const { rows } = await check.query<{ application_name: string }>(
      `SELECT application_name FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()`,
    );
    if (rows.length === 0) return false;
    // A presence is there to stay. Anything else may be a connection of ours that the server has not seen closing yet.
    if (rows.some((session) => session.application_name === PRESENCE) || Date.now() > deadline) return true;
    await delay(20);
  }
}

/** In the database `postgres`: a session in `gatehouse` would keep it from being dropped or used as a template. */
function loginOf(port: number, password: string): ClientConfig {
  return {
    host: '127.0.0.1',
    port,
    user: SUPERUSER,
    password,
    database: 'postgres',
    ssl: false,
    connectionTimeoutMillis: 5_000,
  };
}
