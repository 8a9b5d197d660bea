/**
 * One cluster (PostgreSQL's word for a data directory and the server on it): make it, find its server, start and stop it.
 * Callers hold the lock on the data folder, so nobody else does any of this at the same time.
 *
 * Invariant: no two servers ever work on one cluster. PostgreSQL guards that with postmaster.pid, which also names the
 * shared memory that processes of a killed server may still write to; so that file is never removed here.
 */
import { chown, constants, mkdtemp, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type Account, type Ending, reasonIn, run } from './embedded-account.ts';
import { isThere } from './embedded-folder.ts';

export interface Cluster {
  /** The data directory, as the kernel names it (no symbolic links). */
  readonly path: string;
  /** The server's log file. */
  readonly log: string;
  /** The folder of `postgres`, `initdb` and `pg_ctl`. */
  readonly programs: string;
  /** Whom the programs run as; undefined: as ourselves. */
  readonly account: Account | undefined;
  /** False: what was committed may be lost with the machine's power. */
  readonly durable: boolean;
  /** `name=value`, beside those it has anyway. */
  readonly settings: readonly string[];
}

/** A cluster's first process, the one that listens. */
export interface Postmaster {
  readonly pid: number;
  readonly port: number;
}

/** The superuser that every cluster is made with. */
export const SUPERUSER = 'gatehouse';

/** A free port was found by binding it, and is free again until PostgreSQL binds it: somebody may be faster. */
const PORT_ATTEMPTS = 5;
const ORPHAN_PATIENCE_MILLISECONDS = 5_000;
/** Greater than any system lets a pid become. */
const NOBODYS_PID = '2147483647';

/**
 * Makes the cluster. It appears under its name only when complete, so a crash on the way leaves nothing to repair.
 *
 * @param password what `SUPERUSER` will sign in with, over SCRAM
 */
export async function initialise(cluster: Cluster, password: string): Promise<void> {
  const home = dirname(cluster.path);
  const prefix = `${basename(cluster.path)}.new-`;
  for (const name of await readdir(home)) {
    // An initdb that outlived its killed parent may still be writing there; it fails without its folder.
    if (name.startsWith(prefix)) await rm(join(home, name), { recursive: true, force: true, maxRetries: 10 });
  }
  const unfinished = await mkdtemp(join(home, prefix));
  const passwordFile = `${unfinished}.password`;
  try {
    await writeFile(passwordFile, password, { mode: 0o600, flag: 'wx' });
    if (cluster.account !== undefined) {
      await chown(passwordFile, cluster.account.uid, cluster.account.gid);
      await chown(unfinished, cluster.account.uid, cluster.account.gid);
    }
    const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
    const access = [`--username=${SUPERUSER}`, `--pwfile=${passwordFile}`, '--auth=scram-sha-256'];
    const haste = cluster.durable ? [] : ['--no-sync'];
    const { code, output } = await runProgram(cluster, 'initdb', [`-D${unfinished}`, ...access, ...locale, ...haste]);
    if (code !== 0) throw new Error(`The embedded PostgreSQL could not be set up: ${reasonIn(output)}`);
    await rename(unfinished, cluster.path);
  } finally {
    await rm(passwordFile, { force: true });
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** The running server, whether it answers yet or not; undefined when there is none. */
export async function findPostmaster(cluster: Cluster): Promise<Postmaster | undefined> {
  const text = await readFile(pidFile(cluster), 'utf8').catch(() => '');
  // Of its lines, the first is the pid and the fourth the port.
  const [pid = '', , , port = ''] = text.split('\n');
  const found = { pid: Number(pid), port: Number(port) };
  // The file outlives a killed server, and its pid and port may be anybody's by now: to connect there would be to hand
  // the password to whoever took the port and asks for it in clear.
  return (await processesOf(cluster)).includes(found.pid) ? found : undefined;
}

/**
 * Starts the server on a free port of the loopback interface; normally it answers by then. It runs in a session of its
 * own (pg_ctl sees to that), so a Ctrl-C in our terminal does not reach it, and it outlives us.
 *
 * @throws Error with PostgreSQL's reason
 */
export async function launch(cluster: Cluster): Promise<Postmaster> {
  await clearAway(cluster);
  for (let attempt = 1; ; attempt += 1) {
    const options = settings(cluster, await freePort()).map((setting) => `-c ${setting}`);
    // Emptied, so that it does not grow for ever; appended to, so that it can be emptied at any time.
    const { O_WRONLY, O_CREAT, O_TRUNC, O_APPEND } = constants;
    const log = await open(cluster.log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0o600);
    const start = ['start', '-w', '-t60', `-D${cluster.path}`, `-o${options.join(' ')}`];
    await runProgram(cluster, 'pg_ctl', start, log.fd).finally(() => log.close());
    // Whatever pg_ctl says: the server may still be replaying its log, or another pg_ctl, whose command was killed, was
    // just ahead of ours.
    const postmaster = await findPostmaster(cluster);
    if (postmaster !== undefined) return postmaster;
    const messages = await readFile(cluster.log, 'utf8');
    if (attempt < PORT_ATTEMPTS && messages.includes('Address already in use')) continue;
    throw new Error(`The embedded PostgreSQL did not start (${reasonIn(messages)}): see ${cluster.log}.`);
  }
}

/** Ends the server and waits for it: sessions are cut off, what they had committed is on disk. */
export async function shutDown(cluster: Cluster): Promise<void> {
  const { code, output } = await runProgram(cluster, 'pg_ctl', ['stop', '-mfast', '-w', '-t60', `-D${cluster.path}`]);
  if (code !== 0) throw new Error(`The embedded PostgreSQL did not stop: ${reasonIn(output)}`);
}

function settings(cluster: Cluster, port: number): string[] {
  return [
    'listen_addresses=127.0.0.1',
    `port=${port}`,
    'unix_socket_directories=',
    'max_connections=200',
    'shared_buffers=64MB',
    'max_wal_size=256MB',
    'timezone=UTC',
    'log_timezone=UTC',
    ...(cluster.durable ? [] : ['fsync=off', 'full_page_writes=off']),
    // Of two with one name the last counts.
    ...cluster.settings,
  ];
}

async function freePort(): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(address !== null && typeof address === 'object' ? address.port : 0));
    });
  });
}

/**
 * Removes what a killed server left in the way of the next one: processes that have not noticed its death, and its pid
 * when another program has it by now (after a reboot, or as a zombie), which PostgreSQL would take for a running server.
 */
async function clearAway(cluster: Cluster): Promise<void> {
  if (!(await isThere(pidFile(cluster)))) return;
  const deadline = Date.now() + ORPHAN_PATIENCE_MILLISECONDS;
  for (let orphans = await processesOf(cluster); orphans.length > 0; orphans = await processesOf(cluster)) {
    if (Date.now() > deadline)
      throw new Error(`Processes ${orphans} of a killed PostgreSQL do not end: end them first.`);
    // Harmless to the data: the server is dead, so the next one replays the log in any case.
    for (const orphan of orphans) endNow(orphan);
    await delay(20);
  }
  // Not removed: its other lines name the shared memory, and PostgreSQL's own check of that is the last line of defence.
  // Written in place and never shorter, so that a crash cannot leave it empty, which PostgreSQL refuses. The account
  // owns that folder, and could have put a link there to have root write elsewhere.
  const file = await open(pidFile(cluster), constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    const text = await file.readFile('utf8');
    await file.write(text.replace(/^\d*/, NOBODYS_PID), 0);
  } finally {
    await file.close();
  }
}

function endNow(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself in the meantime.
  }
}

/** The processes of PostgreSQL that work in the data directory, which is where each of them goes first. */
async function processesOf(cluster: Cluster): Promise<number[]> {
  if (process.platform !== 'linux') {
    const { output } = await run('/usr/sbin/lsof', ['-a', '-c', 'postgres', '-d', 'cwd', '-F', 'pn'], cluster.account);
    const records = output.matchAll(/^p(\d+)\n(?:f.*\n)?n(.*)$/gm);
    return [...records].filter(([, , folder]) => folder === cluster.path).map(([, pid]) => Number(pid));
  }
  // As the account: in a container, even root may not ask where another user's process works.
  const { output } = await run('/bin/sh', ['-c', 'ls -ld /proc/[0-9]*/cwd 2>/dev/null'], cluster.account);
  const found: number[] = [];
  for (const [, pid, folder] of output.matchAll(/ \/proc\/(\d+)\/cwd -> (.*)$/gm)) {
    // Somebody's shell may be there too.
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    if (folder === cluster.path && name.trim() === 'postgres') found.push(Number(pid));
  }
  return found;
}

function runProgram(cluster: Cluster, program: string, parameters: string[], output?: number): Promise<Ending> {
  return run(join(cluster.programs, program), parameters, cluster.account, output);
}

function pidFile(cluster: Cluster): string {
  return join(cluster.path, 'postmaster.pid');
}
