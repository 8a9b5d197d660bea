/**
 * The PostgreSQL that all servers share: the one of DATABASE_URL, else an embedded one in a temporary folder, as durable as
 * in production (fsync on). Each server has a database of its own, which is dropped at the end.
 */
import { randomBytes } from 'node:crypto';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { startEmbedded } from '../../src/postgres/embedded.ts';
import { pin, postmasterOf, treeOf } from './system.ts';

export interface Postgres {
  readonly version: string;
  readonly embedded: boolean;
  /** Settings that figures depend on. */
  readonly settings: Readonly<Record<string, string>>;
  /** Its first process; `undefined` where it is on another machine. */
  readonly postmaster: number | undefined;
  /**
   * @param template the address of a database to copy, with nobody connected to it
   * @returns the address of a new database
   */
  createDatabase(name: string, template?: string): Promise<string>;
  /** Bytes of write-ahead log so far, of the whole server. */
  walBytes(): Promise<number>;
  /** So that no checkpoint of what came before falls into a round. */
  checkpoint(): Promise<void>;
  /** Drops what was created, and stops the server if it is ours. */
  close(): Promise<void>;
}

/** What anybody would set for production on a machine with some memory; the embedded server is meant for a laptop. */
const PRODUCTION = [
  // A quarter of the memory, as PostgreSQL's manual advises (§19.4.1).
  `shared_buffers=${Math.floor(totalmem() / 4 / 2 ** 20)}MB`,
  'max_wal_size=8GB',
  'checkpoint_timeout=30min',
];
const SETTINGS = ['fsync', 'synchronous_commit', 'shared_buffers', 'huge_pages_status', 'max_wal_size'];

/** @param core where the embedded server is put; one that was given stays where it is */
export async function openPostgres(folder: string, core: number | undefined): Promise<Postgres> {
  const given = process.env.DATABASE_URL;
  const embedded = given
    ? undefined
    : await startEmbedded({ dataFolder: join(folder, 'postgres'), settings: PRODUCTION });
  const url = embedded?.connectionString ?? given ?? '';
  const created: string[] = [];
  const admin = new Client({ connectionString: url });
  // It is idle most of the time: when it breaks, the next statement says so.
  admin.on('error', () => undefined);
  await admin.connect();
  const { rows } = await admin.query<{ pid: number; version: string }>(
    `SELECT pg_backend_pid() AS pid, current_setting('server_version') AS version`,
  );
  const postmaster = postmasterOf(rows[0]?.pid ?? 0);
  if (embedded && core !== undefined && postmaster !== undefined) pin(core, treeOf(postmaster));
  const { rows: settings } = await admin.query<{ name: string; value: string }>(
    'SELECT name, current_setting(name) AS value FROM pg_settings WHERE name = ANY ($1)',
    [SETTINGS],
  );
  return {
    version: rows[0]?.version ?? '',
    embedded: embedded !== undefined,
    settings: Object.fromEntries(settings.map(({ name, value }) => [name, value])),
    postmaster,
    async createDatabase(name, template) {
      const database = `bench_${name.replaceAll('-', '_')}_${randomBytes(4).toString('hex')}`;
      await admin.query(
        `CREATE DATABASE ${database} TEMPLATE ${template === undefined ? 'template0' : new URL(template).pathname.slice(1)}`,
      );
      created.push(database);
      const address = new URL(url);
      address.pathname = `/${database}`;
      return address.href;
    },
    async walBytes() {
      const { rows } = await admin.query<{ bytes: string }>(
        `SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::text AS bytes`,
      );
      return Number(rows[0]?.bytes ?? Number.NaN);
    },
    async checkpoint() {
      await admin.query('CHECKPOINT');
    },
    async close() {
      for (const database of created) await admin.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`);
      await admin.end();
      await embedded?.stop();
    },
  };
}
