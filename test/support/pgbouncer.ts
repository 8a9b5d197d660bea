/** A real PgBouncer in transaction mode, where one is installed. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, chmod, constants, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from './ports.ts';

export interface InstalledPgBouncer {
  readonly program: string;
  /** E.g. `1.24`. */
  readonly version: string;
  /** Whether it keeps named statements apart for those who share a connection: since 1.21. */
  readonly keepsStatements: boolean;
}

/** The one that PGBOUNCER_PATH names, else the first in PATH. */
export async function findPgBouncer(): Promise<InstalledPgBouncer | undefined> {
  const { PGBOUNCER_PATH: named, PATH = '' } = process.env;
  const places = named ? [named] : [...PATH.split(delimiter), '/usr/sbin'].map((folder) => join(folder, 'pgbouncer'));
  for (const program of places) {
    if (!(await isExecutable(program))) continue;
    const { stdout } = await promisify(execFile)(program, ['--version']);
    const [, major = '0', minor = '0'] = /PgBouncer (\d+)\.(\d+)/.exec(stdout) ?? [];
    const keepsStatements = Number(major) > 1 || Number(minor) >= 21;
    return { program, version: `${major}.${minor}`, keepsStatements };
  }
  return undefined;
}

function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

export interface Pooler {
  /** The database, past the pooler's door. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * @param url the database behind it, with user and password
 * @param settings lines of its section `[pgbouncer]`
 */
export async function startPgBouncer(
  { program }: InstalledPgBouncer,
  url: string,
  settings: Readonly<Record<string, string | number>>,
): Promise<Pooler> {
  const { hostname, port, username, password } = new URL(url);
  const folder = await mkdtemp(join(tmpdir(), 'gatehouse-pgbouncer-'));
  const listenPort = await freePort();
  const lines = {
    listen_addr: '127.0.0.1',
    listen_port: listenPort,
    unix_socket_dir: '',
    auth_type: 'scram-sha-256',
    auth_file: join(folder, 'users.txt'),
    pool_mode: 'transaction',
    ...settings,
  };
  const section = Object.entries(lines).map(([name, value]) => `${name} = ${value}`);
  const databases = `[databases]\n* = host=${hostname} port=${port || 5432}\n`;
  await writeFile(join(folder, 'pgbouncer.ini'), `${databases}\n[pgbouncer]\n${section.join('\n')}\n`);
  await writeFile(join(folder, 'users.txt'), `"${decodeURIComponent(username)}" "${decodeURIComponent(password)}"\n`);
  await chmod(folder, 0o755);
  // It does not run as root; nobody is a user everywhere.
  const asRoot = process.getuid?.() === 0;
  const child = spawn(program, [...(asRoot ? ['-u', 'nobody'] : []), join(folder, 'pgbouncer.ini')], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
  }
  let failed: Error | undefined;
  child.once('error', (error) => {
    failed = error;
  });
  while (!said.includes('process up')) {
    if (failed || child.exitCode !== null) throw new Error(`PgBouncer did not start: ${failed?.message ?? said}`);
    await sleep(20);
  }
  const pooled = new URL(url);
  pooled.hostname = '127.0.0.1';
  pooled.port = String(listenPort);
  return {
    url: pooled.href,
    async close() {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill('SIGKILL');
        await once(child, 'exit');
      }
      await rm(folder, { recursive: true, force: true });
    },
  };
}
